"""Fitting what makes a classifier's probabilities honest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

__all__ = ["fit_calibration"]


def fit_calibration(
    logits: npt.NDArray[np.float64], truth: npt.NDArray[np.int64], natural_prior: npt.NDArray[np.float64]
) -> tuple[float, npt.NDArray[np.float64]]:
    """Temperature and effective training prior that maximise the likelihood of held-out diagnoses.

    The inference rule is ``logits / temperature - log(training_prior) + log(natural_prior)``. The
    shares in which the classes were drawn are only a first guess of the training prior: label
    smoothing, mixing and a teacher shift it. So it is fitted together with the temperature, which
    is vector scaling with one common slope (Guo et al. 2017, section 4.2).

    Parameters
    ----------
    logits
        (N, classes) outputs for images that were not trained on, every class among them.
    truth
        (N,) class indices.
    natural_prior
        (classes,) shares of the classes as they occur in the clinic.

    Returns
    -------
    temperature
        Above 1 where the network was too sure.
    training_prior
        (classes,) shares that sum to 1.
    """

    def negative_log_likelihood(parameters: npt.NDArray[np.float64]) -> float:
        scaled = logits / np.exp(parameters[0]) + parameters[1:]
        log_probability = scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)
        return float(-log_probability[np.arange(len(truth)), truth].mean())

    best = minimize(negative_log_likelihood, np.concatenate([[0.0], np.log(natural_prior)])).x
    effective = natural_prior * np.exp(-best[1:])
    return float(np.exp(best[0])), np.asarray(effective / effective.sum())
