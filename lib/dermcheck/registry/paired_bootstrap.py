"""How surely one model is better than another on the same photographs.

Paired bootstrap over lesions (Efron and Tibshirani 1993, chapter 8): each draw takes lesions with
replacement, with all their photographs, and both models are measured on that same draw. What makes a
photograph difficult for both cancels in the difference, and photographs of one lesion count as one piece
of evidence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Comparison", "compare_balanced_accuracy", "compare_means"]

_DRAWS: Final = 2000
_DRAWS_AT_ONCE: Final = 100
"""Bounds memory: a draw holds a number for each lesion."""
_SEED: Final = 0


@dataclass(frozen=True)
class Comparison:
    """A figure of both models, and their difference with its 90 % interval."""

    candidate: float
    current: float
    difference: float
    """Candidate minus current."""
    low: float
    """5 % quantile of the drawn differences: the true one is above it with 95 % confidence."""
    high: float
    """95 % quantile."""

    def to_json(self) -> dict[str, float]:
        """Give the numbers by their names, rounded to four places."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def compare_balanced_accuracy(
    truth: npt.NDArray[np.int64],
    candidate: npt.NDArray[np.int64],
    current: npt.NDArray[np.int64],
    lesion_id: npt.NDArray[np.str_],
) -> Comparison:
    """Compare the mean recall over those classes that the photographs have.

    Parameters
    ----------
    truth, candidate, current
        (N,) class of each photograph, and what either model decided.
    lesion_id
        (N,) which lesion each photograph shows.
    """
    classes = np.unique(truth)
    is_class = (truth[:, None] == classes).astype(np.float64)
    found = [is_class * (decision == truth)[:, None] for decision in (candidate, current)]
    member = _membership(lesion_id)
    total, (hit, hit_before) = _per_lesion(is_class, member), [_per_lesion(each, member) for each in found]
    differences = []
    for weight in _draws(len(total)):
        photographs = weight @ total
        drawn = photographs > 0  # the same classes for both models
        recall = np.divide(
            weight @ (hit - hit_before), photographs, out=np.zeros_like(photographs), where=drawn
        )
        differences.append(recall.sum(1) / drawn.sum(1))
    recalls = [float((each.sum(0) / total.sum(0)).mean()) for each in (hit, hit_before)]
    return _comparison(recalls[0], recalls[1], np.concatenate(differences))


def compare_means(
    candidate: npt.NDArray[np.float64],
    current: npt.NDArray[np.float64],
    lesion_id: npt.NDArray[np.str_],
) -> Comparison:
    """Compare the means of a figure that each photograph has, e.g. the Jaccard index."""
    member = _membership(lesion_id)
    gain, count = (
        _per_lesion(each[:, None], member)[:, 0] for each in (candidate - current, np.ones(len(candidate)))
    )
    differences = [(weight @ gain) / (weight @ count) for weight in _draws(len(count))]
    return _comparison(float(candidate.mean()), float(current.mean()), np.concatenate(differences))


def _comparison(candidate: float, current: float, differences: npt.NDArray[np.float64]) -> Comparison:
    low, high = np.quantile(differences, [0.05, 0.95])
    return Comparison(candidate, current, candidate - current, float(low), float(high))


def _membership(lesion_id: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    return np.unique(lesion_id, return_inverse=True)[1].astype(np.int64)


def _per_lesion(values: npt.NDArray[np.float64], member: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Sum the rows of each lesion: (N, K) to (lesions, K)."""
    sums = np.zeros((member.max() + 1, values.shape[1]))
    np.add.at(sums, member, values)
    return sums


def _draws(lesions: int) -> Iterator[npt.NDArray[np.float64]]:
    """Say how often each draw takes each lesion: arrays of (draws, lesions)."""
    generator = np.random.default_rng(_SEED)
    for _ in range(_DRAWS // _DRAWS_AT_ONCE):
        yield generator.multinomial(lesions, np.full(lesions, 1 / lesions), _DRAWS_AT_ONCE).astype(np.float64)
