import numpy as np
import pytest

from dermcheck.inference.calibration import calibrated_probabilities
from dermcheck.networks.cards import Calibration
from dermcheck.training.calibration import fit_calibration

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
