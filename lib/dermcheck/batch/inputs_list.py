"""A list of photographs as a table (CSV): paths in a column ``path``, ``image`` or ``file``, or in the first.

Paths are relative to the table's own folder. Rows keep their order. Columns may be parted by commas,
semicolons or tabs, as spreadsheets write them.
"""

from __future__ import annotations

import csv
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dermcheck.batch.discovery import Finding, InputFile, Unopened
from dermcheck.dicom.files import file_name
from dermcheck.errors import ArgumentError, StorageError

__all__ = ["find_in_list", "listed_file", "row_place"]

_COLUMNS: Final = ("path", "image", "file")
_FIRST_LINES_CHARACTERS: Final = 4096


def find_in_list(table: Path) -> Iterator[Finding]:
    """Go through the files that a table lists, in its order; a missing one is told with its row.

    Raises
    ------
    ArgumentError
        If the table is not UTF-8 text.
    StorageError
        If it cannot be read.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            start = file.read(_FIRST_LINES_CHARACTERS)
            file.seek(0)
            rows = csv.reader(file, delimiter=_delimiter(start))
            column = 0
            for number, row in enumerate(rows, start=1):
                if number == 1 and (found := _header_column(row, table.parent)) is not None:
                    column = found
                elif any(cell.strip() for cell in row):
                    text = row[column].strip() if column < len(row) else ""
                    yield listed_file(table.parent, Path(text), number, f"row {number} of {table.name}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise ArgumentError(
            f"{file_name(table)}: this list is not a table in UTF-8 ({error}). Save it as CSV UTF-8."
        ) from error
    except OSError as error:
        raise StorageError(
            f"{file_name(table)}: this list cannot be read ({error.strerror or error}). Check its "
            "permissions."
        ) from error


def listed_file(folder: Path, relative: Path, number: int, listed_in: str) -> Finding:
    """Look at one file that is listed somewhere.

    Parameters
    ----------
    folder
        To which `relative` is relative.
    number
        Its place in the list.
    listed_in
        The list and the place in it, for messages.
    """
    place = row_place(number)
    try:
        status = (folder / relative).stat()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        return Unopened(
            relative,
            f"{file_name(relative)}: this file cannot be opened ({why}). It is listed in {listed_in}; check "
            "the path, which counts from the list's own folder.",
            place,
        )
    if not stat.S_ISREG(status.st_mode):
        return Unopened(
            relative,
            f"{file_name(relative)}: this is no file, but listed as one in {listed_in}. List the "
            "files in it.",
            place,
        )
    return InputFile(folder / relative, relative, status.st_size, status.st_mtime_ns, place)


def row_place(number: int) -> bytes:
    """Return a sort key that keeps rows in order."""
    return number.to_bytes(8, "big")


def _delimiter(start: str) -> str:
    line = start.partition("\n")[0]
    return max(",;\t", key=line.count)


def _header_column(row: list[str], folder: Path) -> int | None:
    """Return the column of the paths if a table's first row is a header, else None."""
    names = [cell.strip().casefold() for cell in row]
    for wanted in _COLUMNS:
        if wanted in names:
            return names.index(wanted)
    first = row[0].strip() if row else ""
    return None if not first or Path(first).suffix or (folder / first).exists() else 0
