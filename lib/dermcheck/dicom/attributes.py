"""Single DICOM attributes read with errors that name the instance, the attribute and its value."""

import re
from datetime import datetime
from typing import Any

from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import DA, DT, TM

from dermcheck.errors import UnreadableImageError

__all__ = [
    "dataset_meta",
    "instance_name",
    "moment",
    "read_text",
    "read_uid",
    "read_value",
    "read_whole_number",
]

_UID = re.compile(r"[0-9.]{1,64}")


def instance_name(dataset: Dataset) -> str:
    """Name an instance in a message: by its SOPInstanceUID, else its file, never by its patient."""
    try:
        uid = str(dataset.get("SOPInstanceUID") or "")
    except Exception:  # its bytes are damaged; whoever needs the UID itself says so (`read_uid`)
        uid = ""
    if _UID.fullmatch(uid):
        return f"instance {uid}"
    return str(getattr(dataset, "filename", None) or "an instance without SOPInstanceUID")


def dataset_meta(dataset: Dataset) -> Dataset:
    """Return the file meta information (PS3.10 7.1), empty where the dataset has none."""
    meta: Dataset = getattr(dataset, "file_meta", None) or Dataset()
    return meta


def read_value(dataset: Dataset, keyword: str) -> Any:
    """Return an attribute's value, or None where it is absent or empty.

    Raises
    ------
    UnreadableImageError
        If its bytes do not fit its value representation. pydicom converts lazily, so this is where
        a damaged header shows, as any of several exceptions.
    """
    try:
        value = dataset.get(keyword)
    except Exception as error:
        raise UnreadableImageError(
            f"{instance_name(dataset)}: {keyword} cannot be read, its bytes are damaged. "
            "Export or copy the photograph again."
        ) from error
    is_empty = value is None or (isinstance(value, str | MultiValue | bytes) and len(value) == 0)
    return None if is_empty else value


def read_text(dataset: Dataset, keyword: str) -> str | None:
    """Return a text attribute without padding, or None where it is absent, empty or multi-valued."""
    value = read_value(dataset, keyword)
    if value is None or isinstance(value, MultiValue):
        return None
    return str(value).strip(" \0") or None


def read_uid(dataset: Dataset, keyword: str) -> str:
    """Return a UID, which every instance must have.

    Digits and dots are required, as these values become file names and addresses; a component with
    a leading zero, against PS3.5 section 9.1 but often met, is tolerated.

    Raises
    ------
    UnreadableImageError
        If it is missing or holds anything else.
    """
    value = read_text(dataset, keyword)
    if value is None or not _UID.fullmatch(value):
        # Not the value itself: with a damaged length it holds what follows, e.g. the patient's name.
        found = "missing" if value is None else f"malformed ({len(value)} characters)"
        raise UnreadableImageError(
            f"{instance_name(dataset)}: {keyword} is {found}, expected a DICOM UID (digits and dots, at most "
            "64). The file is incomplete: export it again from the archive or camera."
        )
    return value


def read_whole_number(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """Return an integer attribute (VR US or IS), or `default` where it is absent.

    Raises
    ------
    UnreadableImageError
        If it is absent without a default, or not one whole number.
    """
    value = read_value(dataset, keyword)
    if value is None and default is not None:
        return default
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        found = "missing" if value is None else "no single number"
        raise UnreadableImageError(
            f"{instance_name(dataset)}: {keyword} is {found}, expected one whole number. "
            "The header is damaged: export the photograph again."
        ) from error


def moment(dataset: Dataset, date_time: str | None, date: str, time: str) -> datetime | None:
    """Return the moment from a DT attribute, else from a DA and a TM attribute.

    A time zone is left off: what a visit is called is the clinic's local time. Where only the date
    is known the time is 0:00. Values that break their format count as absent, since cameras write
    zeros for an unset clock.
    """
    try:
        if date_time and (text := read_text(dataset, date_time)):
            stamp = DT(text)
            return datetime(*stamp.timetuple()[:6], stamp.microsecond) if stamp else None
        day = DA(read_text(dataset, date) or "")
        clock = TM(read_text(dataset, time) or "")
    except (ValueError, UnreadableImageError):
        return None
    if day is None:
        return None
    hours = (clock.hour, clock.minute, clock.second, clock.microsecond) if clock else (0, 0, 0, 0)
    return datetime(day.year, day.month, day.day, *hours)
