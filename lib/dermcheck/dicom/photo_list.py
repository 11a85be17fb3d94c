"""Reads a CSV table of photos: which file shows which patient, site and day."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from dermcheck.dicom.files import file_name, open_file
from dermcheck.dicom.photo_import import PhotoDetails
from dermcheck.errors import ArgumentError

__all__ = ["read_details_csv"]

_FILE: Final = "file"
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        _FILE: ("file", "filename", "path", "photo", "image", "imagefile", "photofile"),
        "patient_id": ("patientid", "patient", "patientnumber", "patientno"),
        "issuer_of_patient_id": ("issuerofpatientid", "issuer"),
        "patient_name": ("patientname", "name"),
        "birth_date": ("birthdate", "patientbirthdate", "dateofbirth", "dob", "born"),
        "sex": ("sex", "patientsex", "gender"),
        "body_site": (
            "bodysite",
            "site",
            "anatomicsite",
            "bodypart",
            "localization",
            "localisation",
            "location",
        ),
        "laterality": ("laterality", "side"),
        "acquired": ("date", "acquired", "acquisitiondate", "datetime", "taken", "visit", "visitdate"),
        "tracking_id": ("trackingid", "lesion", "lesionid"),
        "tracking_uid": ("trackinguid", "lesionuid"),
        "study_description": ("studydescription", "description"),
        "pixel_spacing_mm": ("pixelspacingmm", "pixelspacing", "mmperpixel"),
        "dermoscopic": ("dermoscopic", "dermoscopy", "dermatoscopic"),
    }
)
"""Names of columns, in small letters and without spaces or signs, for each detail."""

_DAYS: Final = ("%Y-%m-%d", "%d.%m.%Y", "%Y%m%d", "%Y/%m/%d")
_TIMES: Final = ("", " %H:%M", " %H:%M:%S")
_SEXES: Final = {"m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O", "unknown": None}
_SIDES: Final = {
    "l": "L",
    "left": "L",
    "r": "R",
    "right": "R",
    "b": "B",
    "both": "B",
    "bilateral": "B",
    "u": "U",
    "unpaired": "U",
    "midline": "U",
    "unknown": None,
}
_YES_NO: Final = {
    "yes": True,
    "y": True,
    "true": True,
    "1": True,
    "no": False,
    "n": False,
    "false": False,
    "0": False,
}
_MOST_ERRORS: Final = 5
_SECRET: Final = ("patient_name",)  # its value never appears in a message


def read_details_csv(path: Path) -> list[tuple[Path, PhotoDetails]]:
    """Read which photos to import, with what is known of each.

    The first line names the columns, in any order; only `file` is needed. Known are file, patient
    id, issuer, patient name, birth date, sex, site, laterality, date, tracking id, tracking uid,
    study description, pixel spacing mm and dermoscopic, in several spellings (``Patient-ID``,
    ``localization``, ``lesion``). Other columns are left aside, unless their name looks like a
    misspelt one. Commas, semicolons and tabs separate; the text is UTF-8, or UTF-16 with its mark.

    Days are ``2024-01-31``, ``31.01.2024`` or ``20240131``, for `date` perhaps with a time behind
    (``2024-01-31 14:30``). Days with slashes are refused where 1/2 could be January or February.
    Paths are relative to the folder of the CSV file; whether a photo exists is not checked here.

    Returns
    -------
    list of (Path, PhotoDetails)
        One entry a line, in the file's order; empty lines are left out.

    Raises
    ------
    ArgumentError
        With line, column, value and what is expected, for up to five errors at once.
    NotFoundError, StorageError, UnreadableImageError
        If the CSV file itself cannot be read.

    Examples
    --------
    ::

        file,patient,site,side,date,lesion
        IMG_0001.JPG,4711,back,,2024-01-31,back 3
        IMG_0002.JPG,4711,lower extremity,left,2024-01-31,
    """
    name = file_name(path)
    with open_file(path) as stream:
        text = _decoded(stream.read(), name)
    rows = _rows(text, name)
    _, titles = next(rows, (1, []))
    columns = _match_columns(titles, name)
    entries, errors = [], []
    for line, cells in rows:
        try:
            entries.append(_entry(cells, columns, titles, path.parent))
        except ArgumentError as error:  # noqa: PERF203  # one line after the other, errors gathered
            errors.append(f"line {line}: {error}")
    if errors:
        more = f" And {len(errors) - _MOST_ERRORS} more lines." if len(errors) > _MOST_ERRORS else ""
        raise ArgumentError(f"{name}: {' '.join(errors[:_MOST_ERRORS])}{more}")
    if not entries:
        raise ArgumentError(f"{name}: the table holds no photo, expected a line for each under the titles.")
    return entries


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArgumentError(
            f"{name}: the text is not UTF-8 (byte {error.start}). Save it as 'CSV UTF-8' in the "
            "spreadsheet program."
        ) from error


def _rows(text: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each line that is not empty."""
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise ArgumentError(f"{name}: line {reader.line_num} is not well-formed CSV ({error}).") from error


def _match_columns(titles: list[str], name: str) -> dict[str, int]:
    """Find the column of each detail by its title."""
    spellings = {spelling: detail for detail, names in _COLUMNS.items() for spelling in names}
    columns: dict[str, int] = {}
    for index, title in enumerate(titles):
        simple = re.sub(r"[^a-z0-9]", "", title.casefold())
        detail = spellings.get(simple)
        if detail is None:
            if similar := get_close_matches(simple, spellings, n=1, cutoff=0.85):
                raise ArgumentError(
                    f"{name}: the column {title!r} is not known. Did you mean {similar[0]!r}?"
                )
            continue
        if detail in columns:
            raise ArgumentError(
                f"{name}: the columns {titles[columns[detail]]!r} and {title!r} mean the same. Remove one."
            )
        columns[detail] = index
    if _FILE not in columns:
        raise ArgumentError(
            f"{name}: no column is called 'file', found {', '.join(map(repr, titles)) or 'nothing'}. "
            "Name the column of photo files 'file'."
        )
    return columns


def _entry(
    cells: list[str], columns: Mapping[str, int], titles: list[str], folder: Path
) -> tuple[Path, PhotoDetails]:
    if len(cells) > len(titles):
        raise ArgumentError(
            f"it has {len(cells)} cells, expected at most {len(titles)} as in the first line."
        )
    values: dict[str, Any] = {}
    for detail, index in columns.items():
        cell = cells[index] if index < len(cells) else ""
        if cell and detail != _FILE:
            values[detail] = _value(detail, cell, titles[index])
    photo = cells[columns[_FILE]] if columns[_FILE] < len(cells) else ""
    if not photo:
        raise ArgumentError(f"the column {titles[columns[_FILE]]!r} is empty, expected a photo's file name.")
    return folder / photo, PhotoDetails(**values)


def _value(detail: str, cell: str, title: str) -> Any:
    convert, expected = _CONVERTERS.get(detail, (str, "text"))
    try:
        return convert(cell)
    except (KeyError, ValueError) as error:
        shown = "not understood" if detail in _SECRET else repr(cell)
        raise ArgumentError(f"{title} is {shown}, expected {expected}.") from error


def _moment(cell: str) -> datetime:
    text = re.sub(r"[\sT]+", " ", cell)
    for day in _DAYS:
        for time in _TIMES:
            try:
                return datetime.strptime(text, day + time)
            except ValueError:  # noqa: PERF203  # strptime has no other way to say no
                continue
    raise ValueError(cell)


def _day(cell: str) -> date:
    return _moment(cell).date()


_CONVERTERS: Final[Mapping[str, tuple[Callable[[str], Any], str]]] = MappingProxyType(
    {
        "birth_date": (_day, "a day like 1960-01-31 or 31.01.1960"),
        "acquired": (_moment, "a day like 2024-01-31, perhaps with a time like 14:30"),
        "sex": (lambda cell: _SEXES[cell.casefold()], "M, F or O"),
        "laterality": (lambda cell: _SIDES[cell.casefold()], "left, right, both or unpaired"),
        "pixel_spacing_mm": (lambda cell: float(cell.replace(",", ".")), "millimetres like 0.02"),
        "dermoscopic": (lambda cell: _YES_NO[cell.casefold()], "yes or no"),
    }
)
