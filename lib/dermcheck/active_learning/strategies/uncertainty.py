"""How unsure the model is of a photograph, from several scores of different scales."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from dermcheck.active_learning.pool import FloatArray, Pool

__all__ = ["looks_like_a_lesion", "outline_rank", "uncertainty"]

FloatScores = npt.NDArray[np.float64]


def uncertainty(pool: Pool) -> FloatScores:
    """Return (N,) in 0 to 1: the mean of the photograph's ranks by each score that tells anything.

    Ranks, as an entropy and a disagreement of outlines have no common scale, and a score that a new
    model computes differently must not drown the others. A score that is the same for all is left out,
    one that is not known (NaN) counts as average; where none is left all are equally unsure (0.5).
    """
    scores = (pool.entropy, -pool.margin, pool.class_disagreement, pool.outline_disagreement)
    ranks = [_ranks(score) for score in scores if _tells_something(score)]
    return np.asarray(np.mean(ranks, axis=0) if ranks else np.full(len(pool), 0.5), np.float64)


def outline_rank(pool: Pool) -> FloatScores:
    """Return (N,) in 0 to 1: the rank of the doubt about the outline; 0.5 where it is not known."""
    score = pool.outline_disagreement
    return _ranks(score) if _tells_something(score) else np.full(len(pool), 0.5)


def looks_like_a_lesion(pool: Pool) -> FloatScores:
    """Return (N,) in 0 to 1: small for what seems not to be a photograph of a lesion; 1 if not known."""
    score = np.asarray(pool.not_a_lesion, np.float64)
    return np.asarray(1 - np.clip(np.where(np.isfinite(score), score, 0.0), 0, 1), np.float64)


def _tells_something(score: FloatArray) -> bool:
    known = score[np.isfinite(score)]
    return len(known) > 0 and bool(known.min() < known.max())


def _ranks(score: FloatArray) -> FloatScores:
    known = np.isfinite(score)
    ranks = np.full(len(score), 0.5)
    ranks[known] = (rankdata(score[known]) - 0.5) / known.sum()
    return ranks
