"""Figures of the runs: learning curves with intervals, and how many labels a strategy saves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from dermcheck.active_learning.simulation.runs import Outcome, RunKey, Runs
from dermcheck.errors import ArgumentError
from dermcheck.lesions import CLASSES

__all__ = [
    "RARE",
    "Curve",
    "Estimate",
    "Resamples",
    "curve",
    "labels_needed",
    "needs_no_change",
    "paired_difference",
    "score",
]

RARE: Final = tuple(CLASSES.index(name) for name in ("akiec", "df", "vasc"))
"""The classes with the fewest photographs in HAM10000."""
GOOD_OUTLINE: Final = 0.9
"""Jaccard index from which an outline needs no change."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Resamples:
    """Bootstrap draws of seeds and of lesions of the report; the same for all strategies, so paired."""

    seeds: npt.NDArray[np.intp]
    """(R, S) positions of seeds."""
    weights: npt.NDArray[np.float64]
    """(R, T) how often each photograph counts."""

    @classmethod
    def draw(cls, seeds: int, groups: Sequence[str] | npt.NDArray[np.str_], count: int = 1000) -> Resamples:
        """Draw for so many seeds and photographs that belong to `groups` (T,)."""
        rng = np.random.default_rng(0)
        _, number = np.unique(np.asarray(groups), return_inverse=True)
        lesions = int(number.max()) + 1
        drawn = rng.multinomial(lesions, np.full(lesions, 1 / lesions), size=count)
        return cls(rng.integers(0, seeds, (count, seeds)), drawn[:, number].astype(np.float64))


@dataclass(frozen=True)
class Curve:
    """One strategy's figures: by budget, of each resample and of the runs as they are."""

    budgets: tuple[int, ...]
    values: FloatArray
    """(B,) mean over the seeds."""
    resampled: FloatArray
    """(R, B)"""

    def estimate(self, budget: int) -> Estimate:
        """Return the figure at one budget."""
        at = self.budgets.index(budget)
        return _estimate(self.values[at], self.resampled[:, at])


def curve(
    runs: Iterable[Sequence[Outcome]], truth: npt.NDArray[np.int64] | None, resamples: Resamples
) -> Curve:
    """Compute balanced accuracy (with the true classes (T,)), or the mean Jaccard index (without)."""
    runs = list(runs)
    budgets = tuple(outcome.budget for outcome in runs[0])
    values = np.array([[score(outcome.answers, truth) for outcome in run] for run in runs])
    resampled = np.empty((len(resamples.seeds), len(budgets)))
    for at in range(len(budgets)):
        by_seed = np.stack([_weighted(run[at].answers, truth, resamples.weights) for run in runs], axis=1)
        resampled[:, at] = np.take_along_axis(by_seed, resamples.seeds, axis=1).mean(axis=1)
    return Curve(budgets, values.mean(axis=0), resampled)


def score(answers: FloatArray, truth: npt.NDArray[np.int64] | None) -> float:
    """Balanced accuracy of class indices (T,), or the mean of Jaccard indices (T,)."""
    return float(_weighted(answers, truth, np.ones((1, len(answers))))[0])


def needs_no_change(outcome: Outcome, truth: npt.NDArray[np.int64]) -> Outcome:
    """Return the outcome of task "proposal" with answers of 1 where class and outline can stay, else 0."""
    if outcome.jaccard is None:
        raise ArgumentError("An outcome without Jaccard indices does not tell which proposals can stay.")
    good = (outcome.answers == truth) & (outcome.jaccard >= GOOD_OUTLINE)
    return replace(outcome, answers=good.astype(np.float64))


def labels_needed(curve: Curve, target: float, values: FloatArray | None = None) -> float:
    """Return from how many labels on a curve reaches a target, interpolated between budgets.

    The curve is smoothed to rise (each value at least the ones before), as one lucky budget should not
    count; infinity if it never gets there.
    """
    heights = _rising(curve.values if values is None else values)
    budgets = np.array(curve.budgets, np.float64)
    reached = np.flatnonzero(heights >= target)
    if not len(reached):
        return float("inf")
    at = int(reached[0])
    if at == 0 or heights[at] == heights[at - 1]:
        return float(budgets[at])
    part = (target - heights[at - 1]) / (heights[at] - heights[at - 1])
    return float(budgets[at - 1] + part * (budgets[at] - budgets[at - 1]))


def labels_needed_estimate(curve: Curve, reference: Curve, budget: int) -> Estimate:
    """Return the labels a strategy needs for what the reference has at a budget, with an interval."""
    at = reference.budgets.index(budget)
    drawn = [
        labels_needed(curve, row[at], values)
        for row, values in zip(reference.resampled, curve.resampled, strict=True)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975), method="nearest")
    return Estimate(labels_needed(curve, reference.values[at]), float(low), float(high))


def paired_difference(curve: Curve, reference: Curve, budget: int) -> Estimate:
    """Return by how much a curve is above another at a budget: same seeds, same photographs."""
    a, b = curve.budgets.index(budget), reference.budgets.index(budget)
    return _estimate(curve.values[a] - reference.values[b], curve.resampled[:, a] - reference.resampled[:, b])


def rare_share(runs: Iterable[Sequence[Outcome]], budget: int) -> float:
    """Return the share of rare classes among the first labels, mean over the runs."""
    shares = []
    for run in runs:
        counts = next(outcome.counts for outcome in run if outcome.budget == budget)
        shares.append(sum(counts[c] for c in RARE) / sum(counts))
    return float(np.mean(shares))


def by_strategy(runs: Runs, task: str, noise: float) -> Mapping[str, list[RunKey]]:
    """Sort finished runs of one task by strategy; keys in the order of the seeds."""
    found: dict[str, list[RunKey]] = {}
    for key in runs:
        if key.task == task and key.noise == noise:
            found.setdefault(key.strategy, []).append(key)
    return found


def _weighted(answers: FloatArray, truth: npt.NDArray[np.int64] | None, weights: FloatArray) -> FloatArray:
    """Score each row of weights (R, T): (R,). A class that a resample lacks is left out of its mean."""
    if truth is None:
        return np.asarray(weights @ answers / weights.sum(axis=1), np.float64)
    recalls = []
    for index in np.unique(truth):
        of_class = weights * (truth == index)
        total = of_class.sum(axis=1)
        right = of_class @ (answers == truth)
        recalls.append(np.divide(right, total, out=np.full(len(total), np.nan), where=total > 0))
    return np.asarray(np.nanmean(recalls, axis=0), np.float64)


def _rising(values: FloatArray) -> FloatArray:
    """Smooth to a curve that never falls: isotonic regression, i.e. pooled means, no luck of one budget."""
    from sklearn.isotonic import IsotonicRegression

    return np.asarray(IsotonicRegression().fit_transform(np.arange(len(values)), values), np.float64)


def _estimate(value: float, resampled: FloatArray) -> Estimate:
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Estimate(float(value), float(low), float(high))
