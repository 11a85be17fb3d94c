"""From the outliner's logits to a mask of the photograph's own size.

Only small islands are dropped. Keeping the largest piece alone scores higher on data sets with one
lesion a photograph, but would lose the second of two lesions; filling holes changed nothing. On 668
photographs of fold 8 of both reference data sets, an outliner half-way through its training gained
0.005 (standard error 0.001) in mean Jaccard index from dropping islands, 0.0001 from filling holes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import SimpleITK as sitk  # noqa: N813  (its own documentation's name)
import torch
from torch import Tensor

from dermcheck.dicom.segmentation import LesionMask
from dermcheck.inference.resampling import resample

__all__ = ["mask_at_size", "without_islands"]

_SMALLEST_ISLAND: Final = 0.1
"""Pieces with less than this part of the largest piece's area are dropped."""
_STRIP_PX: Final = 1 << 20
"""Pixels resampled at once: 4 MB of floats, whatever the photograph's size."""


def without_islands(logits: Tensor) -> Tensor:
    """Turn the sign of logits in pieces above 0 that are much smaller than the largest one.

    Done on the network's own grid, where it takes a millisecond whatever the photograph's size.

    Parameters
    ----------
    logits
        (H, W) float32, the part of the network's output that is photograph; not changed.

    Returns
    -------
    Tensor
        Of the same shape; pieces touch along edges, not at corners.
    """
    inside = sitk.GetImageFromArray((logits > 0).numpy().astype(np.uint8))
    pieces = sitk.GetArrayFromImage(sitk.ConnectedComponent(inside))
    areas = np.bincount(pieces.ravel())
    areas[0] = 0  # what is outside
    islands = torch.from_numpy((areas < _SMALLEST_ISLAND * areas.max())[pieces] & (pieces > 0))
    return torch.where(islands, -logits, logits)


def mask_at_size(logits: Tensor, rows: int, columns: int) -> LesionMask:
    """Resample the logits bilinearly and keep what is above 0, i.e. more likely lesion than skin.

    The same as `resample` of the whole, but strip by strip:
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
    height = logits.shape[0]
    if rows <= height:
        return np.asarray(resample(logits[None, None], rows, columns)[0, 0].numpy() > 0)
    wide = resample(logits[None, None], height, columns)[0, 0]
    mask = np.empty((rows, columns), np.bool_)
    step = max(1, _STRIP_PX // columns)
    for top in range(0, rows, step):
        bottom = min(top + step, rows)
        mask[top:bottom] = (_rows_between(wide, top, bottom, rows) > 0).numpy()
    return mask


def _rows_between(wide: Tensor, top: int, bottom: int, rows: int) -> Tensor:
    """Rows `top` to `bottom` of `wide` enlarged to `rows` rows, pixel centres aligned as torch does."""
    height = wide.shape[0]
    centre = (torch.arange(top, bottom, dtype=torch.float64) + 0.5) * (height / rows) - 0.5
    centre = centre.clamp_(0, height - 1)
    above = centre.floor().long()
    below = (above + 1).clamp_(max=height - 1)
    weight = (centre - above).float()[:, None]
    return torch.lerp(wide[above], wide[below], weight)
