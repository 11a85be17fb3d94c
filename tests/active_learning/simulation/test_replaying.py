"""The loop replayed on made-up features: heads learn, strategies are compared, the command answers."""

import numpy as np
import pytest
import torch

from dermcheck.active_learning.simulation import features
from dermcheck.active_learning.simulation.class_head import ClassHead, natural_prior
from dermcheck.active_learning.simulation.class_replay import ClassMaterial, class_order, replay_classes
from dermcheck.active_learning.simulation.colours import COLOUR_SIZE, colour_features
from dermcheck.active_learning.simulation.figures import RARE, rare_share
from dermcheck.active_learning.simulation.outline_head import (
    OutlineHead,
    OutlineMaterial,
    expected_disagreement,
)
from dermcheck.active_learning.simulation.outline_replay import OutlineStudy, replay_outlines
from dermcheck.active_learning.simulation.proposal_replay import replay_proposals
from dermcheck.cli import main
from dermcheck.networks.efficientnet import EfficientNetLite0

COUNT = 400


@pytest.fixture(scope="module")
def material():
    """Classes as frequent as in HAM10000, in clouds that overlap a little."""
    rng = np.random.default_rng(0)
    diagnosis = rng.choice(7, COUNT, p=[0.03, 0.05, 0.11, 0.02, 0.11, 0.66, 0.02])
    points = (rng.normal(size=(7, 12)) * 1.5)[diagnosis] + rng.normal(size=(COUNT, 12))
    points = points.astype(np.float32)
    names = np.array([f"image-{row}" for row in range(COUNT)])
    return ClassMaterial(names, diagnosis, points, points, np.arange(300), np.arange(300, COUNT))


def test_hybrid_finds_more_rare_lesions_than_random(material):
    hybrid = [replay_classes(material, "hybrid", seed, (40, 80)) for seed in range(2)]
    random = [replay_classes(material, "random", seed, (40, 80)) for seed in range(2)]
    assert RARE == (0, 3, 6)
    assert rare_share(hybrid, 80) > 1.5 * rare_share(random, 80)


def test_no_photograph_is_labelled_twice_and_none_of_the_report(material):
    for strategy in ("random", "uncertain", "diverse", "hybrid"):
        order = class_order(material, strategy, 0, (60,), material.diagnosis)
        assert len(set(order.tolist())) == 60
        assert order.max() < 300


def test_labels_of_one_class_make_a_head_that_knows_only_that():
    head = ClassHead.train(np.zeros((3, 4)), np.array([5, 5, 5]))
    assert head.decide(np.ones((2, 4))).tolist() == [5, 5]
    np.testing.assert_allclose(head.probabilities(np.ones((1, 4))).sum(), 1)


def test_how_frequent_classes_are_is_found_from_answers_alone():
    truth = np.repeat([4, 5], [100, 900])
    answers = np.full((1000, 7), 0.01)
    answers[np.arange(1000), truth] = 0.94
    prior = natural_prior(answers)
    assert prior[4] == pytest.approx(0.1, abs=0.03)
    assert prior.sum() == pytest.approx(1)


@pytest.fixture(scope="module")
def outlines():
    """Maps that show each lesion with noise; photographs 0 to 49 may be labelled."""
    rng = np.random.default_rng(0)
    masks = np.zeros((60, 32, 32), np.uint8)
    for mask in masks:
        top, left = rng.integers(2, 15, 2)
        mask[top : top + 13, left : left + 13] = 1
    maps = tuple(
        (
            masks.reshape(60, 1, side, 32 // side, side, 32 // side).mean((3, 5))
            + rng.normal(0, 0.2, (60, 3, side, side))
        ).astype(np.float16)
        for side in (32, 16, 8, 4, 2)
    )
    names = np.array([f"image-{row}" for row in range(60)])
    return OutlineStudy(
        names, np.arange(60) % 2 + 4, OutlineMaterial(maps, masks), rng.normal(size=(60, 4)), np.arange(50),
        np.arange(50, 60), archive=50, steps=25,
    )  # fmt: skip


def test_outlines_are_learnt_from_maps_of_a_frozen_encoder(outlines):
    for strategy in ("random", "uncertain"):
        first, last = replay_outlines(outlines, strategy, 0, (20, 30))
        assert (first.budget, last.budget) == (20, 30)
        assert last.answers.mean() > 0.8


def test_a_decoder_that_has_learnt_elsewhere_needs_no_outline_to_begin_with(outlines):
    head = OutlineHead(outlines.material.maps, 0)
    head.learn(outlines.material, outlines.pool, 50)
    started = OutlineHead(outlines.material.maps, 1, head.weights())
    drawn = OutlineHead(outlines.material.maps, 1)
    assert started.jaccard(outlines.material, outlines.report).mean() > 0.8
    assert drawn.jaccard(outlines.material, outlines.report).mean() < 0.5


@pytest.mark.parametrize("strategy", ["random", "hybrid"])
def test_a_correction_tells_class_and_outline(outlines, strategy):
    """Classes that the features show, outlines that the maps show: most proposals can stay."""
    points = np.where(outlines.diagnosis == 4, 3.0, -3.0)[:, None] + np.zeros((60, 4), np.float32)
    classes = ClassMaterial(
        outlines.image_id, outlines.diagnosis, points, points, outlines.pool, outlines.report
    )
    first, last = replay_proposals(classes, outlines, strategy, 0, (20, 30))
    assert sum(first.counts) == 20
    assert sum(last.counts) == 30
    np.testing.assert_array_equal(last.answers, outlines.diagnosis[outlines.report])
    assert last.jaccard is not None
    assert last.jaccard.mean() > 0.8


def test_a_pale_outline_is_doubted_more_than_a_clear_one_and_none_most():
    logits = torch.full((3, 8, 8), -6.0)
    logits[0, :4], logits[1, :4] = 6.0, 0.2
    clear, pale, none = expected_disagreement(logits)
    assert clear < 0.1 < pale < none == pytest.approx(1)


def test_colours_tell_a_red_lesion_from_a_brown_one():
    images = np.full((2, 64, 64, 3), 200, np.uint8)
    images[0, 24:40, 24:40] = (200, 20, 20)
    images[1, 24:40, 24:40] = (90, 60, 40)
    found = colour_features(images)
    assert found.shape == (2, COLOUR_SIZE)
    assert found[0, 0] > found[1, 0]  # mean red of the middle


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--strategies", "best"], "'best' is not a list of strategies"),
        (["--folds", "3"], "'3' is not a list of folds"),
        (["--budgets", "0"], "'0' is not a number from 1 on"),
        (["--noise", "2"], "'2' is not a list of shares"),
    ],
)
def test_wrong_arguments_are_told(arguments, sentence, capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "--data", str(tmp_path), "--output", str(tmp_path / "out"), *arguments])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_an_empty_data_set_is_one_sentence(capsys, tmp_path, monkeypatch):
    # The weights need not be installed to say this.
    monkeypatch.setattr(features, "load_start_network", lambda: (EfficientNetLite0(), "nothing"))
    (tmp_path / "data").mkdir()
    assert main(["simulate", "--data", str(tmp_path / "data"), "--output", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith("dermcheck: ")
