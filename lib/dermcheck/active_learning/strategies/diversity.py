"""Photographs that are unlike the labelled ones and unlike each other."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.metrics.pairwise import pairwise_distances_argmin_min

from dermcheck.active_learning.pool import FloatArray, Labelled, Pool

__all__ = ["NearestDistances", "Rows", "candidates", "spread", "squared_distances"]

Rows = npt.NDArray[np.intp]

_CANDIDATES: Final = 2048
"""Among how many photographs a choice is made, so that it takes no longer than a click: of a larger pool half
of the worthiest and half at random."""
_COMPARED: Final = 1024
"""To how many labelled photographs the candidates are compared, a random sample of them."""


def spread(
    pool: Pool, labelled: Labelled, worth: npt.NDArray[np.float64], count: int, rng: np.random.Generator
) -> Rows:
    """Choose by k-means++ (Arthur and Vassilvitskii 2007) from the labelled ones on.

    Each choice is drawn with a probability proportional to its worth times its squared distance to the
    nearest photograph that is labelled or chosen.

    Parameters
    ----------
    worth
        (N,) at least 0, e.g. all 1 for diversity alone.
    """
    rows = candidates(worth, count, rng)
    worth = worth[rows]
    nearest = NearestDistances(pool.embedding[rows], labelled.comparable(pool), rng)
    chosen: list[int] = []
    for _ in range(count):
        row = _draw(worth, nearest.squared, chosen, rng)
        chosen.append(row)
        nearest.add(row)
    return rows[chosen]


class NearestDistances:
    """Squared distances (N,) of candidates to the nearest photograph that is labelled or chosen.

    Parameters
    ----------
    points
        (N, D) embeddings of the candidates; where one is not known, the mean of all is in its place.
    labelled
        (M, D) those of the labelled photographs; a random sample of many.
    """

    def __init__(self, points: FloatArray, labelled: FloatArray, rng: np.random.Generator) -> None:
        self._points = _finite(points)
        self.squared = squared_distances(self._points, _sample(labelled, _COMPARED, rng))

    def add(self, row: int) -> None:
        """Count a candidate as chosen."""
        to_row = squared_distances(self._points, self._points[row : row + 1])
        self.squared = np.minimum(self.squared, to_row)


def squared_distances(points: FloatArray, others: FloatArray) -> npt.NDArray[np.float64]:
    """Return (N,): squared distance of each point (N, D) to the nearest of the others; 1 without others."""
    if not len(others):
        return np.ones(len(points))
    if len(others) == 1:
        return np.asarray(((points - others) ** 2).sum(axis=1), np.float64)
    _, distances = pairwise_distances_argmin_min(points, others)
    return np.asarray(distances, np.float64) ** 2


def candidates(worth: npt.NDArray[np.float64], count: int, rng: np.random.Generator) -> Rows:
    """Return the rows to choose among: all of a small pool, else half of the worthiest, half at random."""
    limit = max(count, _CANDIDATES)
    if len(worth) <= limit:
        return np.arange(len(worth))
    half = limit // 2
    order = np.argpartition(-worth, half)
    others = rng.choice(len(worth) - half, limit - half, replace=False)
    return np.concatenate([order[:half], order[half:][others]])


def _draw(
    worth: npt.NDArray[np.float64],
    nearest: npt.NDArray[np.float64],
    chosen: list[int],
    rng: np.random.Generator,
) -> int:
    for weights in (worth * nearest, worth, np.ones(len(worth))):
        weights = weights.copy()
        weights[chosen] = 0
        if (total := weights.sum()) > 0:
            return int(rng.choice(len(weights), p=weights / total))
    raise AssertionError("more photographs were asked for than there are")


def _finite(points: FloatArray) -> FloatArray:
    """Put the mean of all in the place of embeddings that are not known: neither near nor far."""
    known = np.isfinite(points).all(axis=1)
    if known.all():
        return points
    middle = points[known].mean(axis=0) if known.any() else np.zeros(points.shape[1], points.dtype)
    return np.where(known[:, None], points, middle)


def _sample(points: FloatArray, limit: int, rng: np.random.Generator) -> FloatArray:
    return points if len(points) <= limit else points[rng.choice(len(points), limit, replace=False)]
