"""A list of photographs as a table (CSV): paths in a column ``path``, ``image`` or ``file``, or in the first.

Paths are relative to the table's own folder. Rows keep their order. Columns may be parted by commas,
semicolons or tabs, and folders by backslashes, as spreadsheets and Windows write them.
"""

from __future__ import annotations

import codecs
import csv
import os
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
        If the table is neither UTF-8 nor UTF-16 with its mark.
    StorageError
        If it cannot be read.
    """
    number = 0
    try:
        with table.open(encoding=_encoding(table), newline="") as file:
            start = file.read(_FIRST_LINES_CHARACTERS)
            file.seek(0)
            rows = csv.reader(file, delimiter=_delimiter(start))
            column = 0
            for number, row in enumerate(rows, start=1):
                if number == 1 and (found := _header_column(row, table.parent)) is not None:
                    column = found
                elif any(cell.strip() for cell in row):
                    text = row[column].strip() if column < len(row) else ""
                    yield _listed_row(table, text, number)
    except (UnicodeError, csv.Error) as error:
        raise _not_a_table(table, number) from error
    except OSError as error:
        raise StorageError(
            f"{file_name(table)}: this list cannot be read ({error.strerror or error}). Check its "
            "permissions."
        ) from error


def _encoding(table: Path) -> str:
    with table.open("rb") as file:
        start = file.read(2)
    return "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _not_a_table(table: Path, number: int) -> ArgumentError:
    """Say where a table is no text. What is read ahead hides the row, so it is looked for again."""
    lines = table.read_bytes().splitlines()
    bad = (row for row, line in enumerate(lines, start=1) if not _is_utf_8(line))
    return ArgumentError(
        f"{file_name(table)}: row {next(bad, number + 1)} of this list is not in UTF-8, or no row of a "
        "table. Save it as CSV UTF-8."
    )


def _is_utf_8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _listed_row(table: Path, text: str, number: int) -> Finding:
    if not text:
        place = f"{table.name}, row {number}"
        reason = f"{place}: there is no path in this row. Add it, or delete the row."
        return Unopened(Path(place), reason, row_place(number))
    relative = _as_on_disk(table.parent, text.replace("\0", "\N{REPLACEMENT CHARACTER}"))
    return listed_file(table.parent, relative, number, f"row {number} of {table.name}")


def _as_on_disk(folder: Path, text: str) -> Path:
    """Read a path that Windows wrote, unless there is a file of just this name."""
    with_slashes = Path(text.replace("\\", "/"))
    return Path(text) if _exists(folder / text) else with_slashes


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
    except OSError as error:
        why = error.strerror or error
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
    return None if not first or Path(first).suffix or _exists(folder / first) else 0


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 (`Path.exists` raises for a name that is too long)
