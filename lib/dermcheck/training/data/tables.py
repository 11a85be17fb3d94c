"""What the tables of a data set say of its photographs: one row a photograph, in any of the known forms."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

from dermcheck.lesions import CLASSES, LESION_CLASSES, lesion_class
from dermcheck.training.data.data_set import DataError

__all__ = ["TABLE_SUFFIXES", "Facts", "read_tables"]

TABLE_SUFFIXES: Final = (".csv", ".tab", ".tsv")

_FOLDS: Final = range(-1, 10)
_ID_COLUMNS: Final = ("image_id", "image", "isic_id")
_COLUMNS: Final = {
    "diagnosis": ("dx", "diagnosis"),
    "fold": ("fold",),
    "lesion_id": ("lesion_id",),
    "patient_id": ("patient_id",),
    "age": ("age", "age_approx"),
    "sex": ("sex",),
    "site": ("localization", "anatom_site_general"),
    "device": ("device",),
}
"""Field of `Facts` -> the names that its column may have."""
_UNKNOWN: Final = frozenset({"", "na", "nan", "none", "null", "unknown"})
_CLASS_COLUMNS: Final = frozenset(lesion.isic for lesion in LESION_CLASSES)
_OTHER_CLASS_COLUMNS: Final = frozenset({"AK", "SCC", "UNK"})
"""Of ISIC 2019, which has no AKIEC."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one photograph; the fields are those of `LabelledPhotograph`."""

    diagnosis: int | None = None
    fold: int | None = None
    lesion_id: str | None = None
    patient_id: str | None = None
    age: float | None = None
    sex: str | None = None
    site: str | None = None
    device: str | None = None


def read_tables(paths: Iterable[Path]) -> dict[str, Facts]:
    """Gather by photograph what all tables say; tables without a column of photographs are passed over.

    Raises
    ------
    DataError
        If a table cannot be read, holds an unknown class, a fold out of range or a diagnosis that is not one
        class, or says something else of a photograph than another line.
    """
    gathered: dict[str, Facts] = {}
    for path in paths:
        for line, image_id, facts in _read(path):
            known = gathered.setdefault(image_id, facts)
            if known is not facts:
                gathered[image_id] = _merged(known, facts, f"{path}, line {line}: photograph {image_id}")
    return gathered


def _merged(known: Facts, more: Facts, where: str) -> Facts:
    for column in fields(Facts):
        old, new = getattr(known, column.name), getattr(more, column.name)
        if new is None or new == old:
            continue
        if old is not None:
            old, new = (CLASSES[v] if column.name == "diagnosis" else v for v in (old, new))
            raise DataError(
                f"{where} has the {column.name} {new}, but {old} in a line before. Correct the one that is "
                "wrong."
            )
        known = replace(known, **{column.name: new})
    return known


def _read(path: Path) -> Iterator[tuple[int, str, Facts]]:
    """Yield line number, photograph and facts of each row."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            delimiter = "\t" if "\t" in file.readline() else ","
            file.seek(0)
            rows = csv.DictReader(file, delimiter=delimiter, strict=True)
            columns = [column.strip() for column in rows.fieldnames or []]
            key = next((name for name in _ID_COLUMNS if name in columns), None)
            if key is None:
                return
            rows.fieldnames = columns
            classes = _class_columns(columns, path)
            for row in rows:
                where = f"{path}, line {rows.line_num}"
                cells = {column: (value or "").strip() for column, value in row.items() if column is not None}
                if not cells[key]:
                    raise DataError(f"{where}: the {key} is empty, expected the name of a photograph.")
                yield rows.line_num, _stem(cells[key]), _facts(cells, classes, where)
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path}: the table cannot be read ({reason}). Expected CSV in UTF-8; save it again."
        ) from error


def _stem(name: str) -> str:
    """Drop a picture's extension.

    >>> _stem("ISIC_0024306.jpg")
    'ISIC_0024306'
    """
    return Path(name).stem if name.casefold().endswith((".jpg", ".jpeg", ".png", ".tif", ".tiff")) else name


def _class_columns(columns: list[str], path: Path) -> list[str]:
    """Find the columns of a table with one column a class; none in other tables."""
    present = _CLASS_COLUMNS & set(columns)
    if not present:
        return []
    if unknown := [column for column in columns if column in _OTHER_CLASS_COLUMNS]:
        raise DataError(
            f"{path}: it has the classes {', '.join(unknown)}, which DermCheck does not know; expected "
            f"{', '.join(lesion.isic for lesion in LESION_CLASSES)}. Leave out the photographs of other "
            "classes."
        )
    return sorted(present)


def _facts(cells: dict[str, str], classes: list[str], where: str) -> Facts:
    found = {name: _cell(cells, columns) for name, columns in _COLUMNS.items()}
    sex = (found["sex"] or "").casefold()
    return Facts(
        diagnosis=_one_hot(cells, classes, where) if classes else _diagnosis(found["diagnosis"], where),
        fold=_fold(found["fold"], where),
        lesion_id=found["lesion_id"],
        patient_id=found["patient_id"],
        age=_age(found["age"], where),
        sex={"m": "male", "f": "female"}.get(sex, sex) or None,
        site=found["site"],
        device=found["device"],
    )


def _cell(cells: dict[str, str], columns: tuple[str, ...]) -> str | None:
    values = (cells.get(column, "") for column in columns)
    return next((value for value in values if value.casefold() not in _UNKNOWN), None)


def _diagnosis(name: str | None, where: str) -> int | None:
    if name is None:
        return None
    try:
        return lesion_class(name).index
    except KeyError as error:
        raise DataError(
            f"{where}: {error.args[0]}. Leave the diagnosis empty or the line out if it is another one."
        ) from error


def _one_hot(cells: dict[str, str], classes: list[str], where: str) -> int:
    try:
        values = {column: float(cells[column]) for column in classes}
    except ValueError:
        values = {}
    chosen = [column for column, value in values.items() if value == 1]
    if len(chosen) != 1 or any(value not in (0, 1) for value in values.values()):
        found = ", ".join(cells[column] or "nothing" for column in classes)
        raise DataError(
            f"{where}: the columns of the classes hold {found}, expected a single 1 and else 0. "
            "Probabilities are no diagnoses: take a table of predictions out of the folder."
        )
    return lesion_class(chosen[0]).index


def _fold(text: str | None, where: str) -> int | None:
    if text is None:
        return None
    try:
        fold = int(float(text))
    except (ValueError, OverflowError):
        fold = _FOLDS.start - 1
    if fold not in _FOLDS or fold != float(text):
        raise DataError(
            f"{where}: the fold is {text}, expected 0 to 7 (fit), 8 (select), 9 (report) or -1 (left out)."
        )
    return fold


def _age(text: str | None, where: str) -> float | None:
    if text is None:
        return None
    try:
        age = float(text)
    except ValueError:
        age = math.nan
    if not 0 <= age <= 130:
        raise DataError(f"{where}: the age is {text}, expected years. Leave it empty if it is not known.")
    return age
