"""Noise and cells as functions of position, so that a pattern does not depend on the picture's size.

Positions are in scene units (half the short side of the picture is 1), arrays are (rows, columns)
of float64. Each pattern repeats after `_PERIOD` cells, which is more than a picture shows.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Plane", "cell_ridges", "fractal_noise", "smoothstep", "value_noise"]

Plane: TypeAlias = npt.NDArray[np.float64]  # (rows, columns)
_PERIOD = 128


def smoothstep(low: float, high: float, values: Plane) -> Plane:
    """Rise smoothly from 0 at `low` to 1 at `high`; falls where `low` is greater than `high`."""
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def value_noise(x: Plane, y: Plane, cell: float, rng: np.random.Generator) -> Plane:
    """Smooth random values from 0 to 1 that change over a distance of about `cell`."""
    lattice = rng.random((_PERIOD, _PERIOD))
    column, row = np.floor(x / cell), np.floor(y / cell)
    across, down = x / cell - column, y / cell - row
    across, down = across * across * (3.0 - 2.0 * across), down * down * (3.0 - 2.0 * down)
    left, top = column.astype(np.intp) % _PERIOD, row.astype(np.intp) % _PERIOD
    right, bottom = (left + 1) % _PERIOD, (top + 1) % _PERIOD
    upper = lattice[top, left] * (1.0 - across) + lattice[top, right] * across
    lower = lattice[bottom, left] * (1.0 - across) + lattice[bottom, right] * across
    noise: Plane = upper * (1.0 - down) + lower * down
    return noise


def fractal_noise(x: Plane, y: Plane, cell: float, rng: np.random.Generator, octaves: int = 4) -> Plane:
    """Sum of `octaves` value noises, each half as coarse and half as strong; about 0 to 1, mean 0.5."""
    total, weight, weights = np.zeros_like(x), 1.0, 0.0
    for _ in range(octaves):
        total += weight * value_noise(x, y, cell, rng)
        weights += weight
        cell, weight = cell / 2.0, weight / 2.0
    return total / weights


def cell_ridges(x: Plane, y: Plane, cell: float, rng: np.random.Generator) -> tuple[Plane, Plane, Plane]:
    """Divide the plane into irregular cells (Worley 1996, "A cellular texture basis function").

    Returns
    -------
    tuple[Plane, Plane, Plane]
        Distance to the nearest wall between two cells (0 on the wall), distance to the cell's own
        point (both in cell widths), and a random value from 0 to 1, constant within each cell.
    """
    jitter = rng.random((_PERIOD, _PERIOD, 2))
    shade = rng.random((_PERIOD, _PERIOD))
    u, v = x / cell, y / cell
    column, row = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
    nearest, second = np.full_like(u, np.inf), np.full_like(u, np.inf)
    value = np.zeros_like(u)
    for step_y in (-1, 0, 1):
        for step_x in (-1, 0, 1):
            c, r = column + step_x, row + step_y
            offset = jitter[r % _PERIOD, c % _PERIOD]
            distance = np.hypot(c + offset[..., 0] - u, r + offset[..., 1] - v)
            closer = distance < nearest
            second = np.where(closer, nearest, np.minimum(second, distance))
            value = np.where(closer, shade[r % _PERIOD, c % _PERIOD], value)
            nearest = np.where(closer, distance, nearest)
    return second - nearest, nearest, value
