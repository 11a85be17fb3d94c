"""Figures of classifiers and outliners with bootstrap intervals by lesion.

Pure functions of arrays. Several photographs of one lesion are not independent, so intervals are
drawn over lesions, never over photographs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

from dermcheck.lesions import CLASSES

__all__ = [
    "Figure",
    "bootstrap",
    "classification_figures",
    "expected_calibration_error",
    "jaccard_index",
    "outline_figures",
    "specificity_at_sensitivity",
]

MELANOMA = CLASSES.index("mel")
Statistic = Callable[[npt.NDArray[np.int64]], float]
"""A figure of the images in the given rows."""


@dataclass(frozen=True)
class Figure:
    """A mean with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Write the value with its interval, e.g. ``0.812 [0.774, 0.850]``."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(
    statistic: Statistic, lesion_id: npt.NDArray[np.str_], draws: int = 1000, seed: int = 0
) -> Figure:
    """Percentile bootstrap over lesions (Efron and Tibshirani 1993, chapter 13).

    Draws for which the statistic does not exist (a class is missing) are left out.
    """
    lesions, member = np.unique(lesion_id, return_inverse=True)
    order = np.argsort(member, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(member))[:-1])
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        rows = np.concatenate([groups[i] for i in generator.integers(len(lesions), size=len(lesions))])
        value = statistic(rows)
        if np.isfinite(value):
            values.append(value)
    low, high = np.percentile(values, [2.5, 97.5])
    return Figure(statistic(np.arange(len(lesion_id))), float(low), float(high))


def expected_calibration_error(
    probability: npt.NDArray[np.float64], truth: npt.NDArray[np.int64], bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy of the most probable class (Guo et al. 2017)."""
    confidence, correct = probability.max(1), probability.argmax(1) == truth
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(place, weights=confidence - correct, minlength=bins)
    return float(np.abs(gap).sum() / len(truth))


def specificity_at_sensitivity(
    positive: npt.NDArray[np.bool_], score: npt.NDArray[np.float64], sensitivity: float
) -> float:
    """Highest share of negatives kept when at least `sensitivity` of the positives is found."""
    false_positive_rate, true_positive_rate, _ = roc_curve(positive, score, drop_intermediate=False)
    return float(1 - false_positive_rate[true_positive_rate >= sensitivity].min())


def classification_figures(
    probability: npt.NDArray[np.float64],
    decision: npt.NDArray[np.int64],
    truth: npt.NDArray[np.int64],
    lesion_id: npt.NDArray[np.str_],
) -> dict[str, Figure]:
    """Figures of calibrated probabilities (N, 7) and decisions (N,) against the truth (N,)."""

    def macro_auc(rows: npt.NDArray[np.int64]) -> float:
        if len(np.unique(truth[rows])) < len(CLASSES):
            return float("nan")
        return float(roc_auc_score(truth[rows], probability[rows], multi_class="ovr"))

    def balanced(rows: npt.NDArray[np.int64]) -> float:
        if len(np.unique(truth[rows])) < len(CLASSES):
            return float("nan")
        return float(balanced_accuracy_score(truth[rows], decision[rows]))

    statistics: dict[str, Statistic] = {
        "balanced_accuracy": balanced,
        "accuracy": lambda rows: float((decision[rows] == truth[rows]).mean()),
        "macro_auc": macro_auc,
        "melanoma_auc": lambda rows: float(
            roc_auc_score(truth[rows] == MELANOMA, probability[rows, MELANOMA])
        ),
        "melanoma_sensitivity": lambda rows: float(
            (decision[rows] == MELANOMA)[truth[rows] == MELANOMA].mean()
        ),
        "specificity_at_80_melanoma_sensitivity": lambda rows: specificity_at_sensitivity(
            truth[rows] == MELANOMA, probability[rows, MELANOMA], 0.8
        ),
        "expected_calibration_error": lambda rows: expected_calibration_error(probability[rows], truth[rows]),
    }
    return {name: bootstrap(statistic, lesion_id) for name, statistic in statistics.items()}


def jaccard_index(mask: npt.NDArray[np.bool_], expert: npt.NDArray[np.bool_]) -> float:
    """Intersection over union of two masks of one shape; 1 where both are empty."""
    union = np.count_nonzero(mask | expert)
    return float(np.count_nonzero(mask & expert) / union) if union else 1.0


def outline_figures(jaccard: npt.NDArray[np.float64], lesion_id: npt.NDArray[np.str_]) -> dict[str, Figure]:
    """Mean and thresholded Jaccard index (below 0.65 counts 0, as in ISIC 2018 Task 1)."""
    thresholded = np.where(jaccard < 0.65, 0.0, jaccard)
    return {
        "jaccard": bootstrap(lambda rows: float(jaccard[rows].mean()), lesion_id),
        "thresholded_jaccard": bootstrap(lambda rows: float(thresholded[rows].mean()), lesion_id),
    }
