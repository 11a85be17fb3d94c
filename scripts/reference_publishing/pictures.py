"""Pictures for docs/reference-models.md: the reliability diagram, and drawn difficult photographs."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation, binary_erosion

from dermcheck.inference import Predictor
from dermcheck.training.evaluation.perturbations import PERTURBATIONS
from sample_drawing.scene import Lesion, Scene, draw_lesion_photograph

__all__ = ["difficult_photographs_png", "reliability_svg"]

_SIDE: Final = 260
_LEFT, _TOP = 52, 34
_STEP: Final = _SIDE + 76
_COLOUR: Final = "#0072B2"

_TILE: Final = (200, 200)  # rows, columns
_CAPTION_PX: Final = 34
_OUTLINE: Final = (255, 214, 0)
_COLOURS: Final = 128
_SCENE: Final = Scene(400, 400, (Lesion("mel", 0.5, elongation=1.15, seed=4),), fitzpatrick=2, seed=4)


def reliability_svg(bins: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Draw how often the most probable class is right, by its probability: one panel a classifier.

    Parameters
    ----------
    bins
        By the panel's title: the card's ``reliability``.
    """
    width, height = _LEFT + _STEP * len(bins), _TOP + _SIDE + 50
    size = f'width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width} {height}">',
        f'<rect {size} fill="white"/>',
        '<g font-family="sans-serif" font-size="12" fill="#222">',
    ]
    for number, (title, found) in enumerate(bins.items()):
        parts.append(f'<g transform="translate({_LEFT + number * _STEP},{_TOP})">')
        parts += _panel(title, found)
        parts.append("</g>")
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _panel(title: str, bins: Sequence[Mapping[str, Any]]) -> list[str]:
    images = sum(each["images"] for each in bins)
    middle = f'x="{_SIDE / 2:.0f}" text-anchor="middle"'
    parts = [
        f'<text {middle} y="-12" font-weight="bold">{title}</text>',
        f'<rect width="{_SIDE}" height="{_SIDE}" fill="none" stroke="#bbb"/>',
        f'<path d="M0 {_SIDE}L{_SIDE} 0" stroke="#999" stroke-dasharray="3 4"/>',
        f'<text {middle} y="{_SIDE + 38}">probability of the most probable class</text>',
        f'<text {middle} y="-36" transform="rotate(-90) translate(-{_SIDE},0)">share right</text>',
    ]
    for tenths in range(0, 11, 2):
        at = _SIDE * tenths / 10
        parts.append(f'<text x="{at:.0f}" y="{_SIDE + 18}" text-anchor="middle">{tenths / 10:.1f}</text>')
        parts.append(f'<text x="-8" y="{_SIDE - at + 4:.0f}" text-anchor="end">{tenths / 10:.1f}</text>')
    for each in bins:
        x, y = _SIDE * each["confidence"], _SIDE * (1 - each["accuracy"])
        radius = 2 + 22 * (each["images"] / images) ** 0.5
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{_COLOUR}" fill-opacity="0.55" '
            f'stroke="{_COLOUR}"><title>{each["images"]} photographs</title></circle>'
        )
    return parts


def difficult_photographs_png(predictor: Predictor) -> bytes:
    """Draw a melanoma under each difficult condition, with the outline and the answer of the models."""
    pixels = draw_lesion_photograph(_SCENE).pixels
    shown = {"unchanged": pixels}
    for each in PERTURBATIONS:
        if each.group == "difficult":
            shown[each.name] = each.change(pixels, np.random.default_rng(1))
    tiles = [_tile(name, changed, predictor) for name, changed in shown.items()]
    columns = 4
    tiles += [Image.new("RGB", tiles[0].size, "white")] * (-len(tiles) % columns)
    sheet = Image.new("RGB", (columns * tiles[0].width, len(tiles) // columns * tiles[0].height), "white")
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % columns * tile.width, number // columns * tile.height))
    file = io.BytesIO()
    sheet.quantize(_COLOURS, dither=Image.Dither.NONE).save(file, format="PNG", optimize=True)
    return file.getvalue()


def _tile(name: str, pixels: np.ndarray[Any, Any], predictor: Predictor) -> Image.Image:
    report = predictor.predict(pixels)
    outlined, mask = pixels.copy(), report.mask
    width = max(1, pixels.shape[0] // 150)
    outlined[binary_dilation(mask, iterations=width) & ~binary_erosion(mask, iterations=width)] = _OUTLINE
    photograph = Image.fromarray(outlined)
    photograph.thumbnail(_TILE[::-1], Image.Resampling.BOX)
    tile = Image.new("RGB", (_TILE[1] + 12, _TILE[0] + _CAPTION_PX + 8), "white")
    tile.paste(photograph, (6, 4 + (_TILE[0] - photograph.height) // 2))
    words = f"{report.decision.name}, melanoma {report.probabilities['mel']:.0%}"
    if not report.caution.is_lesion_photograph:
        words = "flagged as no lesion photograph"
    elif report.caution.not_sure:
        words += ", not sure"
    pen, font = ImageDraw.Draw(tile), ImageFont.load_default(size=11)
    short = name.replace("a frame twice as wide and high", "a larger frame")
    pen.text((6, _TILE[0] + 6), short, fill=(20, 20, 20), font=font)
    pen.text((6, _TILE[0] + 21), words, fill=(90, 90, 90), font=font)
    return tile
