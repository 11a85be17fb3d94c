"""A data set: photographs with what is known of them, before any is decoded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from dermcheck.dicom.pictures import read_picture
from dermcheck.dicom.pixels import RGBImage
from dermcheck.dicom.segments import LesionMask
from dermcheck.errors import DermCheckError, StorageError
from dermcheck.lesions import CLASSES

__all__ = [
    "DataError",
    "DataSet",
    "LabelledPhotograph",
    "MaskFile",
    "MaskSource",
    "PictureFile",
    "PictureSource",
]


class DataError(DermCheckError, ValueError):
    """A data set cannot be used as it is; the message says what is wrong with which file and what to do."""


class PictureSource(Protocol):
    """Where one photograph comes from."""

    def revision(self) -> str:
        """Return a text that changes whenever the pixels may have changed; cheap, nothing is decoded."""
        ...

    def read(self) -> RGBImage:
        """Decode it: (rows, columns, 3) uint8 RGB, upright. Raises DermCheckError."""
        ...


class MaskSource(Protocol):
    """Where one mask comes from."""

    def revision(self) -> str:
        """Return a text that changes whenever the mask may have changed; cheap, nothing is decoded."""
        ...

    def read(self) -> LesionMask:
        """Decode it: (rows, columns) bool, True inside the lesion. Raises DermCheckError."""
        ...


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A photograph in a JPEG, PNG or TIFF file, read as the product reads it (limits, EXIF orientation)."""

    path: Path

    def revision(self) -> str:
        """Return path, size and time of change."""
        return _file_revision(self.path)

    def read(self) -> RGBImage:
        """Decode the file; see `read_picture`."""
        return read_picture(self.path)


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A mask in a picture file: black outside, white inside."""

    path: Path

    def revision(self) -> str:
        """Return path, size and time of change."""
        return _file_revision(self.path)

    def read(self) -> LesionMask:
        """Decode the file; what is brighter than half is inside."""
        return np.asarray(read_picture(self.path)[..., 0] > 127)


def _file_revision(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        raise StorageError(
            f"{path}: the file can no longer be read ({error.strerror}). Put it back, or open the data set "
            "again."
        ) from error
    return f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPhotograph:
    """One photograph and what is known of it."""

    image_id: str
    """Name of its file without extension, or its SOPInstanceUID."""
    source: str
    """Name of the data set that it comes from, e.g. ``ham10000`` or ``corrections``."""
    picture: PictureSource
    mask: MaskSource | None = None
    """None where no outline is known, or none that can teach (see `DataSet.problems`)."""
    diagnosis: int | None = None
    """Index in `CLASSES`; None where unknown."""
    fold: int | None = None
    """0 to 7 fit, 8 selects and calibrates, 9 reports, -1 is left out; None until `assign_folds` chose."""
    lesion_id: str | None = None
    patient_id: str | None = None
    """A pseudonym (`PhotographHeader.patient_key`) for DICOM photographs, never a name."""
    age: float | None = None
    """In years."""
    sex: str | None = None
    """``male`` or ``female``."""
    site: str | None = None
    """Where on the body, in the data set's words."""
    device: str | None = None
    """Maker and model of the camera."""
    content: str = ""
    """SHA-256 of the decoded pixels and their size: equal for the same pixels in any file."""
    mask_content: str = ""
    """The same of the mask; empty without one."""
    central: float = 1.0
    """Part of the outlined lesion inside the largest centred square; 1 where that is not known."""

    @property
    def group(self) -> str:
        """What may not be split: the patient if known, else the lesion, else the image.

        >>> LabelledPhotograph(image_id="a", source="x", picture=PictureFile(Path("a.jpg"))).group
        'image:x/a'
        """
        kinds = ("patient", self.patient_id), ("lesion", self.lesion_id), ("image", self.image_id)
        return next(f"{kind}:{self.source}/{name}" for kind, name in kinds if name)

    @property
    def lesion(self) -> str:
        """What intervals are drawn over: the lesion if known, else the group."""
        return f"{self.source}/{self.lesion_id}" if self.lesion_id else self.group


@dataclass(frozen=True, slots=True)
class DataSet:
    """Photographs of one source, or of several joined by ``+``."""

    name: str
    photographs: tuple[LabelledPhotograph, ...]
    problems: tuple[str, ...] = ()
    """What is odd, each in a sentence: duplicates, missing files, all-foreground masks, ..."""

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.photographs)

    def __add__(self, other: DataSet) -> DataSet:
        """Join two data sets. Join first and choose folds afterwards: `assign_folds` looks at all of it."""
        return DataSet(
            f"{self.name} + {other.name}",
            self.photographs + other.photographs,
            self.problems + other.problems,
        )

    def read_picture(self, index: int) -> RGBImage:
        """Decode photograph `index` in its own size: (rows, columns, 3) uint8. Raises DermCheckError."""
        return self.photographs[index].picture.read()

    def fingerprint(self) -> str:
        """Return the SHA-256 over ids, labels, folds and contents, in hexadecimal; in any order the same."""
        lines = sorted(
            json.dumps(
                [p.source, p.image_id, p.group, _class_name(p.diagnosis), p.fold, p.content, p.mask_content]
            )
            for p in self.photographs
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _class_name(diagnosis: int | None) -> str | None:
    return None if diagnosis is None else CLASSES[diagnosis]
