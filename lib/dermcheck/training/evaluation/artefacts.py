"""What lies over or around a lesion in real photographs, drawn: hair, ruler, ink, dark corners, more skin.

All of it is measured in the picture's short side, so that photographs of any size get the same. The drawing
is plainer than nature: it shows whether a model is led astray by such things at all, not how often.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from dermcheck.dicom.pixels import RGBImage

__all__ = ["add_ink", "add_ruler", "cover_with_hair", "darken_corners", "surround_with_skin"]

_Colour: TypeAlias = tuple[int, int, int]
_Opacity: TypeAlias = npt.NDArray[np.float64]
"""(rows, columns), 0 to 1."""

_DRAWN_PX: Final = 1024
"""Longest side of what is drawn; larger photographs get it enlarged."""
_SUPERSAMPLING: Final = 3
_HAIR: Final[_Colour] = (38, 27, 22)
_RULER: Final[_Colour] = (20, 20, 24)
_INK: Final[_Colour] = (62, 44, 132)


def cover_with_hair(pixels: RGBImage, chance: np.random.Generator, hairs: int = 14) -> RGBImage:
    """Lay dark, bent hairs over the picture, mostly combed one way."""
    comb = chance.uniform(0, np.pi)

    def draw(pen: ImageDraw.ImageDraw, side: float, size: tuple[int, int]) -> None:
        for _ in range(hairs):
            middle = chance.uniform(0, 1, 2) * size
            heading, length = comb + chance.normal(0, 0.4), chance.uniform(0.5, 1.1) * side
            bend, steps = chance.normal(0, 0.3), np.linspace(-0.5, 0.5, 25)
            along, across = length * steps, bend * length * (steps**2 - 0.08)
            x = middle[0] + along * np.cos(heading) - across * np.sin(heading)
            y = middle[1] + along * np.sin(heading) + across * np.cos(heading)
            width = max(1, round(side * chance.uniform(0.005, 0.01)))
            pen.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=235, width=width, joint="curve")

    return _blend(pixels, _drawn(pixels, draw), _HAIR)


def add_ruler(pixels: RGBImage, chance: np.random.Generator) -> RGBImage:
    """Lay a millimetre scale along one of the four edges, as contact plates carry it."""
    turns = int(chance.integers(4))

    def draw(pen: ImageDraw.ImageDraw, side: float, size: tuple[int, int]) -> None:
        base, step, width = size[1] - 0.05 * side, 0.055 * side, max(1, round(0.006 * side))
        pen.line([(0, base), (size[0], base)], fill=225, width=width)
        for tick in range(int(size[0] / step) + 1):
            height = side * (0.10 if tick % 10 == 0 else 0.075 if tick % 5 == 0 else 0.045)
            pen.line([(tick * step, base), (tick * step, base - height)], fill=225, width=width)

    turned = np.rot90(pixels, turns)
    return np.ascontiguousarray(np.rot90(_blend(turned, _drawn(turned, draw), _RULER), -turns))


def add_ink(pixels: RGBImage, chance: np.random.Generator) -> RGBImage:
    """Mark the place with a surgical pen: an arc in dashes around the middle, and a cross beside it."""
    start = float(chance.uniform(0, 360))

    def draw(pen: ImageDraw.ImageDraw, side: float, size: tuple[int, int]) -> None:
        x, y, width = size[0] / 2, size[1] / 2, round(0.025 * side)
        box = [x - 0.44 * side, y - 0.44 * side, x + 0.44 * side, y + 0.44 * side]
        for dash in range(5):
            pen.arc(box, start + 32 * dash, start + 32 * dash + 20, fill=190, width=width)
        turn = np.radians(start + 250)
        x, y, arm = x + 0.42 * side * np.cos(turn), y + 0.42 * side * np.sin(turn), 0.05 * side
        pen.line([(x - arm, y - arm), (x + arm, y + arm)], fill=190, width=width)
        pen.line([(x - arm, y + arm), (x + arm, y - arm)], fill=190, width=width)

    opacity = gaussian_filter(_drawn(pixels, draw), 0.003 * min(pixels.shape[:2]))  # ink runs into the skin
    return _blend(pixels, opacity, _INK)


def darken_corners(pixels: RGBImage, chance: np.random.Generator) -> RGBImage:
    """Leave a dermoscope's round field of view, as wide as the short side, on black."""
    del chance
    rows, columns = pixels.shape[:2]
    y, x = np.ogrid[:rows, :columns]
    radius = np.hypot(y - (rows - 1) / 2, x - (columns - 1) / 2) / (min(rows, columns) / 2)
    return _blend(pixels, np.clip((radius - 0.97) / 0.06, 0, 1), (8, 6, 8))


def surround_with_skin(
    pixels: RGBImage, chance: np.random.Generator, height: float, width: float, down: float, right: float
) -> RGBImage:
    """Put the photograph into a larger one of even skin, in the colour of its own border.

    Parameters
    ----------
    height, width
        Of the larger photograph, in heights and widths of this one.
    down, right
        Where this one begins in it, in heights and widths of this one.
    """
    rows, columns = pixels.shape[:2]
    edge = max(1, min(rows, columns) // 20)
    border = np.ones((rows, columns), bool)
    border[edge:-edge, edge:-edge] = False
    skin = np.median(pixels[border], axis=0)
    frame = np.broadcast_to(skin, (round(rows * height), round(columns * width), 3)).copy()
    grain = gaussian_filter(chance.normal(size=frame.shape[:2]), min(rows, columns) / 100)
    frame += (4 / grain.std() * grain)[..., None]
    top, left = round(rows * down), round(columns * right)
    frame[top : top + rows, left : left + columns] += _feathered(frame.shape[:2], pixels, top, left, edge) * (
        pixels - frame[top : top + rows, left : left + columns]
    )
    return np.asarray(np.clip(np.rint(frame), 0, 255), np.uint8)


def _feathered(frame: tuple[int, ...], pixels: RGBImage, top: int, left: int, edge: int) -> _Opacity:
    """Let the photograph fade into the skin over `edge` pixels, but not at the frame's own edge."""

    def ramp(length: int, before: int, after: int) -> npt.NDArray[np.float64]:
        place = np.arange(length) + 0.5
        first = np.clip(place / edge, 0, 1) if before else np.ones(length)
        last = np.clip((length - place) / edge, 0, 1) if after else np.ones(length)
        return np.minimum(first, last)

    rows, columns = pixels.shape[:2]
    down = ramp(rows, top, frame[0] - top - rows)
    across = ramp(columns, left, frame[1] - left - columns)
    return np.asarray((down[:, None] * across[None])[..., None])


def _drawn(pixels: RGBImage, draw: Callable[[ImageDraw.ImageDraw, float, tuple[int, int]], None]) -> _Opacity:
    """Draw smoothly: `draw` gets a pen, and short side and size (columns, rows) of what it draws on."""
    rows, columns = pixels.shape[:2]
    scale = _SUPERSAMPLING * min(1.0, _DRAWN_PX / max(rows, columns))
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    sheet = Image.new("L", size)
    draw(ImageDraw.Draw(sheet), float(min(size)), size)
    smooth = sheet.resize((columns, rows), Image.Resampling.BOX if scale > 1 else Image.Resampling.BILINEAR)
    return np.asarray(smooth, np.float64) / 255


def _blend(pixels: RGBImage, opacity: _Opacity, colour: _Colour) -> RGBImage:
    weight = opacity[..., None]
    return np.asarray(np.rint(pixels * (1 - weight) + np.array(colour) * weight), np.uint8)
