"""How well one mask agrees with the expert's."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt

from dermcheck.dicom.segments import LesionMask, dice_index

__all__ = ["agreement", "boundary_distance", "dice_index", "jaccard_index"]


def agreement(mask: LesionMask, expert: LesionMask) -> dict[str, float]:
    """Return what `OutlineAnswers` hold of one photograph, by name."""
    return {
        "jaccard": jaccard_index(mask, expert),
        "dice": dice_index(mask, expert),
        "boundary_distance": boundary_distance(mask, expert) / min(mask.shape),
    }


def jaccard_index(mask: LesionMask, expert: LesionMask) -> float:
    """Intersection over union of two masks of one shape; 1 where both are empty."""
    union = np.count_nonzero(mask | expert)
    return float(np.count_nonzero(mask & expert) / union) if union else 1.0


def boundary_distance(mask: LesionMask, expert: LesionMask) -> float:
    """Average symmetric surface distance: how far, in pixels, each boundary is from the other on average.

    Boundary pixels are those inside a mask with a neighbour, along rows or columns, outside it or beyond the
    picture. NaN where one of the masks is empty; 0 where both are.
    """
    if not mask.any() or not expert.any():
        return float("nan") if mask.any() or expert.any() else 0.0
    rows, columns = (np.flatnonzero((mask | expert).any(axis)) for axis in (1, 0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]  # outside it, nothing is a boundary
    one, other = (np.pad(each[part], 1) for each in (mask, expert))
    edge, edge_of_other = (each & ~binary_erosion(each) for each in (one, other))
    to_other = distance_transform_edt(~edge_of_other)[edge]
    to_one = distance_transform_edt(~edge)[edge_of_other]
    return float(np.concatenate([to_other, to_one]).mean())
