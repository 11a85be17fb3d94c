import numpy as np
import pytest

from dermcheck.training.calibration import fit_temperature

FLAT = np.full(7, 1 / 7)


def drawn_from(probability: np.ndarray, seed: int = 0) -> np.ndarray:
    chance = np.random.default_rng(seed).random((len(probability), 1))
    return (probability.cumsum(1) < chance).sum(1)


@pytest.mark.parametrize("sureness", [0.5, 1.0, 3.0])
def test_temperature_undoes_how_much_too_sure_the_network_is(sureness):
    honest = np.random.default_rng(1).normal(0, 2, (4000, 7))
    probability = np.exp(honest - np.logaddexp.reduce(honest, 1, keepdims=True))
    temperature = fit_temperature(honest * sureness, drawn_from(probability), FLAT, FLAT)
    assert temperature == pytest.approx(sureness, rel=0.08)


def test_temperature_is_fitted_after_moving_to_the_natural_prior():
    natural = np.array([0.03, 0.05, 0.11, 0.01, 0.11, 0.67, 0.02])
    honest = np.random.default_rng(2).normal(0, 2, (4000, 7))
    logits = honest - np.logaddexp.reduce(honest, 1, keepdims=True)
    moved = logits + np.log(natural) - np.log(FLAT)
    probability = np.exp(moved - np.logaddexp.reduce(moved, 1, keepdims=True))
    assert fit_temperature(logits, drawn_from(probability), FLAT, natural) == pytest.approx(1, rel=0.08)
