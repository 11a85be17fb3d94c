"""What passes between the three steps of a prediction: `prepare`, `compute`, `finish`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dermcheck.dicom.pixels import RGBImage
from dermcheck.inference.backends.base import Picture

__all__ = ["ComputedPhotograph", "FittedPhotograph", "PreparedPhotograph"]


@dataclass(frozen=True, eq=False)
class FittedPhotograph:
    """A photograph fitted to a network's input, and how much of that is photograph."""

    picture: Picture
    """(H, W, 3) float32 in [0, 1], not normalised yet: networks are run and exported with their mean and
    standard deviation."""
    rows: int
    """The photograph fills the first `rows` rows and `columns` columns; the rest is mirrored padding."""
    columns: int


@dataclass(frozen=True, eq=False)
class PreparedPhotograph:
    """A photograph as both networks see it. One to four megabytes, whatever the photograph's size."""

    rows: int
    """Of the photograph itself, and so of its mask."""
    columns: int
    classifier: FittedPhotograph
    outliner: FittedPhotograph
    """The same object as `classifier` where both see the same."""
    detail: RGBImage | None = None
    """(rows, columns, 3) uint8, reduced as far as a closer look allows; None where no look is taken."""


@dataclass(frozen=True, eq=False)
class ComputedPhotograph:
    """What the networks answer to one photograph."""

    rows: int
    """Of the photograph itself, and so of its mask."""
    columns: int
    logits: npt.NDArray[np.float32]
    """(7,) in the order of `CLASSES`, before any calibration."""
    features: npt.NDArray[np.float32] | None
    """(D,), what the classifier's head reads; None for an architecture that names no head."""
    outline: npt.NDArray[np.float32]
    """(H, W) logits of the photograph on the outliner's grid, without padding."""
