"""Pictures that are no lesion photographs, drawn by code: what somebody may upload by mistake.

They teach the check "not a lesion photograph" (`training.photograph_check`). Drawn ones need no data set, no
licence and no network, and any number of them can be had. Each kind is a function of its own, so that a
measurement can leave whole kinds out of the fit: what is then flagged was never seen in any form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy.ndimage import gaussian_filter, zoom

from dermcheck.dicom.pixels import RGBImage

__all__ = ["NEGATIVE_KINDS", "blur", "draw_negatives"]

_Chance: TypeAlias = np.random.Generator
_Draw: TypeAlias = Callable[[_Chance, int], RGBImage]
_Colour: TypeAlias = tuple[int, int, int]

_WORDS: Final = (  # noqa: SIM905
    "patient report date examination referral findings history invoice letter the of and with no left right "
    "dermatology department result normal page signed insurance number treatment follow-up weeks"
).split()


def draw_negatives(per_kind: int, side: int, seed: int) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.uint8]]:
    """Draw pictures of each of `NEGATIVE_KINDS`; the same seed gives the same pictures.

    Returns
    -------
    kind
        (N,) names, N = per_kind * number of kinds.
    pictures
        (N, side, side, 3) uint8 RGB.
    """
    names = np.repeat(np.array(list(NEGATIVE_KINDS)), per_kind)
    pictures = [
        draw(np.random.default_rng((seed, *name.encode(), i)), side)
        for name, draw in NEGATIVE_KINDS.items()
        for i in range(per_kind)
    ]
    return names, np.stack(pictures)


def blur(photograph: RGBImage, part: float) -> RGBImage:
    """Put a photograph out of focus: Gaussian blur whose sigma is this part of the short side."""
    sigma = part * min(photograph.shape[:2])
    return _as_picture(gaussian_filter(photograph.astype(np.float32), (sigma, sigma, 0), mode="nearest"))


def _as_picture(values: npt.NDArray[np.floating[Any]]) -> RGBImage:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _colour(chance: _Chance, low: int = 0, high: int = 255) -> _Colour:
    red, green, blue = chance.integers(low, high + 1, 3).tolist()
    return red, green, blue


def _paper(chance: _Chance) -> _Colour:
    """White to cream, as paper looks under a lamp."""
    white = int(chance.integers(215, 256))
    return white, white - int(chance.integers(0, 8)), white - int(chance.integers(0, 30))


def _ink(chance: _Chance) -> _Colour:
    inks = ((10, 10, 10), (25, 30, 110), (60, 60, 60), (120, 20, 25))
    return inks[int(chance.integers(len(inks)))]


def _with_noise(
    picture: RGBImage | npt.NDArray[np.floating[Any]], chance: _Chance, most: float = 6.0
) -> RGBImage:
    """Add a camera's noise, from none up to a standard deviation of `most` grey values."""
    return _as_picture(picture + chance.normal(0, chance.uniform(0, most), picture.shape))


def _flat(chance: _Chance, side: int) -> RGBImage:
    """One colour: a covered lens, an overexposed picture, a wall."""
    plain = ((0, 0, 0), (255, 255, 255), _colour(chance, 90, 160), _colour(chance), _paper(chance))
    colour = plain[int(chance.integers(len(plain)))]
    return _with_noise(np.full((side, side, 3), colour, np.float32), chance)


def _gradient(chance: _Chance, side: int) -> RGBImage:
    """Draw a wall with a lamp beside it: light falls off along a line or around a point."""
    y, x = np.mgrid[:side, :side] / side - chance.uniform(-0.2, 1.2, (2, 1, 1))
    angle = chance.uniform(0, 2 * np.pi)
    fall = np.hypot(x, y) if chance.random() < 0.5 else x * np.cos(angle) + y * np.sin(angle)
    share = ((fall - fall.min()) / np.ptp(fall))[..., None]
    near, far = (np.array(_colour(chance), np.float32) for _ in range(2))
    return _with_noise(near * (1 - share) + far * share, chance)


def _cloud(chance: _Chance, side: int) -> RGBImage:
    """Noise of any coarseness and colour: stone, plaster, carpet, static."""
    cells = int(chance.choice([4, 8, 16, 32, 64, 128]))
    coarse = chance.uniform(-1, 1, (cells, cells, 1 if chance.random() < 0.6 else 3))
    fine = zoom(coarse, (side / cells, side / cells, 1), order=1, mode="nearest", grid_mode=True)
    picture = np.array(_colour(chance), np.float32) + fine[:side, :side] * chance.uniform(10, 120)
    return _as_picture(picture)


def _tiles(chance: _Chance, side: int) -> RGBImage:
    """Bricks, tiles, stripes, a chessboard, a weave."""
    height, width = chance.integers(6, max(7, side // 4), 2)
    y, x = np.mgrid[:side, :side]
    shifted = x + (y // height % 2) * int(chance.integers(0, width))
    seam = (y % height < max(1, height // 8)) | (shifted % width < max(1, width // 8))
    chess = (y // height + shifted // width) % 2 == 1
    mask = seam if chance.random() < 0.5 else chess
    one, other = (np.array(_colour(chance), np.float32) for _ in range(2))
    return _with_noise(np.where(mask[..., None], one, other), chance, 20)


def _document(chance: _Chance, side: int) -> RGBImage:
    """Draw a page of print: lines of words, sometimes a table or a heading."""
    page = Image.new("RGB", (side, side), _paper(chance))
    pen = ImageDraw.Draw(page)
    size = int(chance.integers(max(6, side // 32), max(8, side // 12)))
    font = ImageFont.load_default(size)
    ink, left = _ink(chance), int(chance.integers(0, side // 8))
    for top in range(int(chance.integers(0, side // 6)), side, int(size * chance.uniform(1.2, 1.8))):
        words = " ".join(chance.choice(_WORDS, int(chance.integers(2, 12))).tolist())
        if chance.random() < 0.85:
            pen.text((left, top), words, fill=ink, font=font)
    if chance.random() < 0.3:
        for line in range(0, side, side // int(chance.integers(3, 8))):
            pen.line((left, line, side - left, line), fill=ink)
            pen.line((line, 0, line, side), fill=ink)
    turned = page.rotate(chance.uniform(-8, 8), Image.Resampling.BILINEAR, fillcolor=_paper(chance))
    return _with_noise(np.asarray(turned), chance)


def _drawing(chance: _Chance, side: int) -> RGBImage:
    """Draw with ink: strokes, circles and outlines on paper."""
    page = Image.new("RGB", (side, side), _paper(chance))
    pen = ImageDraw.Draw(page)
    ink = _ink(chance)
    for _ in range(int(chance.integers(3, 25))):
        width = int(chance.integers(1, max(2, side // 50)))
        if chance.random() < 0.3:
            (left, right), (top, bottom) = np.sort(chance.uniform(0, side, (2, 2)), 1).tolist()
            pen.ellipse((left, top, right, bottom), outline=ink, width=width)
        else:
            steps = chance.normal(0, side / 10, (int(chance.integers(2, 12)), 2))
            path = chance.uniform(0, side, 2) + steps.cumsum(0)
            pen.line([(float(x), float(y)) for x, y in path], fill=ink, width=width, joint="curve")
    return _with_noise(np.asarray(page), chance)


def _radiograph(chance: _Chance, side: int) -> RGBImage:
    """Sketch a chest X-ray: two dark lungs, bright spine, ribs and heart, in grey."""
    y, x = np.mgrid[:side, :side] / side
    middle, spread = chance.uniform(0.46, 0.54), chance.uniform(0.18, 0.24)
    body = 190 * np.exp(-(((x - middle) / 0.42) ** 6)) * (1 - 0.3 * (1 - y))
    for side_of in (-1, 1):
        lung = ((x - middle - side_of * spread) / 0.15) ** 2 + ((y - 0.48) / chance.uniform(0.28, 0.36)) ** 2
        body -= chance.uniform(100, 140) / (1 + np.exp((lung - 1) * 8))
    body += chance.uniform(30, 70) * np.exp(-(((x - middle) / 0.04) ** 2))
    body += chance.uniform(40, 90) * np.exp(-(((x - middle - 0.07) / 0.12) ** 2 + ((y - 0.62) / 0.12) ** 2))
    ribs = np.sin((y + chance.uniform(0.5, 1.1) * (x - middle) ** 2) * 2 * np.pi * chance.uniform(8, 12))
    body += chance.uniform(5, 15) * ribs * (abs(x - middle) < 0.4)
    grey = gaussian_filter(body, side / chance.uniform(60, 200))
    return _with_noise(np.repeat(grey[..., None], 3, 2), chance, 10)


def _scene(chance: _Chance, side: int) -> RGBImage:
    """Things in front of a background, as in a photograph of a room or a street; sometimes out of focus."""
    view = Image.new("RGB", (side, side), _colour(chance))
    pen = ImageDraw.Draw(view)
    if chance.random() < 0.6:
        pen.rectangle((0, int(chance.uniform(0.3, 0.8) * side), side, side), fill=_colour(chance))
    for _ in range(int(chance.integers(3, 30))):
        (left, right), (top, bottom) = np.sort(chance.uniform(-0.1 * side, 1.1 * side, (2, 2)), 1).tolist()
        shape = pen.rectangle if chance.random() < 0.6 else pen.ellipse
        shape((left, top, right, bottom), fill=_colour(chance))
    focus = float(chance.choice([0.0, 0.01, 0.03])) * side
    return _with_noise(np.asarray(view.filter(ImageFilter.GaussianBlur(focus))), chance, 12)


def _screen(chance: _Chance, side: int) -> RGBImage:
    """Draw a screenshot: panels, buttons, a curve and some words, sharp and without noise."""
    dark = chance.random() < 0.5
    screen = Image.new("RGB", (side, side), _colour(chance, 0, 60) if dark else _colour(chance, 200, 255))
    pen = ImageDraw.Draw(screen)
    font = ImageFont.load_default(max(6, side // 20))
    for _ in range(int(chance.integers(2, 10))):
        left, top = chance.uniform(0, 0.8 * side, 2)
        right, bottom = left + chance.uniform(0.1, 0.5) * side, top + chance.uniform(0.03, 0.4) * side
        pen.rectangle((left, top, right, bottom), fill=_colour(chance), outline=_colour(chance))
        pen.text((left, top), str(chance.choice(_WORDS)), fill=_colour(chance), font=font)
    curve = side * (0.5 + 0.1 * chance.normal(size=20).cumsum())
    pen.line(list(zip(np.linspace(0, side, 20).tolist(), curve.tolist(), strict=True)), fill=_colour(chance))
    return np.array(screen)


NEGATIVE_KINDS: Final[Mapping[str, _Draw]] = MappingProxyType(
    {
        "flat": _flat,
        "gradient": _gradient,
        "cloud": _cloud,
        "tiles": _tiles,
        "document": _document,
        "drawing": _drawing,
        "radiograph": _radiograph,
        "scene": _scene,
        "screen": _screen,
    }
)
"""Every kind that can be drawn from nothing. Blurred photographs are made by `blur`."""
