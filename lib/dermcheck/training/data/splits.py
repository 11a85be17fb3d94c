"""Which photographs fit, select and report: no patient, lesion or picture is ever on two sides.

Folds 0 to 7 fit the weights, 8 selects and calibrates, 9 reports and decides at the gate: three *sides*.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dermcheck.errors import StorageError
from dermcheck.files import replace_file
from dermcheck.lesions import CLASSES
from dermcheck.training.data.data_set import DataError, DataSet, LabelledPhotograph
from dermcheck.training.data.wording import counted

if TYPE_CHECKING:
    from dermcheck.networks.cards import Task
    from dermcheck.training.data.picture_cache import Photographs

__all__ = [
    "FIT",
    "FOLDS",
    "LEFT_OUT",
    "REPORT",
    "SELECT",
    "assign_folds",
    "check_folds",
    "stable_fold",
    "write_split",
]

FOLDS: Final = 10
FIT: Final = range(8)
SELECT: Final = range(8, 9)
REPORT: Final = range(9, 10)
LEFT_OUT: Final = -1
"""The fold of a photograph that may be on no side."""

_SIDES: Final = ("folds 0 to 7 (fit)", "fold 8 (select)", "fold 9 (report)")
_COLUMNS: Final = ("image_id", "source", "group", "dx", "fold", "content")


def stable_fold(group: str) -> int:
    """Return the fold of a patient or lesion; it depends on nothing else, so new data never move old ones.

    >>> stable_fold("lesion:ham10000/HAM_0000118")
    7
    """
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") % FOLDS


def assign_folds(data_set: DataSet) -> DataSet:
    """Give each photograph its fold, and leave out what would be on two sides.

    - A given fold is honoured. Without one, a photograph follows its group's given fold, else `stable_fold`.
    - The same group (patient or lesion), ISIC image or pixels on several sides: those with a given fold stay,
      of these the side nearest to fitting (what was fitted can never report again); the others become
      `LEFT_OUT`. Each is reported in `DataSet.problems`.

    Idempotent. Photographs of several data sets are only kept apart if these were joined before.
    """
    photographs = data_set.photographs
    of_group = _given_folds(photographs)
    folds = [
        p.fold if p.fold is not None else of_group.get(p.group, stable_fold(p.group)) for p in photographs
    ]
    reasons = _crossings(photographs, folds)
    assigned = tuple(
        replace(p, fold=LEFT_OUT if i in reasons else fold)
        for i, (p, fold) in enumerate(zip(photographs, folds, strict=True))
    )
    return replace(data_set, photographs=assigned, problems=data_set.problems + _sentences(assigned, reasons))


def _side(fold: int) -> int:
    """Return 0 for fit, 1 for select, 2 for report."""
    return max(0, fold - FIT[-1])


def _given_folds(photographs: Iterable[LabelledPhotograph]) -> dict[str, int]:
    """Map each group to the lowest fold given to one of its photographs."""
    given: dict[str, int] = {}
    for photograph in photographs:
        if photograph.fold is not None and photograph.fold != LEFT_OUT:
            given[photograph.group] = min(photograph.fold, given.get(photograph.group, FOLDS))
    return given


def _identities(photograph: LabelledPhotograph) -> list[tuple[str, str]]:
    """Return what must stay on one side, with the words for it."""
    kind = photograph.group.partition(":")[0]
    found = [(f"is the same {kind}", photograph.group)]
    if photograph.patient_id and photograph.lesion_id:
        found.append(("is the same lesion", f"lesion:{photograph.source}/{photograph.lesion_id}"))
    if photograph.image_id.startswith("ISIC_"):  # one picture in whatever data set, size and file format
        found.append(("is the same ISIC image", f"isic:{photograph.image_id}"))
    if photograph.content:
        found.append(("are the same pixels", f"content:{photograph.content}"))
    return found


def _crossings(photographs: tuple[LabelledPhotograph, ...], folds: list[int]) -> dict[int, tuple[str, int]]:
    """Map each photograph to be left out to the reason and the side that keeps the others."""
    holders: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, photograph in enumerate(photographs):
        if folds[i] != LEFT_OUT:
            for identity in _identities(photograph):
                holders[identity].append(i)
    reasons: dict[int, tuple[str, int]] = {}
    for (words, _), members in holders.items():
        given = [i for i in members if photographs[i].fold is not None]
        kept = min(_side(folds[i]) for i in given or members)
        for i in members:
            if _side(folds[i]) != kept:
                reasons.setdefault(i, (words, kept))
    return reasons


def _sentences(
    photographs: tuple[LabelledPhotograph, ...], reasons: dict[int, tuple[str, int]]
) -> tuple[str, ...]:
    grouped: dict[tuple[str, int], list[str]] = defaultdict(list)
    for i, reason in reasons.items():
        grouped[reason].append(photographs[i].image_id)
    return tuple(
        counted(f"Left out, as there {words} in {_SIDES[kept]} too", names)
        for (words, kept), names in grouped.items()
    )


def check_folds(photographs: Photographs, task: Task) -> list[str]:
    """Say in sentences what the folds lack for training and judging a model; none if all is there.

    Raises
    ------
    DataError
        If nothing can be fitted, or nothing is left to select by: e.g. a single correction.
    """
    teaches = photographs.diagnosis >= 0 if task == "classification" else photographs.has_mask
    what = "a diagnosis" if task == "classification" else "a mask"
    for folds, words in ((FIT, _SIDES[0]), (SELECT, _SIDES[1])):
        if not teaches[photographs.rows(folds)].any():
            raise DataError(
                f"Photographs with {what}: {int(teaches.sum())}, and none of them is in {words}. Training "
                "needs some to fit and others to select by: label more lesions of more patients, or add "
                "reference data."
            )
    problems = []
    if not teaches[photographs.rows(REPORT)].any():
        problems.append(f"No photograph of {_SIDES[2]} has {what}: the model's accuracy cannot be reported.")
    return problems + (_missing_classes(photographs) if task == "classification" else [])


def _missing_classes(photographs: Photographs) -> list[str]:
    problems = []
    consequences = (
        "the model cannot learn it",
        "the probabilities cannot be calibrated for it",
        "no figure of it",
    )
    for folds, words, consequence in zip((FIT, SELECT, REPORT), _SIDES, consequences, strict=True):
        diagnosis = photographs.diagnosis[photographs.rows(folds)]
        missing = [name for i, name in enumerate(CLASSES) if not (diagnosis == i).any()]
        if (diagnosis >= 0).any() and missing:
            problems.append(f"No photograph of {', '.join(missing)} is in {words}: {consequence}.")
    return problems


def write_split(photographs: Photographs, path: Path) -> None:
    """Write which photograph is in which fold, as CSV: complete or not at all.

    Columns: image_id, source, group, dx (empty if unknown), fold (-1: left out), content.

    Raises
    ------
    StorageError
        If the disk refuses.
    """
    names = [CLASSES[i] if i >= 0 else "" for i in photographs.diagnosis]
    columns = (
        photographs.image_id,
        photographs.source,
        photographs.group,
        names,
        photographs.fold,
        photographs.content,
    )
    content = io.StringIO(newline="")
    writer = csv.writer(content)
    writer.writerow(_COLUMNS)
    writer.writerows(zip(*columns, strict=True))
    try:
        replace_file(path, content.getvalue())
    except OSError as error:
        raise StorageError(
            f"{path}: the split cannot be written ({error.strerror}). Free some space or name another folder."
        ) from error
