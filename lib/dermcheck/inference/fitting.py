"""Photographs fitted to the inputs of networks, each step that two networks share taken once.

The result equals `resampling.resample` of the float picture up to rounding (1e-6 of the range [0, 1]). It is
computed as two weighted sums of rows, the second one of the transposed picture: whole rows are added with the
processor's vector instructions, which takes a third of the time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from dermcheck.dicom.pixels import RGBImage
from dermcheck.inference.backends.base import Picture
from dermcheck.inference.resampling import resample
from dermcheck.inference.steps import FittedPhotograph
from dermcheck.networks.cards import InputSpec

__all__ = ["Fitter"]

_REDUCTION: Final = 4
"""The uint8 reduction leaves this many pixels for each pixel of the input, along each side. Four
average its rounding away (under 0.002 of the range [0, 1]) and hardly widen the final filter."""


class Fitter:
    """One photograph, fitted to one network after another. For one thread.

    Parameters
    ----------
    pixels
        (rows, columns, 3) uint8 RGB; not changed. A read-only or strided array is copied.
    size
        Rows and columns of the photograph itself where `pixels` show it reduced: from them follows what
        `short_side` gives, so that a reduction's rounding does not change the aspect ratio.

    Raises
    ------
    ValueError
        If `pixels` is not such an array, or empty.
    """

    def __init__(self, pixels: RGBImage, size: tuple[int, int] | None = None) -> None:
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
            raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}, expected uint8 (rows, columns, 3)")
        writable = np.require(pixels, requirements=["C", "W"])  # torch warns of read-only memory
        self._pixels = torch.from_numpy(writable)
        self._size: tuple[int, int] = size or (pixels.shape[0], pixels.shape[1])
        self._reduced: dict[tuple[int, int], Tensor] = {}
        self._fewer_rows: dict[tuple[int, ...], Tensor] = {}
        self._fitted: dict[tuple[int, ...], FittedPhotograph] = {}

    def fit(self, spec: InputSpec) -> FittedPhotograph:
        """Crop or pad, and resize, as `prepare` describes."""
        if spec.geometry == "short_side":
            rows, columns = _fitted_size(*self._size, spec)
            return self._whole(rows, columns, spec.multiple)
        if self._pixels.shape[0] == self._pixels.shape[1]:
            return self._whole(spec.side, spec.side, 1)
        return self._centre_square(spec.side)

    def detail(self, spec: InputSpec) -> RGBImage:
        """Copy the photograph, reduced to four times what `short_side` gives if it is larger."""
        return self._reduce(*_fitted_size(*self._size, spec)).numpy().copy()

    def _whole(self, rows: int, columns: int, multiple: int) -> FittedPhotograph:
        key = (rows, columns, rows + -rows % multiple, columns + -columns % multiple)
        if key not in self._fitted:
            picture = self._reduce(rows, columns)
            resized = _with_rows(self._rows_resized(picture, 0, picture.shape[0], rows), columns)
            self._fitted[key] = FittedPhotograph(_mirrored(resized.numpy(), key[2], key[3]), rows, columns)
        return self._fitted[key]

    def _centre_square(self, side: int) -> FittedPhotograph:
        """Reduce before cropping: the outliner needs the same reduction."""
        rows, columns = self._pixels.shape[:2]
        scale = min(1.0, side / min(rows, columns))
        picture = self._reduce(max(1, round(rows * scale)), max(1, round(columns * scale)))
        rows, columns = picture.shape[:2]
        crop = min(rows, columns)
        top, left = (rows - crop) // 2, (columns - crop) // 2
        transposed = self._rows_resized(picture, top, top + crop, side)
        resized = _with_rows(transposed[left : left + crop], side)
        return FittedPhotograph(_mirrored(resized.numpy(), side, side), side, side)

    def _reduce(self, rows: int, columns: int) -> Tensor:
        """Reduce the uint8 picture to `_REDUCTION` times the given size, if it is larger than that."""
        height, width = self._pixels.shape[:2]
        if min(height / rows, width / columns) <= _REDUCTION:
            return self._pixels
        target = rows * _REDUCTION, columns * _REDUCTION
        if target not in self._reduced:
            # With the batch's axis first, torch recognises channels-last memory, and keeps it.
            whole = resample(self._pixels[None].permute(0, 3, 1, 2), *target)
            self._reduced[target] = whole.permute(0, 2, 3, 1)[0].contiguous()
        return self._reduced[target]

    def _rows_resized(self, picture: Tensor, top: int, bottom: int, rows: int) -> Tensor:
        """(columns, rows, 3) float32 in [0, 1], transposed: the rows from `top` to `bottom` resized."""
        key = (*picture.shape[:2], top, bottom, rows)
        if key not in self._fewer_rows:
            columns = picture.shape[1]
            part = picture[top:bottom].float().div_(255).view(bottom - top, columns * 3)
            resized = _with_rows(part, rows).view(rows, columns, 3)
            self._fewer_rows[key] = resized.transpose(0, 1).contiguous()
        return self._fewer_rows[key]


def _fitted_size(rows: int, columns: int, spec: InputSpec) -> tuple[int, int]:
    """Rows and columns that the photograph has in the outliner's input."""
    scale = min(spec.side / min(rows, columns), spec.max_aspect * spec.side / max(rows, columns))
    return max(1, round(rows * scale)), max(1, round(columns * scale))


def _with_rows(picture: Tensor, rows: int) -> Tensor:
    """Resize the first axis of a contiguous float32 picture bilinearly with antialiasing.

    Three axes (columns, rows, 3) come back transposed, (rows, resized columns, 3), as a view.
    """
    if picture.shape[0] == rows:
        resized = picture.reshape(rows, -1)
    else:
        indices, weights, offsets = _weights(picture.shape[0], rows)
        resized = F.embedding_bag(
            indices,
            picture.reshape(picture.shape[0], -1),
            offsets,
            mode="sum",
            per_sample_weights=weights,
        )
    if picture.dim() == 2:
        return resized
    return resized.view(rows, picture.shape[1], 3).transpose(0, 1)


@lru_cache(maxsize=256)
def _weights(size: int, resized: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each row of the result: the rows that are added, their weights, and where they begin.

    A triangle as wide as a row of the result, or of the picture where that is wider, its sum made 1. In
    float32, step by step as torch does it.
    """
    scale = np.float32(size / resized)
    support = max(scale, np.float32(1))
    centre = scale * (np.arange(resized, dtype=np.float32) + np.float32(0.5))
    first = np.maximum((centre - support + np.float32(0.5)).astype(np.int64), 0)
    last = np.minimum((centre + support + np.float32(0.5)).astype(np.int64), size)
    rows = first[:, None] + np.arange(int((last - first).max()))
    inside = rows < last[:, None]
    distance = (rows - centre[:, None] + np.float32(0.5)).astype(np.float32) * (np.float32(1) / support)
    weight = np.where(inside, np.maximum(np.float32(1) - np.abs(distance), 0), 0).astype(np.float32)
    weight /= weight.sum(1, keepdims=True)
    offsets = np.concatenate([[0], np.cumsum(inside.sum(1))[:-1]])
    return (
        torch.from_numpy(rows[inside].astype(np.int32)),
        torch.from_numpy(weight[inside]),
        torch.from_numpy(offsets.astype(np.int32)),
    )


def _mirrored(picture: Picture, rows: int, columns: int) -> Picture:
    """Copy to a contiguous array of the given size, mirrored at the bottom and right as often as needed."""
    height, width = picture.shape[:2]
    padded = np.empty((rows, columns, 3), np.float32)
    torch.from_numpy(padded)[:height, :width] = torch.from_numpy(picture)  # numpy is slow at transposing
    padded[:height, width:] = padded[:height, _mirror(width, columns)]
    padded[height:] = padded[_mirror(height, rows)]
    return padded


def _mirror(size: int, padded: int) -> npt.NDArray[np.int64]:
    """Give the indices that continue a row of `size` pixels to `padded`, not repeating the last one."""
    period = max(1, 2 * (size - 1))
    place = np.arange(size, padded) % period
    return np.where(place < size, place, period - place)
