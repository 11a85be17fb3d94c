"""What teaches most: classes that the labels lack, doubtful photographs, unlike what is labelled."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from dermcheck.active_learning.pool import FloatArray as Probabilities
from dermcheck.active_learning.pool import Labelled, Pool
from dermcheck.active_learning.strategies.diversity import NearestDistances, Rows, candidates, spread
from dermcheck.active_learning.strategies.uncertainty import looks_like_a_lesion, outline_rank
from dermcheck.lesions import CLASSES

__all__ = ["choose_hybrid"]

FloatArray = npt.NDArray[np.float64]

# Chosen by replaying the loop (`dermcheck simulate`) on folds 0 to 5 of HAM10000, figures on folds 6 to 8.
_SEARCHES: Final = 0.6
"""Share of the choices that search for one class; the others go by doubt."""
_NEED_POWER: Final = 1.5
"""How strongly the search prefers classes with few labels."""
_ENOUGH: Final = 5.0
"""Labels that a class is credited with from the start, so that the first few change the search gently."""
_DOUBT_POWER: Final = 0.5


def choose_hybrid(pool: Pool, labelled: Labelled, count: int, rng: np.random.Generator) -> Rows:
    """Choose one after the other; each counts as labelled for those after it.

    Most choices search: a class is drawn, the sooner the fewer labels it has, and of the photographs that the
    model takes for it the best is chosen. The others go by doubt: between two classes, on a scale where no
    class is outvoted for being rare, and weighed by the need for the classes in question. Both prefer what is
    far from all labelled ones, a doubtful outline, and what looks like a lesion.
    """
    fit = looks_like_a_lesion(pool) * (0.5 + outline_rank(pool))
    if not len(labelled):
        return spread(pool, labelled, fit, count, rng)
    answers = _balanced(pool.probabilities)
    doubt = _doubt(answers) ** _DOUBT_POWER
    labels = labelled.counts() + _ENOUGH
    rows = candidates(fit * doubt * (answers @ _needs(labels)), count, rng)
    answers, doubt, fit = answers[rows], doubt[rows], fit[rows]
    expected = _known(pool.probabilities)[rows]
    nearest = NearestDistances(pool.embedding[rows], labelled.comparable(pool), rng)
    open_rows, chosen = np.ones(len(rows), bool), []
    for _ in range(count):
        needs = _needs(labels)
        if rng.random() < _SEARCHES:
            worth = answers[:, rng.choice(len(CLASSES), p=needs)]
        else:
            worth = doubt * (answers @ needs)
        worth = np.where(open_rows, worth * fit * np.sqrt(nearest.squared), -1.0)
        best = int(worth.argmax())
        open_rows[best] = False
        chosen.append(best)
        labels = labels + expected[best]
        nearest.add(best)
    return rows[chosen]


def _needs(labels: FloatArray) -> FloatArray:
    """Return (7,), summing to 1: the larger the fewer labels a class has."""
    needs = labels**-_NEED_POWER
    return np.asarray(needs / needs.sum(), np.float64)


def _known(probabilities: Probabilities) -> FloatArray:
    """Put equal probabilities in the place of unknown ones."""
    values = np.asarray(probabilities, np.float64)
    return np.where(np.isfinite(values).all(axis=1, keepdims=True), values, 1 / len(CLASSES))


def _balanced(probabilities: Probabilities) -> FloatArray:
    """Return (N, 7) as they were if all classes were equally frequent in the pool."""
    values = _known(probabilities)
    # A mean of calibrated probabilities is how frequent a class is.
    weighted = values / np.maximum(values.mean(axis=0), 1e-6)
    total = weighted.sum(axis=1, keepdims=True)
    return np.where(total > 0, weighted / np.where(total > 0, total, 1), 1 / len(CLASSES))


def _doubt(answers: FloatArray) -> FloatArray:
    """Return (N,): 1 where two classes are equally likely, 0 where one is certain."""
    best = np.partition(answers, -2, axis=1)
    return np.asarray(1 - np.clip(best[:, -1] - best[:, -2], 0, 1), np.float64)
