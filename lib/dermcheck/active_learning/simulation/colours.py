"""Colours of photographs as numbers: what an encoder that learnt shapes of things tells little of."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["COLOUR_SIZE", "colour_features"]

_GRID: Final = 32
"""Cells along each side of a photograph; hairs and scales are averaged away."""
_RINGS: Final = ((0.0, 6.0), (6.0, 11.0), (11.0, 16.5))
"""Distances from the middle in cells: mostly lesion, its border, mostly skin."""
COLOUR_SIZE: Final = 2 * len(_RINGS) * 4 * 3


def colour_features(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Describe square photographs (N, S, S, 3), S a multiple of 32, by (N, `COLOUR_SIZE`) numbers.

    Mean, spread, 10th and 90th percentile of red, green and blue in three rings, as they are and divided by
    the brightness of their cell.
    """
    count, side = images.shape[:2]
    cell = side // _GRID
    cells = images.reshape(count, _GRID, cell, _GRID, cell, 3).mean(axis=(2, 4), dtype=np.float32) / 255
    rows, columns = np.mgrid[:_GRID, :_GRID]
    middle = (_GRID - 1) / 2
    distance = np.hypot(rows - middle, columns - middle)
    found = []
    for values in (cells, cells / (cells.mean(axis=-1, keepdims=True) + 0.05)):
        for low, high in _RINGS:
            ring = values[:, (distance >= low) & (distance < high)]
            found += [
                ring.mean(axis=1), ring.std(axis=1),
                np.quantile(ring, 0.1, axis=1), np.quantile(ring, 0.9, axis=1),
            ]  # fmt: skip
    return np.asarray(np.concatenate(found, axis=1), np.float32)
