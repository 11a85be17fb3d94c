"""Photographs as consumer pictures: rendered and thumbnail resources (PS3.18 sections 8.3.5, 10.4.1.1.3)."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from PIL import Image
from pydicom import Dataset

from dermcheck.dicom.attributes import instance_name
from dermcheck.dicom.photograph import read_photograph
from dermcheck.dicom.sop_classes import is_photograph
from dermcheck.dicomweb.statuses import NotAcceptableError
from dermcheck.errors import ArgumentError

__all__ = ["PICTURE_KINDS", "THUMBNAIL", "Rendering", "parse_rendering", "render"]

PICTURE_KINDS: Final = ("image/jpeg", "image/png", "image/gif")
"""The default first (PS3.18 table 8.7.4-1)."""
_FORMATS: Final = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF"}
_LONGEST_SIDE_PX: Final = 16_384
_THUMBNAIL_PX: Final = 256


@dataclass(frozen=True, slots=True)
class Rendering:
    """How a picture is wanted."""

    viewport: tuple[int, int] | None = None
    """Columns and rows that the picture is fitted into; None for its own size."""
    quality: int = 90
    """Of JPEG, 1 to 100."""


THUMBNAIL: Final = Rendering((_THUMBNAIL_PX, _THUMBNAIL_PX), 80)


def parse_rendering(parameters: Mapping[str, str], default: Rendering) -> Rendering:
    """Read `viewport` and `quality`; `window` and the like do not concern colour photographs.

    Raises
    ------
    ArgumentError
        If a value is malformed, or asks for more than is done here.

    >>> parse_rendering({"viewport": "320,240"}, Rendering())
    Rendering(viewport=(320, 240), quality=90)
    """
    viewport, quality = default.viewport, default.quality
    if "viewport" in parameters:
        viewport = _viewport(parameters["viewport"])
    if "quality" in parameters:
        text = parameters["quality"]
        quality = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
        if not 1 <= quality <= 100:
            raise ArgumentError(f"quality is {text[:40]!r}, expected a whole number from 1 to 100.")
    for name in ("annotation", "window", "iccprofile"):
        if parameters.get(name) and (name, parameters[name]) != ("iccprofile", "no"):
            raise ArgumentError(f"{name} is not offered here. Ask without it.")
    return Rendering(viewport, quality)


def _viewport(text: str) -> tuple[int, int]:
    parts = text.split(",")
    sides = [int(part) for part in parts if part.isascii() and part.isdigit() and len(part) < 6]
    if len(parts) != 2 or len(sides) != 2 or not all(1 <= side <= _LONGEST_SIDE_PX for side in sides):
        raise ArgumentError(
            f"viewport is {text[:40]!r}, expected columns and rows from 1 to {_LONGEST_SIDE_PX}, e.g. "
            "320,240. Parts of a photograph are not offered."
        )
    return sides[0], sides[1]


def render(dataset: Dataset, kind: str, rendering: Rendering, frame: int | None = None) -> bytes:
    """Draw a photograph.

    Parameters
    ----------
    dataset
        The instance with its pixel data.
    kind
        One of `PICTURE_KINDS`.
    frame
        Which one, from 1; the first if None.

    Raises
    ------
    NotAcceptableError
        If the instance is no photograph.
    ArgumentError
        If it has no such frame.
    UnreadableImageError
        If its pixels cannot be decoded.
    """
    if not is_photograph(dataset):
        raise NotAcceptableError(f"{instance_name(dataset)}: it is no photograph, and only those are drawn.")
    picture = Image.fromarray(read_photograph(dataset, frame or 1).pixels)
    if rendering.viewport:
        picture = _fitted(picture, rendering.viewport)
    content = io.BytesIO()
    options = {"quality": rendering.quality} if kind == "image/jpeg" else {}
    picture.save(content, _FORMATS[kind], **options)
    return content.getvalue()


def _fitted(picture: Image.Image, viewport: tuple[int, int]) -> Image.Image:
    scale = min(viewport[0] / picture.width, viewport[1] / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0 if scale < 1 else None)
