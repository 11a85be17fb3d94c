"""Healthy skin: mottled colour, furrows, follicles."""

import numpy as np

from sample_drawing.canvas import Canvas, Spot
from sample_drawing.textures import cell_ridges, fractal_noise, smoothstep
from sample_drawing.tissue import Tissue

__all__ = ["paint_skin"]


def paint_skin(canvas: Canvas, fitzpatrick: int, rng: np.random.Generator, feature: float = 1.0) -> Tissue:
    """Draw skin of a Fitzpatrick type, 1 to 6; `feature` scales its texture (smaller for distant views)."""
    x, y = canvas.x, canvas.y
    tissue = Tissue.of_skin_type(fitzpatrick, x.shape)
    mottle = fractal_noise(x, y, 0.7, rng) - 0.5
    flush = fractal_noise(x, y, 0.28 * feature, rng) - 0.5
    tissue.melanin *= 1.0 + 0.35 * mottle
    tissue.melanin += 0.05 * (fractal_noise(x, y, 0.10 * feature, rng, octaves=3) - 0.5)
    tissue.blood *= 1.0 + 0.5 * mottle + 0.9 * flush
    # Furrows run mostly one way: stretch the plane across them.
    turn = rng.uniform(0, np.pi)
    sway = 0.06 * feature * (fractal_noise(x, y, 0.06 * feature, rng, octaves=2) - 0.5)
    along, across = x * np.cos(turn) + y * np.sin(turn) + sway, y * np.cos(turn) - x * np.sin(turn) - sway
    wall, _, _ = cell_ridges(along * 0.6, across, 0.075 * feature, rng)
    furrow = smoothstep(0.55, 0.0, wall)
    tissue.melanin *= 1.0 + 0.08 * furrow
    tissue.blood *= 1.0 - 0.14 * furrow
    follicles = [
        Spot(
            rng.uniform(-canvas.half_width, canvas.half_width),
            rng.uniform(-canvas.half_height, canvas.half_height),
            rng.uniform(0.008, 0.014) * feature,
        )
        for _ in range(round(22 * canvas.half_width * canvas.half_height))
    ]
    tissue.melanin += 0.07 * canvas.spots(follicles, softness=0.7)
    return tissue
