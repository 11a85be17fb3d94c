"""What limits an answer: not sure, possible classes, melanoma not excluded, no lesion photograph."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dermcheck.inference import Classifier, Predictor
from dermcheck.inference.rules import caution, confidence
from dermcheck.lesions import CLASSES
from dermcheck.networks import ARCHITECTURES, Architecture, Calibration, save_model
from dermcheck.networks.cards import AnswerRules, PhotographCheck
from dermcheck.networks.photograph_probe import HeadInput, PhotographProbe, attach_probe

NATURAL = (0.05, 0.05, 0.1, 0.02, 0.08, 0.68, 0.02)
CALIBRATION = Calibration(temperature=1.0, training_prior=NATURAL, natural_prior=NATURAL)
RULES = AnswerRules(
    sure_from=0.5,
    sure_share=0.8,
    sure_error=0.1,
    possible_from=(0.04, 0.05, 0.06, 0.01, 0.05, 0.3, 0.05),
    possible_coverage=0.9,
    melanoma_from=0.06,
)


def names(classes):
    return [lesion.name for lesion in classes]


def test_confidence_is_the_share_of_the_decision_were_all_classes_equally_frequent():
    prior = np.array(NATURAL)
    assert confidence(prior, CALIBRATION) == pytest.approx(1 / 7)
    odds = np.array([1, 1, 1, 1, 8, 1, 1.0])
    assert confidence(prior * odds / (prior @ odds), CALIBRATION) == pytest.approx(8 / 14)


def test_an_answer_near_the_prior_is_not_sure_and_excludes_little():
    told = caution(np.array(NATURAL), CALIBRATION, RULES)
    assert told.not_sure
    assert told.melanoma_not_excluded
    assert names(told.possible_classes) == ["akiec", "bcc", "bkl", "df", "mel", "nv"]


def test_a_clear_naevus_is_sure_and_excludes_melanoma():
    told = caution(np.array([1e-3, 1e-3, 1e-3, 1e-4, 1e-3, 0.9958, 1e-4]), CALIBRATION, RULES)
    assert not told.not_sure
    assert told.melanoma_not_excluded is False
    assert names(told.possible_classes) == ["nv"]


def test_the_decision_remains_possible_whatever_its_threshold():
    unlikely = np.array([1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 0.955, 0.04])
    told = caution(unlikely, CALIBRATION, RULES)
    assert names(told.possible_classes) == ["nv", "vasc"]  # 0.04 of vasc is twice its share


def test_without_rules_nothing_is_said():
    told = caution(np.array(NATURAL), CALIBRATION, None)
    assert told.possible_classes is None
    assert told.melanoma_not_excluded is None
    assert not told.not_sure
    assert told.is_lesion_photograph


class ColourHead(nn.Module):
    """Mean red, green and blue through a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(3, len(CLASSES))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.out(pixels.mean((2, 3)))


@pytest.fixture
def models_with_rules(plain_models, tmp_path, monkeypatch):
    """Models with rules, whose classifier takes only reddish pictures for lesion photographs."""
    from dermcheck.networks import load_model

    monkeypatch.setitem(ARCHITECTURES, "colour_head", Architecture("classification", ColourHead, head="out"))
    torch.manual_seed(0)
    network = ColourHead()
    attach_probe(network, PhotographProbe(torch.tensor([10.0, -10.0, 0.0]), torch.tensor(0.0)))
    card = replace(
        load_model(plain_models / "classifier")[1],
        architecture="colour_head",
        calibration=CALIBRATION,
        rules=RULES,
        photograph_check=PhotographCheck(lesion_from=0.5, wrongly_flagged=0.01),
    )
    save_model(tmp_path / "ruled" / "classifier", network, card)
    save_model(tmp_path / "ruled" / "outliner", *load_model(plain_models / "outliner"))
    return tmp_path / "ruled"


def test_the_check_survives_saving_and_tells_pictures_apart(models_with_rules):
    predictor = Predictor.load(models_with_rules)
    red, green = np.zeros((40, 50, 3), np.uint8), np.zeros((40, 50, 3), np.uint8)
    red[..., 0] = green[..., 1] = 200
    lesion, other = predictor.predict_batch([red, green])
    assert lesion.caution.is_lesion_photograph
    assert not other.caution.is_lesion_photograph
    assert lesion.caution.lesion_photograph_score > 0.99
    assert other.caution.lesion_photograph_score < 0.01
    assert predictor.classify(red).caution == lesion.caution


def test_a_clinics_prior_changes_probabilities_but_neither_decision_nor_rules(models_with_rules):
    rare = (0.02, 0.02, 0.05, 0.01, 0.005, 0.885, 0.01)
    usual = Predictor.load(models_with_rules)
    clinic = Predictor.load(models_with_rules, natural_prior=rare)
    chance = np.random.default_rng(0)
    for _ in range(20):
        pixels = np.full((32, 32, 3), chance.integers(0, 256, 3), np.uint8)
        one, other = usual.predict(pixels), clinic.predict(pixels)
        assert one.decision == other.decision
        assert one.caution == other.caution
        odds = [other.probabilities[name] / one.probabilities[name] for name in CLASSES]
        expected = np.array(rare) / np.array(NATURAL)
        np.testing.assert_allclose(np.array(odds) / odds[0], expected / expected[0], rtol=1e-6)


def test_head_input_gives_each_thread_its_own_features():
    from concurrent.futures import ThreadPoolExecutor

    network = ColourHead().eval()
    reader = HeadInput(network, "out")

    def ask(value: int) -> float:
        with torch.inference_mode():
            _, features = reader(torch.full((1, 3, 8, 8), float(value)))
        return float(features[0, 0])

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(200))) == list(range(200))


def test_a_network_may_be_copied_and_shared_by_predictors(models_with_rules):
    from dermcheck.networks import load_model

    network, card = load_model(models_with_rules / "classifier")
    pixels = np.full((32, 32, 3), (200, 0, 0), np.uint8)
    first = Classifier(network, card).diagnose([pixels])[0]
    assert Classifier(network, card).diagnose([pixels])[0] == first
    assert len(network.out._forward_pre_hooks) == 1
    copied = deepcopy(network)
    with torch.no_grad():
        network.out.weight.zero_()
    assert Classifier(copied, card).diagnose([pixels])[0] == first


def test_logits_are_those_of_the_network(models_with_rules):
    from dermcheck.networks import load_model

    network, card = load_model(models_with_rules / "classifier")
    pixels = np.full((32, 32, 3), 255, np.uint8)
    with torch.no_grad():
        expected = network(torch.ones(1, 3, 32, 32))
    np.testing.assert_allclose(Classifier(network, card).logits([pixels])[0], expected[0], rtol=1e-5)
