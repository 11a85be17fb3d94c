"""Figures of classifiers and outliners with bootstrap intervals by lesion: pure functions of arrays."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from dermcheck.lesions import CLASSES
from dermcheck.training.evaluation.bootstrap import Figure, Statistic, bootstrap_all
from dermcheck.training.evaluation.statistics import (
    area_under_curve,
    balanced_accuracy,
    calibration_error,
    macro_area_under_curve,
    mean,
    specificity_at,
)

__all__ = [
    "CALIBRATION_BINS",
    "MELANOMA",
    "THRESHOLD",
    "brier_scores",
    "classification_figures",
    "expected_calibration_error",
    "outline_figures",
    "specificity_at_sensitivity",
]

MELANOMA: Final = CLASSES.index("mel")
CALIBRATION_BINS: Final = 15
THRESHOLD: Final = 0.65
"""A Jaccard index below this counts 0 in the thresholded one (ISIC 2018 Task 1)."""

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


def expected_calibration_error(
    probability: Float64Array, truth: Int64Array, bins: int = CALIBRATION_BINS
) -> float:
    """Mean gap between confidence and accuracy of the most probable class (Guo et al. 2017)."""
    return float(calibration_error(probability, truth, bins)(np.ones((1, len(truth))))[0])


def specificity_at_sensitivity(
    positive: npt.NDArray[np.bool_], score: Float64Array, sensitivity: float
) -> float:
    """Highest share of negatives kept when at least `sensitivity` of the positives is found."""
    return float(specificity_at(positive, score, sensitivity)(np.ones((1, len(score))))[0])


def brier_scores(probability: Float64Array, truth: Int64Array) -> Float64Array:
    """Squared distance of each row of (N, classes) probabilities from the truth, 0 to 2 (Brier 1950)."""
    wanted = truth[:, None] == np.arange(probability.shape[1])
    return np.asarray(((probability - wanted) ** 2).sum(1))


def classification_statistics(
    probability: Float64Array, decision: Int64Array, truth: Int64Array
) -> dict[str, Statistic]:
    """Make the statistics of `classification_figures`."""
    melanoma, score = truth == MELANOMA, probability[:, MELANOMA]
    statistics = {
        "balanced_accuracy": balanced_accuracy(decision, truth),
        "accuracy": mean(decision == truth),
        "macro_auc": macro_area_under_curve(probability, truth),
        "melanoma_auc": area_under_curve(melanoma, score),
        "melanoma_sensitivity": mean(decision == MELANOMA, melanoma),
        "melanoma_specificity": mean(decision != MELANOMA, ~melanoma),
        "specificity_at_80_melanoma_sensitivity": specificity_at(melanoma, score, 0.8),
        "specificity_at_95_melanoma_sensitivity": specificity_at(melanoma, score, 0.95),
        "expected_calibration_error": calibration_error(probability, truth, CALIBRATION_BINS),
        "brier_score": mean(brier_scores(probability, truth)),
    }
    for index, name in enumerate(CLASSES):
        own = truth == index
        statistics[f"auc_{name}"] = area_under_curve(own, probability[:, index])
        statistics[f"sensitivity_{name}"] = mean(decision == index, own)
        statistics[f"specificity_{name}"] = mean(decision != index, ~own)
    return statistics


def classification_figures(
    probability: Float64Array, decision: Int64Array, truth: Int64Array, lesion_id: npt.NDArray[np.str_]
) -> dict[str, Figure]:
    """Figures of calibrated probabilities (N, 7) and decisions (N,) against the truth (N,).

    Where some classes are missing in `truth`, balanced accuracy and macro AUC are means over the others.
    """
    return bootstrap_all(classification_statistics(probability, decision, truth), lesion_id)


def outline_figures(jaccard: Float64Array, lesion_id: npt.NDArray[np.str_]) -> dict[str, Figure]:
    """Mean and thresholded Jaccard index."""
    return bootstrap_all(
        {"jaccard": mean(jaccard), "thresholded_jaccard": mean(np.where(jaccard < THRESHOLD, 0.0, jaccard))},
        lesion_id,
    )
