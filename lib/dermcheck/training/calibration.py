"""Fitting the temperature that makes a classifier's probabilities honest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

__all__ = ["fit_temperature"]


def fit_temperature(
    logits: npt.NDArray[np.float64],
    truth: npt.NDArray[np.int64],
    training_prior: npt.NDArray[np.float64],
    natural_prior: npt.NDArray[np.float64],
) -> float:
    """Temperature that minimises the negative log-likelihood (Guo et al. 2017).

    Parameters
    ----------
    logits
        (N, classes) outputs for images that were not trained on.
    truth
        (N,) class indices.
    training_prior, natural_prior
        (classes,) shares of the classes as drawn in training and as they occur; probabilities are
        moved from the first to the second, as inference does.

    Returns
    -------
    float
        Between 0.05 and 20; above 1 where the network was too sure.
    """
    shift = np.log(natural_prior) - np.log(training_prior)

    def negative_log_likelihood(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled = scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True) + shift
        log_probability = scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)
        return float(-log_probability[np.arange(len(truth)), truth].mean())

    bounds = (float(np.log(0.05)), float(np.log(20.0)))
    return float(np.exp(minimize_scalar(negative_log_likelihood, bounds=bounds, method="bounded").x))
