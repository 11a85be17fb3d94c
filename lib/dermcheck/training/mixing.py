"""Drawing corrections and replayed reference data in fixed shares.

Some dozen corrections among ten thousand reference photographs would never be seen; alone they would
soon be known by heart, and everything else forgotten.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

from dermcheck.lesions import CLASSES
from dermcheck.training.data.corrections import CORRECTIONS
from dermcheck.training.data.picture_cache import Photographs

__all__ = ["draw_mixed", "is_correction", "mixed_weights", "most_even"]

_LEAST_DRAWN: Final = 64
_MOST_DRAWN: Final = 512
"""Bounds of an epoch, in photographs: few corrections still make some steps, many still end soon."""

Rows = npt.NDArray[np.int64]


def is_correction(photographs: Photographs, rows: Rows) -> npt.NDArray[np.bool_]:
    """Tell which of the rows are corrections."""
    return np.asarray(photographs.source[rows] == CORRECTIONS)


def mixed_weights(
    photographs: Photographs, rows: Rows, share: float, power: float = 0.0
) -> npt.NDArray[np.float64]:
    """Give the chance with which each row is drawn.

    Parameters
    ----------
    share
        Part of the corrections together, where there are also others.
    power
        Within each part, a class of n photographs is drawn in proportion to ``n ** (1 - power)``;
        photographs without diagnosis count as a class of their own.

    Returns
    -------
    weights
        (N,) that sum to 1.
    """
    weights = np.zeros(len(rows))
    corrections = is_correction(photographs, rows)
    parts = [(corrections, share), (~corrections, 1 - share)]
    diagnosis = photographs.diagnosis[rows] % (len(CLASSES) + 1)  # -1 becomes the last class
    for member, part in parts:
        if member.any():
            counts = np.bincount(diagnosis[member], minlength=len(CLASSES) + 1)
            weight = counts[diagnosis[member]].astype(float) ** -power
            weights[member] = part * weight / weight.sum()
    return np.asarray(weights / weights.sum())


def draw_mixed(
    photographs: Photographs, rows: Rows, weights: npt.NDArray[np.float64], chance: np.random.Generator
) -> Rows:
    """Draw an epoch with replacement: twice as many photographs as there are corrections, within bounds."""
    count = int(np.clip(2 * is_correction(photographs, rows).sum(), _LEAST_DRAWN, _MOST_DRAWN))
    drawn: Rows = chance.choice(rows, count, p=weights)
    return drawn


def most_even(photographs: Photographs, rows: Rows, most: int | None) -> Rows:
    """Choose up to `most` rows, all classes alike as far as there are enough, corrections first.

    The choice depends on the photographs' names only, so that it stays when others are added.
    """
    if most is None or len(rows) <= most:
        return rows
    order = sorted(rows.tolist(), key=lambda row: _chance_of(photographs, row))
    rank: dict[int, int] = {}
    placed = []
    for row in order:
        diagnosis = int(photographs.diagnosis[row])
        rank[diagnosis] = rank.get(diagnosis, 0) + 1
        placed.append((rank[diagnosis], row))
    return np.array(sorted(row for _, row in sorted(placed)[:most]), np.int64)


def _chance_of(photographs: Photographs, row: int) -> tuple[bool, str]:
    name = hashlib.sha256(str(photographs.image_id[row]).encode()).hexdigest()
    return photographs.source[row] != CORRECTIONS, name
