"""Changes of a photograph after which a model should answer the same, and the way back for its outline."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from dermcheck.dicom.pixels import RGBImage
from dermcheck.dicom.segments import LesionMask
from dermcheck.training.evaluation.artefacts import (
    add_ink,
    add_ruler,
    cover_with_hair,
    darken_corners,
    surround_with_skin,
)

__all__ = ["PERTURBATIONS", "Group", "Perturbation"]

Group = Literal["everyday", "difficult"]
"""Changes that mean nothing and are met every day, or conditions that make the photograph harder."""
_Change: TypeAlias = Callable[[RGBImage, np.random.Generator], RGBImage]
_Restore: TypeAlias = Callable[[LesionMask, tuple[int, int]], LesionMask]

_SHIFT: Final = 0.05
_ZOOM: Final = 1.1


@dataclass(frozen=True)
class Perturbation:
    """A change of a photograph."""

    name: str
    group: Group
    change: _Change
    """From the photograph, (rows, columns, 3) uint8, and a source of chance to the changed one; it may have
    another size."""
    restore: _Restore = lambda mask, shape: mask
    """From a mask of the changed photograph, and rows and columns of the unchanged one, to the mask in the
    unchanged photograph's place. What the changed one does not show is False: the mask that is True
    everywhere becomes the part that both show."""


def _rotated(name: str, quarters: int) -> Perturbation:
    return Perturbation(
        name,
        "everyday",
        lambda pixels, chance: np.ascontiguousarray(np.rot90(pixels, quarters)),
        lambda mask, shape: np.rot90(mask, -quarters),
    )


def _brightened(pixels: RGBImage, chance: np.random.Generator, factor: float) -> RGBImage:
    return np.asarray(np.clip(np.rint(pixels * factor), 0, 255), np.uint8)


def _as_jpeg(pixels: RGBImage, chance: np.random.Generator, quality: int) -> RGBImage:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=quality)
    return np.array(Image.open(file))


def _moved(array: npt.NDArray[Any], down: int, right: int, mode: Literal["reflect", "constant"]) -> Any:
    """Move an array's contents; what comes in at the edge is mirrored, or 0."""
    rows, columns = array.shape[:2]
    around = ((abs(down),) * 2, (abs(right),) * 2, *((0, 0),) * (array.ndim - 2))
    top, left = abs(down) - down, abs(right) - right
    return np.ascontiguousarray(np.pad(array, around, mode=mode)[top : top + rows, left : left + columns])


def _shifted(name: str, down: float, right: float) -> Perturbation:
    def pixels_of(shape: tuple[int, ...]) -> tuple[int, int]:
        return round(shape[0] * down), round(shape[1] * right)

    def restore(mask: LesionMask, shape: tuple[int, int]) -> LesionMask:
        rows, columns = pixels_of(shape)
        return np.asarray(_moved(mask, -rows, -columns, "constant"), bool)

    return Perturbation(
        name, "everyday", lambda pixels, chance: _moved(pixels, *pixels_of(pixels.shape), "reflect"), restore
    )


def _margins(shape: tuple[int, ...], part: float) -> tuple[int, int]:
    return max(1, round(shape[0] * part / 2)), max(1, round(shape[1] * part / 2))


def _resized(array: npt.NDArray[Any], rows: int, columns: int) -> npt.NDArray[np.uint8]:
    return np.array(Image.fromarray(array).resize((columns, rows), Image.Resampling.BICUBIC))


def _resized_mask(mask: LesionMask, rows: int, columns: int) -> LesionMask:
    return np.asarray(_resized(mask.astype(np.uint8) * 255, rows, columns) > 127)


def _zoom_in(pixels: RGBImage, chance: np.random.Generator) -> RGBImage:
    y, x = _margins(pixels.shape, 1 - 1 / _ZOOM)
    return _resized(np.ascontiguousarray(pixels[y:-y, x:-x]), *pixels.shape[:2])


def _after_zoom_in(mask: LesionMask, shape: tuple[int, int]) -> LesionMask:
    y, x = _margins(shape, 1 - 1 / _ZOOM)
    return np.pad(_resized_mask(mask, shape[0] - 2 * y, shape[1] - 2 * x), ((y, y), (x, x)))


def _zoom_out(pixels: RGBImage, chance: np.random.Generator) -> RGBImage:
    y, x = _margins(pixels.shape, _ZOOM - 1)
    return _resized(np.pad(pixels, ((y, y), (x, x), (0, 0)), mode="reflect"), *pixels.shape[:2])


def _after_zoom_out(mask: LesionMask, shape: tuple[int, int]) -> LesionMask:
    y, x = _margins(shape, _ZOOM - 1)
    return _resized_mask(mask, shape[0] + 2 * y, shape[1] + 2 * x)[y:-y, x:-x]


def _surrounded(name: str, height: float, width: float, down: float, right: float) -> Perturbation:
    def restore(mask: LesionMask, shape: tuple[int, int]) -> LesionMask:
        top, left = round(shape[0] * down), round(shape[1] * right)
        return mask[top : top + shape[0], left : left + shape[1]]

    change = partial(surround_with_skin, height=height, width=width, down=down, right=right)
    return Perturbation(name, "difficult", change, restore)


PERTURBATIONS: Final = (
    _rotated("rotated by 90°", 1),
    _rotated("rotated by 180°", 2),
    _rotated("rotated by 270°", 3),
    Perturbation(
        "mirrored",
        "everyday",
        lambda pixels, chance: np.ascontiguousarray(pixels[:, ::-1]),
        lambda mask, shape: mask[:, ::-1],
    ),
    Perturbation("JPEG quality 60", "everyday", partial(_as_jpeg, quality=60)),
    Perturbation("15 % brighter", "everyday", partial(_brightened, factor=1.15)),
    Perturbation("15 % darker", "everyday", partial(_brightened, factor=0.85)),
    _shifted("shifted by 5 % to the right", 0, _SHIFT),
    _shifted("shifted by 5 % upwards", -_SHIFT, 0),
    Perturbation("10 % larger", "everyday", _zoom_in, _after_zoom_in),
    Perturbation("10 % smaller", "everyday", _zoom_out, _after_zoom_out),
    _surrounded("at the left of a frame of 3:2", 1, 1.5, 0, 0),
    _surrounded("in a corner of a frame twice as wide and high", 2, 2, 0.1, 0.9),
    Perturbation("dark corners", "difficult", darken_corners),
    Perturbation("hair", "difficult", cover_with_hair),
    Perturbation("ruler", "difficult", add_ruler),
    Perturbation("ink", "difficult", add_ink),
)
"""What `measure_robustness` tries. Shifts, and the edge of a smaller picture, are filled by mirroring."""
