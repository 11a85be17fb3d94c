"""The outlined lesions of a photograph, as they go into a Segmentation and come out of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dermcheck.dicom.header import PhotographHeader
from dermcheck.lesions import LesionClass

__all__ = ["LesionMask", "LesionSegment", "dice_index", "only_class", "union_of"]

LesionMask: TypeAlias = NDArray[np.bool_]
"""(rows, columns) of the photograph; True inside the lesion."""


@dataclass(frozen=True, slots=True, eq=False)
class LesionSegment:
    """One lesion. Two segments are equal only if they are the same object, as arrays have no single truth."""

    mask: LesionMask
    """May be empty (0 pixels): the answer "no lesion here"."""
    lesion_class: LesionClass | None
    """None where the diagnosis is unknown."""
    label: str | None = None
    """What viewers show; None stands for the meaning of the class."""
    tracking_id: str | None = None
    """Human name of the lesion, unique within the clinic (PS3.3 C.7.6.16.2.20)."""
    tracking_uid: str | None = None
    """The same as a UID; equal in every object about this lesion."""


def union_of(segments: Iterable[LesionSegment], header: PhotographHeader) -> LesionMask:
    """Return what any of the lesions covers, (rows, columns)."""
    mask = np.zeros((header.rows, header.columns), np.bool_)
    for segment in segments:
        mask |= segment.mask
    return mask


def only_class(segments: Sequence[LesionSegment]) -> LesionClass | None:
    """Return the one class of the outlined lesions, or of all where none is outlined; None without one."""
    outlined = [segment for segment in segments if segment.mask.any()]
    classes = {segment.lesion_class for segment in outlined or segments}
    return next(iter(classes)) if len(classes) == 1 else None


def dice_index(mask: LesionMask, other: LesionMask) -> float:
    """Return twice the intersection over the sum of both areas; 1 where both are empty, which is agreement.

    >>> dice_index(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    areas = np.count_nonzero(mask) + np.count_nonzero(other)
    return float(2 * np.count_nonzero(mask & other) / areas) if areas else 1.0
