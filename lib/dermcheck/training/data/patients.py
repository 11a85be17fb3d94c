"""What a photograph's header says of age, sex and camera: only figures are given by these."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydicom import Dataset

from dermcheck.dicom.attributes import moment, read_text
from dermcheck.errors import UnreadableImageError

__all__ = ["Patient", "read_patient"]

_DAYS: Final = {"D": 1.0, "W": 7.0, "M": 30.4375, "Y": 365.25}
_SEXES: Final = {"M": "male", "F": "female"}


@dataclass(frozen=True, slots=True)
class Patient:
    """What is known; None where a value is absent or damaged."""

    age: float | None
    """In years."""
    sex: str | None
    """``male`` or ``female``."""
    device: str | None
    """Maker and model of the camera."""


def read_patient(dataset: Dataset, acquired: datetime | None) -> Patient:
    """Read from a photograph's attributes; needs no pixel data.

    Parameters
    ----------
    acquired
        When the photograph was taken (`PhotographHeader.acquired`): gives the age where only the birth is
        known.

    >>> photograph = Dataset()
    >>> photograph.PatientAge, photograph.PatientSex, photograph.Manufacturer = "018M", "F", "Maker"
    >>> read_patient(photograph, None)
    Patient(age=1.5, sex='female', device='Maker')
    """
    camera = [_text(dataset, keyword) for keyword in ("Manufacturer", "ManufacturerModelName")]
    return Patient(
        age=_age(dataset, acquired),
        sex=_SEXES.get(_text(dataset, "PatientSex") or ""),
        device=" ".join(part for part in camera if part) or None,
    )


def _age(dataset: Dataset, acquired: datetime | None) -> float | None:
    """Take the stated age (PS3.5 section 6.2, AS), else the time from birth to the photograph."""
    if stated := re.fullmatch(r"(\d{3})([DWMY])", _text(dataset, "PatientAge") or ""):
        return int(stated[1]) * _DAYS[stated[2]] / _DAYS["Y"]
    born = moment(dataset, None, "PatientBirthDate", "PatientBirthTime")
    if born is None or acquired is None or acquired < born:
        return None
    return (acquired - born).days / _DAYS["Y"]


def _text(dataset: Dataset, keyword: str) -> str | None:
    try:
        return read_text(dataset, keyword)
    except UnreadableImageError:
        return None
