"""The outline of a mask as a polygon, for viewers of structured reports."""

from typing import Final, TypeAlias

import numpy as np
from scipy import ndimage

from dermcheck.dicom.segments import LesionMask

__all__ = ["MOST_POINTS", "Outline", "trace_outline"]

Outline: TypeAlias = tuple[tuple[float, float], ...]
"""Corners as (column, row), the last as the first; (0, 0) is the upper left corner of the first pixel."""

MOST_POINTS: Final = 4000
"""Longest outline. In explicit VR an FL value has at most 65,534 bytes (PS3.5 7.1.2): 8,191 points."""

_LONGEST_BORDER: Final = 400_000  # pixels; a second's walk

_STEPS: Final = ((0, 1), (1, 0), (0, -1), (-1, 0))  # (row, column): right, down, left, up
# The pixel ahead on the left and on the right of a walker at a corner, seen in each direction.
_LEFT: Final = ((-1, 0), (0, 0), (0, -1), (-1, -1))
_RIGHT: Final = ((0, 0), (0, -1), (-1, -1), (-1, 0))


def trace_outline(mask: LesionMask) -> Outline:
    """Trace the outer border of the largest part of a mask, along the edges of its pixels.

    Pixels that touch at a corner only belong to different parts; holes are not traced. The polygon
    encloses exactly the part and its holes as long as it has no more than `MOST_POINTS` corners; of a
    longer one every second, third… corner is kept. Borders of more than 400,000 pixels, which only
    noise has, are traced at half the resolution, or a quarter…

    Parameters
    ----------
    mask
        (rows, columns).

    Returns
    -------
    Outline
        Clockwise, from the leftmost pixel of the uppermost row; empty for an empty mask. Coordinates
        as in a spatial coordinates item (PS3.3 C.18.6.1.2).

    >>> mask = np.zeros((4, 5), dtype=bool)
    >>> mask[1:3, 2] = True
    >>> trace_outline(mask)
    ((2.0, 1.0), (3.0, 1.0), (3.0, 3.0), (2.0, 3.0), (2.0, 1.0))
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return ()
    top, left = int(rows[0]), int(columns[0])
    cropped, scale = mask[top : rows[-1] + 1, left : columns[-1] + 1], 1
    while _border_length(cropped) > _LONGEST_BORDER:
        cropped, scale = _halve(cropped), scale * 2
    corners = _walk(np.pad(_largest_part(cropped), 1))
    stride = -(-len(corners) // (MOST_POINTS - 1))
    kept = corners[::stride]
    return tuple(
        (float((column - 1) * scale + left), float((row - 1) * scale + top))
        for row, column in [*kept, kept[0]]
    )


def _largest_part(mask: LesionMask) -> LesionMask:
    parts, count = ndimage.label(mask)  # pixels that touch along an edge hang together
    if count == 1:
        return mask
    areas = np.bincount(parts.ravel())
    areas[0] = 0  # the background
    largest: LesionMask = parts == areas.argmax()
    return largest


def _border_length(mask: LesionMask) -> int:
    return sum(int(np.count_nonzero(np.diff(np.pad(mask, 1), axis=axis))) for axis in (0, 1))


def _halve(mask: LesionMask) -> LesionMask:
    """Join blocks of 2 × 2 pixels to one, which is inside if any of them is: what hangs together stays so."""
    rows, columns = mask.shape
    even = np.pad(mask, ((0, rows % 2), (0, columns % 2)))
    joined: LesionMask = even[::2, ::2] | even[1::2, ::2] | even[::2, 1::2] | even[1::2, 1::2]
    return joined


def _walk(part: LesionMask) -> list[tuple[int, int]]:
    """Walk round a part with its pixels on the right hand; return the corners (row, column) of turns.

    `part` has a margin of background, so that the walk never leaves the array.
    """
    row, column = divmod(
        int(np.argmax(part)), part.shape[1]
    )  # its upper left corner; the walk sets out to the right
    start, direction = (row, column), 0
    corners: list[tuple[int, int]] = []
    while True:
        step = _STEPS[direction]
        row, column = row + step[0], column + step[1]
        right, left = _RIGHT[direction], _LEFT[direction]
        if not part[row + right[0], column + right[1]]:
            turn = 1
        elif part[row + left[0], column + left[1]]:
            turn = -1
        else:
            continue
        direction = (direction + turn) % 4
        corners.append((row, column))
        if (row, column) == start and direction == 0:
            return corners[-1:] + corners[:-1]
