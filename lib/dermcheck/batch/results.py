"""Writes the results of a batch: tables, masks and DICOM objects, each completely or not at all."""

from __future__ import annotations

import csv
import io
import itertools
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from dermcheck.batch.durability import saving, write_through
from dermcheck.batch.encoding import ResultKind
from dermcheck.batch.journal import Journal
from dermcheck.batch.names import result_path
from dermcheck.batch.outcomes import Failure, Prediction
from dermcheck.batch.report import (
    REPORT_NAMES,
    ReportFormat,
    report_details,
    write_json_lines,
    write_parquet,
)
from dermcheck.inference.report import LesionReport
from dermcheck.lesions import LESION_CLASSES

if TYPE_CHECKING:
    from dermcheck.batch.sources import SourceImage

__all__ = [
    "CAUTIONS_NAME",
    "FAILURES_NAME",
    "ISIC_COLUMNS",
    "OWN_FOLDERS",
    "PREDICTIONS_NAME",
    "ResultFolder",
    "prediction",
    "remarks",
]

PREDICTIONS_NAME: Final = "predictions.csv"
FAILURES_NAME: Final = "failures.csv"
CAUTIONS_NAME: Final = "cautions.csv"
ISIC_COLUMNS: Final = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
"""Columns of the ISIC 2018 Task 3 submission format. Their order is not that of `lesions.CLASSES`."""

_REMARKS: Final = (
    "decision",
    "confidence",
    "not_sure",
    "possible_classes",
    "melanoma_not_excluded",
    "lesion_photograph_score",
    "is_lesion_photograph",
)
"""Columns of `cautions.csv` after the image; see `inference.rules`."""
_CLASS_OF_COLUMN: Final = {lesion.isic: lesion.name for lesion in LESION_CLASSES}
_MASKS_FOLDER: Final = "masks"
_DICOM_FOLDER: Final = "dicom"
_PARTIAL_FOLDER: Final = ".partial"
"""Holds what is being written; in the output folder, so that a rename within one disk completes it."""
_ENDINGS: Final[Mapping[ResultKind, str]] = {
    "mask": "_segmentation.png",
    "photo": ".photo.dcm",
    "seg": ".seg.dcm",
    "sr": ".sr.dcm",
}
OWN_FOLDERS: Final = (_MASKS_FOLDER, _DICOM_FOLDER, _PARTIAL_FOLDER)
"""Folders inside the output folder that a batch fills."""


class ResultFolder:
    """The output folder and the kinds of results that are wanted in it.

    Parameters
    ----------
    path
        The output folder; made if it does not exist.
    masks
        Write ``masks/<image>_segmentation.png`` (ISIC 2018 Task 1 format).
    dicom
        Write ``dicom/<image>.seg.dcm`` and ``dicom/<image>.sr.dcm``; for a photo that is not DICOM also
        ``dicom/<image>.photo.dcm``, the instance to which these two refer.

    Raises
    ------
    StorageError
        From every method that writes, if the disk is full or forbids it. A result is then either whole
        or not there.
    """

    def __init__(self, path: Path, *, masks: bool, dicom: bool) -> None:
        self.path = path
        self._masks = masks
        self._dicom = dicom
        self._numbers = itertools.count()
        with saving(path):
            path.mkdir(parents=True, exist_ok=True)
            # In a new folder nothing can be outdated: no image's files are looked for there.
            self._used = {name for name in (_MASKS_FOLDER, _DICOM_FOLDER) if (path / name).exists()}

    def clear_partial(self) -> None:
        """Remove what a killed batch was writing. Only for the one batch that holds the journal."""
        partial = self.path / _PARTIAL_FOLDER
        with saving(partial):
            if partial.exists():
                shutil.rmtree(partial)
            partial.mkdir()

    def remove_partial(self) -> None:
        """Remove the folder for partial results once all is written."""
        shutil.rmtree(self.path / _PARTIAL_FOLDER, ignore_errors=True)  # nothing depends on it

    def has_all(self, image: str) -> bool:
        """Tell whether the wanted files of an image are all there."""
        wanted: list[ResultKind] = ["mask"] if self._masks else []
        if self._dicom:
            wanted += ["seg", "sr"]
        return all(self.path_of(image, kind).is_file() for kind in wanted)

    def path_of(self, image: str, kind: ResultKind) -> Path:
        """Return where one of an image's files is or would be."""
        return self.path / _folder(kind) / result_path(image, _ENDINGS[kind])

    def files_of(self, image: str) -> list[Path]:
        """Return the files of an image that are there, wanted now or not."""
        return [
            path
            for kind in _ENDINGS
            if _folder(kind) in self._used and (path := self.path_of(image, kind)).is_file()
        ]

    def remove(self, files: Iterable[Path]) -> None:
        """Remove results that no prediction stands for any more."""
        for path in files:
            with saving(path):
                path.unlink(missing_ok=True)

    def store(self, image: str, files: Mapping[ResultKind, bytes]) -> list[Path]:
        """Put the files of one image into their places, and return these.

        They are complete for every reader, but not yet safe from a power cut: `Journal.record` sees to that.
        """
        stored = []
        for kind, content in files.items():
            path = self.path_of(image, kind)
            self._replace(path, lambda file, content=content: file.write(content))  # type: ignore[misc]
            stored.append(path)
        return stored

    def write_all(self, journal: Journal, formats: Iterable[ReportFormat] = ()) -> None:
        """Write all tables and the wanted reports of what a journal holds."""
        writers = {"jsonl": write_json_lines, "parquet": write_parquet}
        for wanted in formats:
            predicted = ((path, found) for path, found in journal.results() if isinstance(found, Prediction))
            name = REPORT_NAMES[wanted]
            self._replace(self.path / name, lambda file: writers[wanted](file, predicted))  # noqa: B023
            write_through([self.path / name], self.path)
        self.write_tables(journal.predictions, journal.failures())

    def write_tables(
        self, predictions: Callable[[], Iterable[Prediction]], failures: Iterable[Failure]
    ) -> None:
        """Write the tables. `predictions.csv` comes last, so that its arrival means all is there."""
        self._write_table(FAILURES_NAME, ("image", "reason"), ((row.image, row.reason) for row in failures))
        self._write_table(CAUTIONS_NAME, ("image", *_REMARKS), map(_caution_row, predictions()))
        self._write_table(PREDICTIONS_NAME, ("image", *ISIC_COLUMNS), map(_isic_row, predictions()))

    def _write_table(self, name: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        def write(file: BinaryIO) -> None:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
            text.flush()
            text.detach()

        self._replace(self.path / name, write)
        write_through([self.path / name], self.path)

    def _replace(self, target: Path, write: Callable[[BinaryIO], object]) -> None:
        """Write a file beside its place and move it there once it is complete."""
        partial = self.path / _PARTIAL_FOLDER / f"result-{next(self._numbers)}"
        with saving(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                write(file)
            partial.replace(target)


def _folder(kind: ResultKind) -> str:
    return _MASKS_FOLDER if kind == "mask" else _DICOM_FOLDER


def prediction(image: str, report: LesionReport, source: SourceImage) -> Prediction:
    """Make the journal's row of one photograph. Only the row's own name depends on `image`."""
    return Prediction(
        image,
        report.probabilities,
        remarks(report),
        report_details(report, source),
        f"{report.classifier.model_hash} {report.outliner.model_hash}",
    )


def remarks(report: LesionReport) -> dict[str, str]:
    """Say how far an answer may be relied on, as a row of `cautions.csv`; empty where no rule is."""
    told = report.caution
    possible = told.possible_classes or ()
    words = (
        report.decision.name,
        _number(told.confidence),
        _yes_or_no(told.not_sure),
        " ".join(lesion.name for lesion in possible),
        _yes_or_no(told.melanoma_not_excluded),
        _number(told.lesion_photograph_score),
        _yes_or_no(told.is_lesion_photograph),
    )
    return dict(zip(_REMARKS, words, strict=True))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _yes_or_no(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"


def _caution_row(prediction: Prediction) -> list[str]:
    return [prediction.image, *(prediction.remarks.get(name, "") for name in _REMARKS)]


def _isic_row(prediction: Prediction) -> list[str]:
    """One row; six decimals are more than a calibration can know, and keep tables comparable."""
    values = (prediction.probabilities[_CLASS_OF_COLUMN[column]] for column in ISIC_COLUMNS)
    return [prediction.image, *(f"{value:.6f}" for value in values)]
