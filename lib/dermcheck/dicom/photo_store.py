"""Imports photos into a folder of studies, each at most once."""

import io
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import Dataset

from dermcheck.dicom.files import file_name
from dermcheck.dicom.header import PhotographHeader, read_header
from dermcheck.dicom.new_file import write_new_file
from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
from dermcheck.errors import DermCheckError, StorageError

__all__ = ["ImportFailure", "ImportResult", "import_photo", "import_photos", "photograph_place"]

_UNDATED: Final = "undated"
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ImportFailure:
    """A photo that could not be imported."""

    photo: Path
    reason: str
    """One or two sentences for the user."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What became of each photo."""

    imported: tuple[Path, ...]
    """The DICOM files written, in the order of the photos."""
    already_there: tuple[Path, ...]
    """The DICOM files that an earlier import has written, left as they are."""
    failures: tuple[ImportFailure, ...]


def import_photos(entries: Iterable[tuple[Path, PhotoDetails]], studies: Path) -> ImportResult:
    """Import photos one after the other, in constant memory.

    A photo that cannot be read is a failure with its reason, and the next one follows. Give
    `entries` as a progress bar around a list to show how far it is.

    Raises
    ------
    StorageError
        If the studies folder cannot be written: then no further photo could be. What was written
        stays; a second run imports the rest.
    """
    imported: list[Path] = []
    already_there: list[Path] = []
    failures: list[ImportFailure] = []
    for photo, details in entries:
        try:
            dataset = photo_to_dicom(photo, details)
        except DermCheckError as error:
            failures.append(ImportFailure(photo, str(error)))
            continue
        path = studies / photograph_place(read_header(dataset))
        (imported if _write_once(dataset, path) else already_there).append(path)
    return ImportResult(tuple(imported), tuple(already_there), tuple(failures))


def import_photo(photo: Path, details: PhotoDetails, studies: Path) -> tuple[Path, bool]:
    """Import one photo.

    Returns
    -------
    Path
        ``<studies>/<patient key>/<day, or undated>/<SOPInstanceUID>.dcm``. The name holds nothing of
        the patient, and any file system can hold it, whatever script the photo's name is in.
    bool
        Whether it was written now; False where an earlier import has written it.

    Raises
    ------
    UnreadableImageError, NotFoundError, StorageError
        If the photo cannot be read or the file not be written.
    """
    dataset = photo_to_dicom(photo, details)
    path = studies / photograph_place(read_header(dataset))
    return path, _write_once(dataset, path)


def photograph_place(header: PhotographHeader) -> str:
    """Return where a photograph is kept, relative to the studies: patient, visit, instance; with ``/``."""
    day = header.acquired.date().isoformat() if header.acquired else _UNDATED
    return f"{header.patient_key}/{day}/{header.sop_instance_uid}.dcm"


def _write_once(dataset: Dataset, path: Path) -> bool:
    """Write a file unless it is there; return whether it was written now."""
    if path.exists():
        return False
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_new_file(path, buffer.getvalue())
    except FileExistsError:  # another import was quicker, or a file stands where a folder should be
        if not path.exists():
            raise _not_a_folder(path) from None
        return False
    except NotADirectoryError:
        raise _not_a_folder(path) from None
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"{file_name(path.parent)}: the folder cannot be made ({error.strerror or error}). "
            "Make the studies folder writable for the user who runs DermCheck, and import again."
        ) from error
    _LOG.info("imported instance %s", dataset.SOPInstanceUID)
    return True


def _not_a_folder(path: Path) -> StorageError:
    return StorageError(
        f"{file_name(path.parent)}: this is not a folder, so no photograph can be stored in it. "
        "Name a folder for the studies."
    )
