"""One outlined lesion of a photograph, as it goes into a Segmentation and comes out of it."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dermcheck.lesions import LesionClass

__all__ = ["LesionMask", "LesionSegment"]

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
