"""Asking a classifier twice: about the whole photograph and about the square around the lesion.

A classifier has learnt from photographs that lesions fill. In one that shows much skin, or the lesion at the
edge of an oblong, it sees little of it or nothing; the outliner, which sees the whole photograph, knows where
to look. The whole photograph stays half of the answer: it shows the skin around, and how large the lesion is
in it. The square is asked upright and upside down, the photograph in the two turns between: four passes
through the network, as many as for four quarter turns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from dermcheck.dicom.pixels import RGBImage
from dermcheck.inference.postprocessing import positive_box, without_islands
from dermcheck.networks.cards import InputSpec

__all__ = ["Square", "cut", "needed_side", "square_around"]

_MARGIN: Final = 1.2
"""Side of the square in longer sides of the lesion."""
_SMALLEST: Final = 0.4
"""No square is smaller than this part of the photograph's short side: what is smaller shows nothing but
blur, or is no lesion."""


@dataclass(frozen=True)
class Square:
    """A part of a photograph, all in parts of its short side."""

    top: float
    left: float
    side: float


def square_around(outline: npt.NDArray[np.float32]) -> Square:
    """Find the square to look closer at: around the lesion; the largest centred one where none is found.

    Parameters
    ----------
    outline
        (H, W) logits of the whole photograph.
    """
    short = min(outline.shape)
    box = positive_box(without_islands(torch.from_numpy(outline)))
    if box is None:
        box = slice(0, outline.shape[0]), slice(0, outline.shape[1])
    longer = max(part.stop - part.start for part in box)
    side = min(max(_MARGIN * longer, _SMALLEST * short), short)
    top, left = (_begin(part, side, size) / short for part, size in zip(box, outline.shape, strict=True))
    return Square(top, left, side / short)


def _begin(part: slice, side: float, size: int) -> float:
    """Begin a square so that the stretch is in its middle, as far as the photograph goes."""
    return float(np.clip((part.start + part.stop - side) / 2, 0, size - side))


def needed_side(spec: InputSpec) -> int:
    """Say how many pixels along its shorter side a photograph needs for the smallest square to be sharp.

    >>> needed_side(InputSpec(side=224, mean=(0, 0, 0), std=(1, 1, 1), geometry="centre_square"))
    560
    """
    return math.ceil(spec.side / _SMALLEST)


def cut(photograph: RGBImage, square: Square) -> RGBImage:
    """Cut the square out of a photograph, (rows, columns, 3) uint8 at any scale; a view."""
    short = min(photograph.shape[:2])
    side = max(1, round(square.side * short))
    top, left = (
        min(round(begin * short), size - side)
        for begin, size in zip((square.top, square.left), photograph.shape[:2], strict=True)
    )
    return photograph[top : top + side, left : left + side]
