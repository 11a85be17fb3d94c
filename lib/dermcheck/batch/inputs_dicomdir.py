"""The instances of a DICOMDIR (PS3.3 annex F), as on CDs and in exports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import MediaStorageDirectoryStorage

from dermcheck.batch.discovery import Finding, Skipped, Unopened
from dermcheck.batch.inputs_list import listed_file, row_place
from dermcheck.dicom.files import file_name
from dermcheck.dicom.photograph import read_dataset
from dermcheck.errors import DermCheckError

__all__ = ["find_in_dicomdir", "is_dicomdir"]

_INACTIVE: Final = 0
_IMAGE: Final = "IMAGE"


def is_dicomdir(path: Path) -> bool:
    """Tell whether a file is a DICOMDIR, whatever its name."""
    try:
        meta = getattr(read_dataset(path, stop_before_pixels=True), "file_meta", None)
    except DermCheckError:  # no DICOM file, or a damaged one: told when it is read as a photograph
        return False
    return meta is not None and meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage


def find_in_dicomdir(path: Path) -> Iterator[Finding]:
    """Go through the images that a DICOMDIR lists, in its order.

    Other objects (reports, segmentations ...) are skipped by their record's type.

    Raises
    ------
    UnreadableImageError, StorageError
        If it cannot be read.
    """
    records = read_dataset(path).get("DirectoryRecordSequence") or []
    for number, record in enumerate(records, start=1):
        if "ReferencedFileID" not in record or record.get("RecordInUseFlag") == _INACTIVE:
            continue
        relative = _relative(record)
        kind = str(record.get("DirectoryRecordType", ""))
        if kind != _IMAGE:
            yield Skipped(relative, f"DICOMDIR record {kind}", row_place(number))
        elif _leaves_the_medium(relative):
            reason = f"{file_name(relative)}: record {number} of {path.name} leads out of its folder."
            yield Unopened(relative, reason, row_place(number))
        else:
            relative = _as_on_disk(path.parent, relative)
            yield listed_file(path.parent, relative, number, f"record {number} of {path.name}")


def _relative(record: Dataset) -> Path:
    value = record.ReferencedFileID
    parts = value if isinstance(value, MultiValue | list) else [value]
    return Path(*(str(part) for part in parts))


def _leaves_the_medium(relative: Path) -> bool:
    return relative.is_absolute() or ".." in PurePosixPath(relative).parts


def _as_on_disk(folder: Path, relative: Path) -> Path:
    """Find a name that a file system shows in lower case (ISO 9660 media under Linux)."""
    lower = Path(str(relative).lower())
    return lower if not (folder / relative).exists() and (folder / lower).exists() else relative
