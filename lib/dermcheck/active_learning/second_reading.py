"""Labels that the model contradicts with confidence: likely mistakes, worth a second look."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from dermcheck.active_learning.reason_words import Words
from dermcheck.active_learning.strategies import Choice

__all__ = ["contradicted", "describe"]

_SURE: Final = 0.7
"""Confidence from which on the model's other opinion counts."""


def contradicted(
    given: npt.NDArray[np.int64], decided: npt.NDArray[np.int64], confidence: npt.NDArray[np.float32]
) -> list[int]:
    """Return the numbers of the labels that the model contradicts, the most confidently first.

    The model may have learnt from these labels, so it agrees with some that are wrong; one that it
    contradicts in spite of that deserves a second look all the more.

    Parameters
    ----------
    given
        (N,) class of each label, -1 for an outline without a diagnosis (which is never contradicted).
    decided
        (N,) class that the model decides on, -1 where it was not asked yet.
    confidence
        (N,) of that decision, 0 to 1.
    """
    doubtful = (given >= 0) & (decided >= 0) & (given != decided) & (confidence >= _SURE)
    order = np.argsort(-np.where(doubtful, confidence, 0), kind="stable")
    return [int(number) for number in order[: int(doubtful.sum())]]


def describe(image: str, suspicious: int, words: Words) -> Choice:
    """Say why a label is read again, without saying what it or the model says: that would sway the reader."""
    return Choice(image, words.say("reread_many" if suspicious > 1 else "reread", labels=suspicious))
