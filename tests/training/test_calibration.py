import numpy as np
import pytest
import torch

from dermcheck.inference import Classifier
from dermcheck.inference.calibration import calibrated_probabilities, decide
from dermcheck.inference.rules import confidence, possible_classes
from dermcheck.networks import ARCHITECTURES, Architecture, load_model, save_model
from dermcheck.networks.cards import Calibration, UsedFolds
from dermcheck.training.calibration import finish_card, fit_calibration, fit_rules, threshold_for

NATURAL = np.array([0.05, 0.08, 0.12, 0.05, 0.15, 0.45, 0.10])


@pytest.fixture(scope="module")
def patients():
    """Log-probabilities of 6,000 patients and diagnoses drawn from just these."""
    chance = np.random.default_rng(1)
    logs = chance.normal(0, 2, (6000, 7)) + np.log(NATURAL)
    logs -= np.logaddexp.reduce(logs, 1, keepdims=True)
    return logs, (np.exp(logs).cumsum(1) < chance.random((6000, 1))).sum(1)


@pytest.mark.parametrize("sureness", [0.5, 1.0, 3.0])
def test_temperature_undoes_how_much_too_sure_the_network_is(patients, sureness):
    logs, truth = patients
    temperature, _ = fit_calibration(logs * sureness, truth, NATURAL)
    assert temperature == pytest.approx(sureness, rel=0.08)


def test_the_prior_that_the_network_was_trained_with_is_found(patients):
    logs, truth = patients
    training = np.full(7, 1 / 7)
    _, prior = fit_calibration(logs - np.log(NATURAL) + np.log(training), truth, NATURAL)
    np.testing.assert_allclose(prior, training, rtol=0.2)


def test_inference_with_the_fit_gives_honest_probabilities(patients):
    logs, truth = patients
    spoilt = logs * 2.5 + np.random.default_rng(2).normal(size=7)
    temperature, prior = fit_calibration(spoilt, truth, NATURAL)
    calibration = Calibration(
        temperature=temperature, training_prior=tuple(prior), natural_prior=tuple(NATURAL)
    )
    np.testing.assert_allclose(calibrated_probabilities(spoilt, calibration), np.exp(logs), atol=0.06)


def test_missing_classes_keep_their_first_guess(patients):
    logs, truth = patients
    rows = np.flatnonzero(truth != 3)[:400]
    guess = Calibration(temperature=1.0, training_prior=tuple(NATURAL), natural_prior=tuple(NATURAL))
    counts = np.bincount(truth[rows], minlength=7) + NATURAL
    temperature, prior = fit_calibration(logs[rows] * 2, truth[rows], counts / counts.sum(), guess)
    assert temperature == pytest.approx(2, rel=0.3)
    assert 0.005 < prior[3] < 0.5


def test_thresholds_keep_what_they_promise_on_new_patients():
    chance = np.random.default_rng(0)
    kept = [
        (chance.beta(2, 5, 1000) >= threshold_for(chance.beta(2, 5, 60), 0.95)).mean() for _ in range(300)
    ]
    assert 0.95 <= np.mean(kept) <= 0.97


def test_possible_classes_cover_each_class_of_new_patients(patients):
    logs, truth = patients
    calibration = Calibration(temperature=1.0, training_prior=tuple(NATURAL), natural_prior=tuple(NATURAL))
    probability = np.exp(logs)
    rules = fit_rules(probability[:3000], truth[:3000], calibration)
    new, their_truth = probability[3000:], truth[3000:]
    possible = possible_classes(new, calibration, rules)
    for c in range(7):
        assert possible[their_truth == c, c].mean() == pytest.approx(0.9, abs=0.06)
    assert 1 <= possible.sum(1).mean() < 5
    melanoma = their_truth == 4
    assert (new[melanoma, 4] >= rules.melanoma_from).mean() == pytest.approx(0.95, abs=0.03)


def test_sure_answers_are_wrong_less_often(patients):
    logs, truth = patients
    calibration = Calibration(temperature=1.0, training_prior=tuple(NATURAL), natural_prior=tuple(NATURAL))
    probability = np.exp(logs)
    rules = fit_rules(probability[:3000], truth[:3000], calibration)
    new, their_truth = probability[3000:], truth[3000:]
    sure = confidence(new, calibration) >= rules.sure_from
    wrong = decide(new, calibration) != their_truth
    assert sure.mean() == pytest.approx(rules.sure_share, abs=0.03)
    assert wrong[sure].mean() == pytest.approx(rules.sure_error, abs=0.03)
    assert wrong[sure].mean() < wrong[~sure].mean() - 0.1


@pytest.fixture
def classifier(make_classifier, make_card, monkeypatch):
    network = make_classifier()
    monkeypatch.setitem(
        ARCHITECTURES, "colours", Architecture("classification", make_classifier, head="head")
    )
    with torch.no_grad():
        network.train()(torch.rand(64, 3, 64, 64) * 2 - 1)
    return network, make_card(architecture="colours")


def test_a_finished_card_has_all_that_an_answer_needs(classifier, make_photographs, tmp_path):
    network, card = classifier
    finished = finish_card(network, card, make_photographs({"ham": 700, "task": 140}))
    assert finished.rules is not None
    assert finished.photograph_check is not None
    assert finished.used_folds["ham"] == UsedFolds(fit=tuple(range(8)), select=(8,), own_folds=True)
    assert finished.figures["fold_8"]["images"] == 84
    assert finished.calibration.natural_prior == card.calibration.natural_prior
    saved = save_model(tmp_path / "model", network, finished)
    loaded, card = load_model(tmp_path / "model")
    assert card == saved
    said = Classifier(loaded, card).diagnose([np.zeros((64, 64, 3), np.uint8)])[0]
    assert said.caution.lesion_photograph_score is not None
    assert said.decision in said.caution.possible_classes


def test_too_few_photographs_leave_the_calibration_as_it_came(classifier, make_photographs, caplog):
    network, card = classifier
    finished = finish_card(network, card, make_photographs({"ham": 140}))
    assert finished.calibration == card.calibration
    assert finished.rules is None
    assert "14 photographs with a diagnosis; 50 are needed" in caplog.text
