"""From the outliner's logits to a mask of the photograph's own size.

Only small islands are dropped. Keeping the largest piece alone scores higher on data sets with one
lesion a photograph, but would lose the second of two lesions; filling holes changed nothing. On 668
photographs of fold 8 of both reference data sets, an outliner half-way through its training gained
0.005 (standard error 0.001) in mean Jaccard index from dropping islands, 0.0001 from filling holes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import scipy.ndimage
import torch
from torch import Tensor

from dermcheck.dicom.segmentation import LesionMask
from dermcheck.inference.resampling import resample

__all__ = ["mask_at_size", "positive_box", "without_islands"]

_SMALLEST_ISLAND: Final = 0.1
"""Pieces with less than this part of the largest piece's area are dropped."""
_STRIP_PX: Final = 1 << 20
"""Pixels resampled at once: 4 MB of floats, whatever the photograph's size."""


def without_islands(logits: Tensor) -> Tensor:
    """Turn the sign of logits in pieces above 0 that are much smaller than the largest one.

    Done on the network's own grid, where it takes a fraction of a millisecond whatever the photograph's
    size.

    Parameters
    ----------
    logits
        (H, W) float32, the part of the network's output that is photograph; not changed.

    Returns
    -------
    Tensor
        Of the same shape, `logits` itself where there is no island; pieces touch along edges, not at corners.
    """
    box = positive_box(logits)
    if box is None:
        return logits
    pieces, count = scipy.ndimage.label((logits[box] > 0).numpy())
    if count == 1:
        return logits
    areas = np.bincount(pieces.ravel())
    areas[0] = 0  # what is outside
    small = areas < _SMALLEST_ISLAND * areas.max()
    small[0] = False
    if not small.any():
        return logits
    tidy = logits.clone()
    tidy[box] = torch.where(torch.from_numpy(small[pieces]), -logits[box], logits[box])
    return tidy


def mask_at_size(logits: Tensor, rows: int, columns: int) -> LesionMask:
    """Resample the logits bilinearly and keep what is above 0, i.e. more likely lesion than skin.

    The same as `resample` of the whole, but only where a pixel can be lesion, and strip by strip:
    besides the mask (a byte a pixel) it needs a few megabytes.

    Parameters
    ----------
    logits
        (H, W) float32, the part of the network's output that is photograph, not padding.
    rows, columns
        The photograph's own size.

    Returns
    -------
    LesionMask
        (rows, columns) bool, the caller's own; all False if no lesion was found.
    """
    height, width = logits.shape
    mask = np.zeros((rows, columns), np.bool_)
    box = positive_box(logits)
    if box is None:
        return mask
    if rows < height or columns < width:
        return np.asarray(resample(logits[None, None], rows, columns)[0, 0].numpy() > 0)
    top, bottom = _reached(box[0], height, rows)
    left, right = _reached(box[1], width, columns)
    wide = _between(logits.T, left, right, columns).T.contiguous()
    step = max(1, _STRIP_PX // (right - left))
    for start in range(top, bottom, step):
        end = min(start + step, bottom)
        torch.gt(_between(wide, start, end, rows), 0, out=torch.from_numpy(mask)[start:end, left:right])
    return mask


def positive_box(logits: Tensor) -> tuple[slice, slice] | None:
    """Return the rows and columns that hold logits above 0."""
    positive = (logits > 0).numpy()
    rows = np.flatnonzero(positive.any(1))
    if not len(rows):
        return None
    columns = np.flatnonzero(positive[rows[0] : rows[-1] + 1].any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _reached(part: slice, size: int, enlarged: int) -> tuple[int, int]:
    """Return which of `enlarged` pixels depend on the given part of `size` pixels."""
    scale = enlarged / size
    return max(0, int((part.start - 0.5) * scale) - 1), min(enlarged, int((part.stop + 0.5) * scale) + 2)


def _between(picture: Tensor, first: int, last: int, rows: int) -> Tensor:
    """Rows `first` to `last` of `picture` enlarged to `rows` rows."""
    if picture.shape[0] == rows:
        return picture[first:last]
    above, below, weight = _neighbours(picture.shape[0], rows)
    part = slice(first, last)
    return torch.lerp(picture[above[part]], picture[below[part]], weight[part])


@lru_cache(maxsize=64)
def _neighbours(height: int, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each of `rows` rows: the two of `height` that it lies between, and the second one's weight.

    Pixel centres aligned as torch does.
    """
    centre = (torch.arange(rows, dtype=torch.float64) + 0.5) * (height / rows) - 0.5
    centre = centre.clamp_(0, height - 1)
    above = centre.floor().long()
    below = (above + 1).clamp_(max=height - 1)
    return above, below, (centre - above).float()[:, None]
