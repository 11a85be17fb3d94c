"""From a photograph to a network's input, as the model's card asks.

Everything is resized as in training: on floats, bilinearly with antialiasing. A photograph much
larger than the input is first reduced as uint8, which takes 20 ms for 24 megapixels and never makes
a float copy of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from dermcheck.dicom.pixels import RGBImage
from dermcheck.inference.resampling import resample
from dermcheck.networks.cards import InputSpec

__all__ = ["NetworkInput", "prepare"]

_REDUCTION: Final = 4
"""The uint8 reduction leaves this many pixels for each pixel of the input, along each side. Four
average its rounding away (under 0.002 of the range [0, 1]) and hardly widen the final filter."""


@dataclass(frozen=True)
class NetworkInput:
    """A network's input and how much of it is photograph."""

    pixels: Tensor
    """(1, 3, H, W) float32, normalised, channels-last memory."""
    rows: int
    """The photograph fills the first `rows` rows and `columns` columns; the rest is padding."""
    columns: int


def prepare(pixels: RGBImage, spec: InputSpec) -> NetworkInput:
    """Crop or pad, resize and normalise one photograph of any size. Its aspect ratio is kept.

    Parameters
    ----------
    pixels
        (rows, columns, 3) uint8 RGB; not changed. A read-only or strided array is copied.
    spec
        `centre_square` gives (1, 3, side, side). `short_side` gives the whole photograph: its short
        side becomes `side` (less if the long side would pass ``max_aspect * side``), then it is
        mirrored at the bottom and right to a `multiple`.

    Raises
    ------
    ValueError
        If `pixels` is not such an array, or empty.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}, expected uint8 (rows, columns, 3)")
    writable = np.require(pixels, requirements=["C", "W"])  # torch warns of read-only memory
    picture = torch.from_numpy(writable).permute(2, 0, 1)[None]
    if spec.geometry == "centre_square":
        resized = _resize(_centre_square(_reduce_to_short_side(picture, spec.side)), spec.side, spec.side)
        return NetworkInput(_normalise(resized, spec), spec.side, spec.side)
    rows, columns = _fitted_size(picture.shape[2], picture.shape[3], spec)
    padded = _pad(_resize(_reduce(picture, rows, columns), rows, columns), spec.multiple)
    return NetworkInput(_normalise(padded, spec), rows, columns)


def _fitted_size(rows: int, columns: int, spec: InputSpec) -> tuple[int, int]:
    """Rows and columns that the photograph has in the outliner's input."""
    scale = min(spec.side / min(rows, columns), spec.max_aspect * spec.side / max(rows, columns))
    return max(1, round(rows * scale)), max(1, round(columns * scale))


def _reduce_to_short_side(picture: Tensor, side: int) -> Tensor:
    """Reduce before cropping, since torch would copy the cropped part of a large photograph."""
    rows, columns = picture.shape[2:]
    scale = min(1.0, side / min(rows, columns))
    return _reduce(picture, max(1, round(rows * scale)), max(1, round(columns * scale)))


def _reduce(picture: Tensor, rows: int, columns: int) -> Tensor:
    """Reduce a uint8 picture to `_REDUCTION` times the given size, if it is larger than that."""
    if min(picture.shape[2] / rows, picture.shape[3] / columns) <= _REDUCTION:
        return picture
    return resample(picture, rows * _REDUCTION, columns * _REDUCTION)


def _centre_square(picture: Tensor) -> Tensor:
    rows, columns = picture.shape[2:]
    side = min(rows, columns)
    top, left = (rows - side) // 2, (columns - side) // 2
    return picture[:, :, top : top + side, left : left + side]


def _resize(picture: Tensor, rows: int, columns: int) -> Tensor:
    """From uint8 to float32 in [0, 1] of the given size."""
    return resample(picture.float().div_(255), rows, columns)


def _pad(pixels: Tensor, multiple: int) -> Tensor:
    """Mirror at the bottom and right, as often as needed (torch refuses padding wider than the picture)."""
    bottom, right = (-size % multiple for size in pixels.shape[2:])
    if not bottom and not right:
        return pixels
    padding = ((0, 0), (0, 0), (0, bottom), (0, right))
    return torch.from_numpy(np.pad(pixels.numpy(), padding, mode="reflect"))


def _normalise(pixels: Tensor, spec: InputSpec) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)
