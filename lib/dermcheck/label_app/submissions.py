"""What clients send along with images and labels, checked: who made a label, details of a photo."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from dermcheck.dicom.author import Algorithm, Clinician
from dermcheck.dicom.codes import to_long_string
from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
from dermcheck.errors import ArgumentError

if TYPE_CHECKING:
    from pydicom import Dataset

    from dermcheck.label_app.source_image import SourceImage

__all__ = ["UNKNOWN_CLINICIAN", "read_algorithm", "read_clinician", "to_dicom", "without_details"]

UNKNOWN_CLINICIAN: Final = "Unknown"
_NAMES: Final = ("clinician", "user", "client_id")
_LONGEST_NAME: Final = 63  # see Clinician
_DETAILS: Final = frozenset(field.name for field in dataclasses.fields(PhotoDetails))


def read_clinician(info: Mapping[str, Any]) -> Clinician:
    r"""Return who made a label: `clinician`, else the `user` logged in, else the viewer's `client_id`.

    Characters that DICOM does not allow in a name are replaced, so that no work is lost for a name.

    >>> read_clinician({"client_id": "CLINIC\\doe"}).name
    'CLINIC doe'
    >>> read_clinician({}).name
    'Unknown'
    """
    names = (to_long_string(str(info.get(key) or ""))[:_LONGEST_NAME].strip() for key in _NAMES)
    return Clinician(next((name for name in names if name), UNKNOWN_CLINICIAN))


def read_algorithm(info: Mapping[str, Any]) -> Algorithm:
    """Return which model made a label: `algorithm`, else the outliner of our models' answer in `params`.

    Raises
    ------
    ArgumentError
        If it is not told with `name`, `version` and `model_hash`.
    """
    fields = info.get("algorithm") or _item(_item(info.get("params"), "models"), "outliner")
    values = [_item(fields, name) for name in ("name", "version", "model_hash")]
    if not all(isinstance(value, str) for value in values):
        raise ArgumentError(
            "a label with the tag original is a prediction, expected an algorithm with name, version and "
            "model_hash. Use the tag final for what a human drew."
        )
    return Algorithm(*values)


def _item(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def to_dicom(path: Path, source: SourceImage, info: Mapping[str, Any]) -> Dataset:
    """Make DICOM of an uploaded photo; what a viewer saved as a volume becomes a picture first.

    Parameters
    ----------
    path
        The file; `source` is what it holds.
    info
        May hold fields of `PhotoDetails`, dates as in ISO 8601.

    Raises
    ------
    ArgumentError
        If a detail is wrong.
    """
    details = _details(info)
    if source.geometry is None:
        return photo_to_dicom(path, details)
    with tempfile.TemporaryDirectory(prefix="dermcheck-") as folder:
        picture = Path(folder, "picture.png")
        Image.fromarray(source.pixels).save(picture)
        return photo_to_dicom(picture, details)


def without_details(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is not a detail of a photo: those go into DICOM only, as they may name a patient."""
    return {key: value for key, value in info.items() if key not in _DETAILS}


def _details(info: Mapping[str, Any]) -> PhotoDetails:
    given = {name: info[name] for name in _DETAILS if info.get(name) is not None}
    try:
        if "acquired" in given:
            given["acquired"] = datetime.fromisoformat(given["acquired"])
        if "birth_date" in given:
            given["birth_date"] = datetime.fromisoformat(given["birth_date"]).date()
        return PhotoDetails(**given)
    except ArgumentError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise ArgumentError(
            "a detail of the photograph is of the wrong kind, expected text, numbers, and dates like "
            "2024-05-31. Correct it and send the photograph again."
        ) from error
