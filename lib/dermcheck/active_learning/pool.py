"""What is known of the photographs that may be labelled next, and of those that are labelled already."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dermcheck.errors import ArgumentError
from dermcheck.lesions import CLASSES

__all__ = ["COMPACT_SIZE", "Labelled", "Pool", "compact_embedding"]

COMPACT_SIZE: Final = 64
"""Length of a compact embedding: distances among 100,000 of them are found in milliseconds."""
_PROJECTION_SEED: Final = 20260101
"""Fixed, so that embeddings computed on different days can be compared."""

FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Pool:
    """Photographs that may be chosen; row *i* of each array is photograph *i*.

    A score that is not known is NaN and counts as average. Larger means less sure, but for `margin`.
    """

    image_id: npt.NDArray[np.str_]
    """(N,)"""
    probabilities: FloatArray
    """(N, 7) calibrated for lesions as they come, in the order of `CLASSES`."""
    embedding: FloatArray
    """(N, D); see `compact_embedding`."""
    entropy: FloatArray
    """(N,) of the probabilities, normalised to 0 to 1."""
    margin: FloatArray
    """(N,) between the two most probable classes, 0 to 1."""
    class_disagreement: FloatArray
    """(N,) between several answers to one photograph, about the class."""
    outline_disagreement: FloatArray
    """(N,) about the outline."""
    not_a_lesion: FloatArray
    """(N,) 0 (a lesion photograph) to 1 (something else)."""
    model: str
    """Which model's scores these are."""

    def __post_init__(self) -> None:
        """Check that all arrays tell of the same photographs."""
        count = len(self.image_id)
        expected = {"probabilities": (count, len(CLASSES)), "embedding": (count, *self.embedding.shape[1:2])}
        for name in _arrays():
            shape = getattr(self, name).shape
            if shape != expected.get(name, (count,)):
                raise ArgumentError(
                    f"Pool: {name} has the shape {shape}, expected {expected.get(name, (count,))} for "
                    f"{count} photographs."
                )

    @classmethod
    def of(
        cls,
        image_id: npt.NDArray[np.str_],
        probabilities: FloatArray,
        embedding: FloatArray,
        model: str,
        *,
        class_disagreement: FloatArray | None = None,
        outline_disagreement: FloatArray | None = None,
        not_a_lesion: FloatArray | None = None,
    ) -> Pool:
        """Make a pool whose entropy and margin follow from the probabilities."""
        unknown = np.full(len(image_id), np.nan, np.float32)
        return cls(
            image_id=image_id,
            probabilities=probabilities,
            embedding=embedding,
            entropy=entropy(probabilities),
            margin=margin(probabilities),
            class_disagreement=unknown if class_disagreement is None else class_disagreement,
            outline_disagreement=unknown if outline_disagreement is None else outline_disagreement,
            not_a_lesion=unknown if not_a_lesion is None else not_a_lesion,
            model=model,
        )

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.image_id)

    def take(self, rows: npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_]) -> Pool:
        """Return a pool of some photographs: row numbers, or a mask (N,)."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _arrays()})


@dataclass(frozen=True, eq=False)
class Labelled:
    """What is labelled already; row *i* of each array is label *i*."""

    embedding: FloatArray
    """(M, D), as the pool's; rows of NaN where none is known."""
    diagnosis: npt.NDArray[np.int64]
    """(M,) index in `CLASSES`, or -1 where only the outline was drawn."""
    model: str
    """Which model the embeddings come from. Those of another model than the pool's are not compared."""

    @classmethod
    def none(cls) -> Labelled:
        """Nothing is labelled yet."""
        return cls(np.empty((0, 0), np.float32), np.empty(0, np.int64), "")

    def __len__(self) -> int:
        """Return the number of labels."""
        return len(self.diagnosis)

    def counts(self) -> npt.NDArray[np.int64]:
        """(7,) labels of each class."""
        return np.bincount(self.diagnosis[self.diagnosis >= 0], minlength=len(CLASSES))

    def comparable(self, pool: Pool) -> FloatArray:
        """Return the embeddings (M', D) that may be compared with the pool's: none of another model."""
        width = pool.embedding.shape[1]
        if self.model != pool.model or self.embedding.shape[1] != width:
            return np.empty((0, width), np.float32)
        known: FloatArray = self.embedding[np.isfinite(self.embedding).all(axis=1)]
        return known


def compact_embedding(features: FloatArray) -> npt.NDArray[np.float32]:
    """Shorten feature vectors (N, D) to (N, `COMPACT_SIZE`) so that their angles stay about the same.

    A random projection (Johnson and Lindenstrauss 1984) that depends on D alone: each photograph can be
    shortened by itself, on any day. Vectors that are no longer than that are only scaled.

    >>> compact_embedding(np.ones((2, 1280))).shape
    (2, 64)
    """
    values = np.asarray(features, np.float32)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    values = np.asarray(values / np.where(lengths > 0, lengths, 1), np.float32)
    if values.shape[1] <= COMPACT_SIZE:
        return values
    return np.asarray(values @ _projection(values.shape[1]), np.float32)


@cache
def _projection(width: int) -> npt.NDArray[np.float32]:
    """Return (width, `COMPACT_SIZE`)."""
    # Imported late: a server that starts does not wait for scikit-learn.
    from sklearn.random_projection import GaussianRandomProjection

    projection = GaussianRandomProjection(COMPACT_SIZE, random_state=_PROJECTION_SEED)
    projection.fit(np.zeros((1, width), np.float32))  # only the width is looked at
    return np.ascontiguousarray(projection.components_.T, np.float32)


def entropy(probabilities: FloatArray) -> npt.NDArray[np.float32]:
    """(N, 7) to (N,): 0 where one class is certain, 1 where all are equally probable."""
    values = np.asarray(probabilities, np.float32)
    logarithms = np.log(np.clip(values, np.finfo(np.float32).tiny, None))
    return np.asarray(-(values * logarithms).sum(axis=1) / np.log(values.shape[1]), np.float32)


def margin(probabilities: FloatArray) -> npt.NDArray[np.float32]:
    """(N, 7) to (N,): most probable class minus the second."""
    best = np.partition(np.asarray(probabilities, np.float32), -2, axis=1)
    return np.asarray(best[:, -1] - best[:, -2], np.float32)


def _arrays() -> list[str]:
    return [field.name for field in fields(Pool) if field.name != "model"]
