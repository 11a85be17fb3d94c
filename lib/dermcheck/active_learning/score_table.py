"""Scores in memory, as the arrays that strategies choose on."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import numpy as np
import numpy.typing as npt

from dermcheck.active_learning.pool import COMPACT_SIZE, Labelled, Pool
from dermcheck.active_learning.score_cache import ScoreRow
from dermcheck.lesions import CLASSES

__all__ = ["Compared", "ScoreTable"]

_BEGIN: Final = 256
_NUMBERS: Final = len(CLASSES) + 5
"""Probabilities, entropy, margin, disagreement on class and outline, score of not being a lesion."""


@dataclass(frozen=True, eq=False)
class Compared:
    """What one model says of pairs of photographs."""

    probabilities: npt.NDArray[np.float32]
    """(N, 7) of the first of each pair."""
    other_probabilities: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]
    """(N, D) of the first of each pair."""
    other_embedding: npt.NDArray[np.float32]


class ScoreTable:
    """The scores by one model. One thread puts them in, any thread may read.

    Parameters
    ----------
    model
        Key of the model, see `model_key`.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self.puts = 0
        """How often scores were put in: the same number, the same scores."""
        self._lock = threading.Lock()
        self._row: dict[str, int] = {}
        self._revision: dict[str, str] = {}
        self._image = np.empty(_BEGIN, object)  # text of one length would take 256 bytes each
        self._numbers = np.empty((_BEGIN, _NUMBERS), np.float32)
        self._embedding = np.zeros((_BEGIN, COMPACT_SIZE), np.float32)
        self._decision = np.empty(_BEGIN, np.int64)
        self._confidence = np.empty(_BEGIN, np.float32)
        self._scored_at = np.empty(_BEGIN, np.float64)

    def __len__(self) -> int:
        """Return how many photographs have scores."""
        return len(self._row)

    def put(self, rows: Sequence[ScoreRow]) -> None:
        """Add scores, or replace those of an earlier state of the photograph."""
        with self._lock:
            for row in rows:
                at = self._row.get(row.image, len(self._row))
                if at == len(self._decision):
                    self._grow()
                self._set(at, row)
                self._row[row.image] = at
                self._revision[row.image] = row.revision
            self.puts += 1

    def _grow(self) -> None:
        """Make new arrays: whoever reads the old ones goes on with them."""
        for name in ("_image", "_numbers", "_embedding", "_decision", "_confidence", "_scored_at"):
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.empty_like(old)]))

    def _set(self, at: int, row: ScoreRow) -> None:
        scores = row.scores
        self._image[at] = row.image
        self._numbers[at] = (
            *scores.probabilities,
            scores.entropy,
            scores.margin,
            scores.class_disagreement,
            scores.outline_disagreement,
            scores.not_a_lesion,
        )
        size = min(len(scores.embedding), COMPACT_SIZE)  # a test's network may have fewer features
        self._embedding[at] = 0
        self._embedding[at, :size] = scores.embedding[:size]
        self._decision[at], self._confidence[at] = scores.decision, scores.confidence
        self._scored_at[at] = row.scored_at

    def revision(self, image: str) -> str | None:
        """Return the state of the photograph's file that was scored; None if it has no scores."""
        return self._revision.get(image)

    def rows(self, images: Collection[str]) -> npt.NDArray[np.intp]:
        """Return the row of each photograph, -1 where it has no scores."""
        with self._lock:
            return np.fromiter(map(self._row.get, images, repeat(-1)), np.intp, len(images))

    def oldest(self) -> float | None:
        """Return when the oldest of the scores was made, in Unix time; None without scores."""
        with self._lock:
            return float(self._scored_at[: len(self._row)].min()) if self._row else None

    def pool(self, images: Sequence[str]) -> Pool:
        """Make the pool of those of the photographs that have scores; for `choose`."""
        at = self.rows(images)
        at = at[at >= 0]
        taken = self._numbers[at]
        entropy, margin, class_disagreement, outline_disagreement, not_a_lesion = taken[:, len(CLASSES) :].T
        return Pool(
            image_id=self._image[at],
            probabilities=taken[:, : len(CLASSES)],
            embedding=self._embedding[at],
            entropy=entropy,
            margin=margin,
            class_disagreement=class_disagreement,
            outline_disagreement=outline_disagreement,
            not_a_lesion=not_a_lesion,
            model=self.model,
        )

    def labelled(self, classes: Mapping[str, int]) -> Labelled:
        """Make what strategies know of labelled photographs: image -> class (-1 for an outline alone)."""
        at = self.rows(classes)
        taken = self._embedding[at]  # of -1: any row, replaced below
        taken[at < 0] = np.nan
        return Labelled(taken, np.fromiter(classes.values(), np.int64, len(classes)), self.model)

    def decided(self, images: Collection[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Return class (-1 without scores) and confidence (0 without) of the model's decision for each."""
        at = self.rows(images)
        known = at >= 0
        return np.where(known, self._decision[at], -1), np.where(known, self._confidence[at], 0)

    def compared(self, first: Collection[str], second: Collection[str]) -> Compared:
        """Return what is known of pairs of photographs; rows of NaN where one has no scores."""
        parts = []
        for images in (first, second):
            at = self.rows(images)
            numbers, embedding = self._numbers[at, : len(CLASSES)], self._embedding[at]
            numbers[at < 0], embedding[at < 0] = np.nan, np.nan
            parts.append((numbers, embedding))
        return Compared(parts[0][0], parts[1][0], parts[0][1], parts[1][1])
