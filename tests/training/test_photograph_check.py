"""The check "not a lesion photograph", on drawn lesions and a network of a few features."""

import numpy as np
import pytest
import torch

from dermcheck.inference import Classifier
from dermcheck.networks import ARCHITECTURES, Architecture
from dermcheck.training.negatives import NEGATIVE_KINDS, blur, draw_negatives
from dermcheck.training.photograph_check import (
    fit_photograph_check,
    fit_probe,
    gather_features,
    head_features,
    measure_left_out,
)


def test_every_kind_draws_pictures_that_its_seed_decides():
    kinds, pictures = draw_negatives(2, 64, seed=1)
    again = draw_negatives(2, 64, seed=1)[1]
    assert kinds.tolist() == [kind for kind in NEGATIVE_KINDS for _ in range(2)]
    assert pictures.dtype == np.uint8
    assert pictures.shape == (2 * len(NEGATIVE_KINDS), 64, 64, 3)
    np.testing.assert_array_equal(pictures, again)
    assert len(np.unique(pictures.reshape(len(pictures), -1), axis=0)) == len(pictures)


def test_blur_keeps_colour_and_takes_structure():
    board = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((8, 8)))[..., None] * np.array([255, 128, 0])
    blurred = blur(board.astype(np.uint8), 0.12)
    assert blurred.std((0, 1)).max() < 0.1 * board.std((0, 1)).max()
    np.testing.assert_allclose(blurred.mean((0, 1)), board.mean((0, 1)), atol=3)


def test_the_probe_separates_what_can_be_separated_and_ignores_dead_features():
    chance = np.random.default_rng(0)
    lesions, others = (chance.normal(shift, 1, (200, 6)).astype(np.float32) for shift in (2, -2))
    lesions[:, 3] = others[:, 3] = 0
    lesions[0, 3] = 1e-7
    probe = fit_probe(lesions, others)
    assert (probe.score(torch.from_numpy(lesions)) > 0.5).float().mean() > 0.99
    assert (probe.score(torch.from_numpy(others)) < 0.5).float().mean() > 0.99
    assert probe.weight.abs().max() < 100


@pytest.fixture
def classifier(make_classifier, make_card, monkeypatch):
    """The smallest network; its features are colours and edges of drawn discs."""
    network = make_classifier().eval()
    monkeypatch.setitem(
        ARCHITECTURES, "colours", Architecture("classification", make_classifier, head="head")
    )
    with torch.no_grad():
        network.train()(torch.rand(64, 3, 64, 64) * 2 - 1)  # batch normalisation gathers statistics
    return network.eval(), make_card(architecture="colours")


def test_features_are_what_the_head_reads(classifier, photographs):
    network, card = classifier
    pictures = list(photographs.images[:3])
    features, logits = head_features(Classifier(network, card), pictures)
    assert features.shape == (3, 16)
    with torch.no_grad():
        np.testing.assert_allclose(network.head(torch.from_numpy(features)), logits, atol=1e-5)
    head_features(Classifier(network, card), pictures)
    assert len(network.head._forward_pre_hooks) == 1  # it does not grow with every call


def test_the_check_flags_other_pictures_and_hardly_any_lesion(classifier, make_photographs):
    network, card = classifier
    photographs = make_photographs({"ham": 700})
    seen = gather_features(Classifier(network, card), photographs)
    probe, check = fit_photograph_check(seen)
    assert check.wrongly_flagged <= 0.02
    others = head_features(Classifier(network, card), draw_negatives(10, 64, seed=9)[1])[0]
    assert (probe.score(torch.from_numpy(others)) < check.lesion_from).float().mean() > 0.8
    measured = measure_left_out(Classifier(network, card), photographs, seen)
    assert set(measured) == {*NEGATIVE_KINDS, "blurred"}
    assert all(0 <= share <= 1 for each in measured.values() for share in each.values())


def test_there_is_no_check_on_too_few_photographs(classifier, make_photographs):
    assert gather_features(Classifier(*classifier), make_photographs({"ham": 140})) is None


def test_a_network_that_sees_nothing_gets_no_check(classifier, make_photographs, caplog):
    network, card = classifier
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    seen = gather_features(Classifier(network, card), make_photographs({"ham": 700}))
    assert fit_photograph_check(seen) == (None, None)
    assert "cannot tell lesion photographs from other pictures" in caplog.text
