"""Labelled photographs to be answered one by one, from files or from the cache of decoded ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from dermcheck.dicom.pixels import RGBImage
from dermcheck.dicom.segments import LesionMask
from dermcheck.training.data.data_set import DataError, DataSet, LabelledPhotograph
from dermcheck.training.data.picture_cache import Photographs
from dermcheck.training.data.splits import assign_folds
from dermcheck.training.evaluation.skin_tone import typology_angle

__all__ = ["Case", "NothingToAnswerError", "columns_of", "find_cases"]


class NothingToAnswerError(DataError):
    """No photograph among those asked for has the label that the task needs."""


@dataclass(frozen=True)
class Case:
    """One photograph, wherever it lies."""

    known: dict[str, Any] = field(repr=False)
    """What the data tell: columns of `Answers`."""
    diagnosis: int
    """Index in `CLASSES`; -1 where unknown."""
    read_picture: Callable[[], RGBImage]
    read_expert: Callable[[], LesionMask] | None
    """Gives the expert's mask; None where there is none."""

    def typology_angle(self, pixels: RGBImage) -> float:
        """Estimate the skin's tone (see `skin_tone`); NaN without an expert's mask in the same size."""
        expert = self.read_expert() if self.read_expert else None
        if expert is None or expert.shape != pixels.shape[:2]:
            return float("nan")
        return typology_angle(pixels, expert)

    def expert_mask(self, pixels: RGBImage) -> LesionMask:
        """Read the expert's mask, (rows, columns) bool, of a photograph that has one.

        Raises
        ------
        DataError
            If it has another size than the photograph.
        """
        assert self.read_expert is not None  # noqa: S101  # only asked for where there is one
        expert = self.read_expert()
        if expert.shape != pixels.shape[:2]:
            raise DataError(
                f"{self.known['image_id']}: the mask has {expert.shape[1]} × {expert.shape[0]} pixels, but "
                f"the photograph has {pixels.shape[1]} × {pixels.shape[0]}. Give the mask in the "
                "photograph's size."
            )
        return expert


def find_cases(data: DataSet | Photographs, folds: Iterable[int], *, masks: bool = False) -> Iterator[Case]:
    """Yield the photographs of `folds`; with `masks` only those whose mask is known.

    A `DataSet` without folds gets some (`assign_folds`).
    """
    wanted = frozenset(folds)
    if isinstance(data, DataSet):
        known = all(photograph.fold is not None for photograph in data.photographs)
        for photograph in (data if known else assign_folds(data)).photographs:
            if photograph.fold in wanted and (photograph.mask is not None or not masks):
                yield _of_data_set(photograph)
        return
    for row in data.rows(wanted).tolist():
        if data.has_mask[row] or not masks:
            yield _of_cache(data, row)


def _of_data_set(photograph: LabelledPhotograph) -> Case:
    known = {
        "image_id": photograph.image_id,
        "lesion_id": photograph.lesion,
        "source": photograph.source,
        "age": np.nan if photograph.age is None else photograph.age,
        "sex": photograph.sex or "",
        "site": photograph.site or "",
        "device": photograph.device or "",
    }

    diagnosis = -1 if photograph.diagnosis is None else photograph.diagnosis
    mask = photograph.mask
    return Case(known, diagnosis, photograph.picture.read, None if mask is None else mask.read)


def _of_cache(photographs: Photographs, row: int) -> Case:
    names = ("image_id", "lesion_id", "source", "sex", "site", "device")
    known: dict[str, Any] = {name: str(getattr(photographs, name)[row]) for name in names}
    known["age"] = float(photographs.age[row])
    return Case(
        known,
        int(photographs.diagnosis[row]),
        lambda: cast(RGBImage, np.asarray(photographs.images[row])),
        (lambda: np.asarray(photographs.masks[row]) > 0) if photographs.has_mask[row] else None,
    )


def columns_of(
    answered: list[dict[str, Any]], wanted: str, data: DataSet | Photographs, problems: list[str]
) -> dict[str, npt.NDArray[Any]]:
    """Turn the rows into arrays by name."""
    if not answered:
        name = data.name if isinstance(data, DataSet) else "These photographs"
        first = f" The first problem: {problems[0]}" if problems else ""
        raise NothingToAnswerError(
            f"{name}: none of the photographs asked for has {wanted} and can be read.{first}"
        )
    return {name: np.array([row[name] for row in answered]) for name in answered[0]}
