"""Why a photograph was chosen, in words for the clinician."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from dermcheck.active_learning.pool import Labelled, Pool
from dermcheck.active_learning.reason_words import Words
from dermcheck.active_learning.strategies.diversity import squared_distances
from dermcheck.lesions import CLASSES, Language

__all__ = ["Reasons"]

_SAMPLE: Final = 512
"""Photographs of the pool that a chosen one is compared with."""
_FEW: Final = 20
"""Labels of a class below which it is called rare among the labelled."""
_RARE_SHARE: Final = 0.05
"""Least probability of a class for which a photograph is said to be a candidate."""
_CLOSE: Final = 0.5
"""Margin below which two classes are both named."""


class Reasons:
    """Says why photographs were chosen by a strategy."""

    def __init__(self, strategy: str, pool: Pool, labelled: Labelled, language: Language = "en") -> None:
        self._words = Words(language)
        self._strategy = strategy
        self._pool = pool
        self._known = labelled.comparable(pool)[-_SAMPLE:]
        self._labels = len(labelled)
        self._counts = labelled.counts()
        step = max(1, len(pool) // _SAMPLE)
        self._usual = _median(squared_distances(pool.embedding[::step], self._known)) if self._labels else 0.0

    def of(self, row: int) -> str:
        """Say it of one row of the pool."""
        if self._strategy == "random":
            return self._words.say("random")
        parts: list[str] = []
        if self._strategy == "hybrid":
            parts += self._of_rarity(row)
        if self._strategy in ("hybrid", "uncertain"):
            parts += self._of_doubt(row)
        if self._strategy in ("hybrid", "diverse"):
            parts += self._of_distance(row)
        return "; ".join(parts) or self._words.say("any")

    def _of_rarity(self, row: int) -> list[str]:
        probabilities = self._pool.probabilities[row]
        wanted = [
            (float(probabilities[c]), c)
            for c in range(len(CLASSES))
            if self._counts[c] < _FEW and probabilities[c] >= _RARE_SHARE and c != int(probabilities.argmax())
        ] + [(float(p), c) for c, p in enumerate(probabilities) if c == int(probabilities.argmax())]
        wanted = [(p, c) for p, c in wanted if self._counts[c] < _FEW and np.isfinite(p)]
        if not wanted or not self._labels:
            return []
        probability, index = max(wanted)
        labels = int(self._counts[index])
        key, words = f"rare_{labels}" if labels < 2 else "rare", self._words
        share = words.percent(probability)
        return [words.say(key, name=words.lesion(index), share=share, labels=labels)]

    def _of_doubt(self, row: int) -> list[str]:
        probabilities = self._pool.probabilities[row]
        parts = []
        if np.isfinite(probabilities).all():
            second, first = np.argsort(probabilities, kind="stable")[-2:].tolist()
            if probabilities[first] - probabilities[second] < _CLOSE:
                parts.append(self._between(first, second, probabilities))
        score = self._pool.outline_disagreement
        known = score[np.isfinite(score)]
        if len(known) > 1 and score[row] > np.quantile(known, 0.8):
            parts.append(self._words.say("outline"))
        return parts

    def _between(self, first: int, second: int, probabilities: Sequence[float]) -> str:
        words = self._words
        return words.say(
            "between",
            first=words.lesion(first),
            first_share=words.percent(probabilities[first]),
            second=words.lesion(second),
            second_share=words.percent(probabilities[second]),
        )

    def _of_distance(self, row: int) -> list[str]:
        if not self._labels:
            return [self._words.say("first")]
        if not len(self._known):
            return []
        distance = float(squared_distances(self._pool.embedding[row : row + 1], self._known)[0])
        if distance <= self._usual:
            return []
        return [self._words.say("unlike_1" if self._labels == 1 else "unlike", labels=self._labels)]


def _median(values: np.ndarray) -> float:  # type: ignore[type-arg]
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else 0.0
