"""Statistics of weighted photographs: what `bootstrap_all` computes of every draw.

Each function makes a `Statistic` from arrays of N photographs. With all weights 1 they equal those of
scikit-learn, which the tests compare them with.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dermcheck.training.evaluation.bootstrap import Statistic, Weights

__all__ = [
    "area_under_curve",
    "balanced_accuracy",
    "calibration_error",
    "macro_area_under_curve",
    "mean",
    "specificity_at",
]

BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


def mean(values: npt.ArrayLike, among: BoolArray | None = None) -> Statistic:
    """Mean of (N,) values, or of those among them that (N,) `among` marks; NaN of none."""
    number = np.asarray(values, np.float64)
    counted = np.ones(len(number)) if among is None else among.astype(np.float64)
    summed = np.where(counted > 0, number, 0.0)
    return lambda weights: _ratio(weights @ summed, weights @ counted)


def balanced_accuracy(decision: Int64Array, truth: Int64Array) -> Statistic:
    """Mean recall of the classes that occur in `truth`; NaN for draws that lack one of them."""
    is_class = (truth[:, None] == np.unique(truth)).astype(np.float64)
    found = is_class * (decision == truth)[:, None]
    return lambda weights: np.asarray(_ratio(weights @ found, weights @ is_class).mean(1))


def area_under_curve(positive: BoolArray, score: Float64Array) -> Statistic:
    """Area under the ROC curve: how often a positive scores higher than a negative, ties counting half."""
    order, starts = _by_score(score)
    is_positive = positive[order].astype(np.float64)

    def statistic(weights: Weights) -> Float64Array:
        sorted_weights = weights[:, order]
        hits = np.add.reduceat(sorted_weights * is_positive, starts, 1)
        others = np.add.reduceat(sorted_weights * (1 - is_positive), starts, 1)
        below = others.cumsum(1) - others / 2
        return _ratio((hits * below).sum(1), hits.sum(1) * others.sum(1))

    return statistic


def macro_area_under_curve(probability: Float64Array, truth: Int64Array) -> Statistic:
    """Mean over the classes that occur of the area of each against the rest."""
    each = [area_under_curve(truth == c, probability[:, c]) for c in np.unique(truth).tolist()]
    return lambda weights: np.asarray(np.stack([one(weights) for one in each]).mean(0))


def specificity_at(positive: BoolArray, score: Float64Array, sensitivity: float) -> Statistic:
    """Largest share of negatives below a threshold that at least this share of the positives reaches."""
    order, starts = _by_score(-score)
    is_positive = positive[order].astype(np.float64)

    def statistic(weights: Weights) -> Float64Array:
        sorted_weights = weights[:, order]
        hits = np.add.reduceat(sorted_weights * is_positive, starts, 1).cumsum(1)
        false = np.add.reduceat(sorted_weights * (1 - is_positive), starts, 1).cumsum(1)
        found, alarms = _ratio(hits, hits[:, -1:]), _ratio(false, false[:, -1:])
        least = np.where(found >= sensitivity - 1e-12, alarms, np.inf).min(1)
        return np.asarray(np.where(np.isfinite(least), 1 - least, np.nan))

    return statistic


def calibration_error(probability: Float64Array, truth: Int64Array, bins: int) -> Statistic:
    """Mean gap between confidence and accuracy of the most probable class (Guo et al. 2017); equal bins."""
    certainty, correct = probability.max(1), probability.argmax(1) == truth
    place = np.minimum((certainty * bins).astype(int), bins - 1)
    gap = (place[:, None] == np.arange(bins)) * (certainty - correct)[:, None]
    return lambda weights: _ratio(np.abs(weights @ gap).sum(1), weights.sum(1))


def _by_score(score: Float64Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Give the order of rising scores, and where in it each distinct score begins."""
    order = np.argsort(score, kind="stable")
    return order, np.flatnonzero(np.diff(score[order], prepend=-np.inf))


def _ratio(part: Float64Array, whole: Float64Array) -> Float64Array:
    """Divide; NaN where the whole is 0."""
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
