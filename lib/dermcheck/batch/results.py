"""Writes the results of a batch: tables, masks and DICOM objects, each completely or not at all."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from PIL import Image
from pydicom import Dataset

from dermcheck.batch.journal import Failure, Prediction
from dermcheck.batch.names import result_path
from dermcheck.batch.sources import SourceImage
from dermcheck.dicom.files import file_name
from dermcheck.dicom.header import read_header
from dermcheck.dicom.report import DiagnosisFinding, write_report
from dermcheck.dicom.segmentation import LesionMask, LesionSegment, write_segmentation
from dermcheck.errors import StorageError
from dermcheck.inference.report import LesionReport
from dermcheck.lesions import LESION_CLASSES

__all__ = [
    "CAUTIONS_NAME",
    "FAILURES_NAME",
    "ISIC_COLUMNS",
    "OWN_FOLDERS",
    "PREDICTIONS_NAME",
    "ResultFolder",
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
        with _saving(path):
            path.mkdir(parents=True, exist_ok=True)

    def clear_partial(self) -> None:
        """Remove what a killed batch was writing. Only for the one batch that holds the journal."""
        partial = self.path / _PARTIAL_FOLDER
        with _saving(partial):
            if partial.exists():
                shutil.rmtree(partial)
            partial.mkdir()

    def remove_partial(self) -> None:
        """Remove the folder for partial results once all is written."""
        shutil.rmtree(self.path / _PARTIAL_FOLDER, ignore_errors=True)  # nothing depends on it

    def has_all(self, image: str) -> bool:
        """Tell whether the wanted files of an image are all there."""
        wanted = [self._mask_path(image)] if self._masks else []
        if self._dicom:
            wanted += [self._dicom_path(image, "seg"), self._dicom_path(image, "sr")]
        return all(path.is_file() for path in wanted)

    def write(self, image: str, source: SourceImage, report: LesionReport) -> None:
        """Write the wanted files of one image."""
        if self._masks:
            self._replace(self._mask_path(image), lambda file: _write_png(file, report.mask))
        if self._dicom:
            if source.dataset is None:
                raise ValueError("DICOM results need the data set of the photograph")
            if source.wrapped:
                self._write_dicom(image, "photo", source.dataset)
            segmentation = _segmentation(source.dataset, report)
            self._write_dicom(image, "seg", segmentation)
            self._write_dicom(image, "sr", _structured_report(source.dataset, report, segmentation))

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

    def _write_dicom(self, image: str, kind: str, dataset: Dataset) -> None:
        buffer = io.BytesIO()  # encoded first: pydicom hides the disk's errors in texts of its own
        dataset.save_as(buffer, enforce_file_format=True)
        self._replace(self._dicom_path(image, kind), lambda file: file.write(buffer.getbuffer()))

    def _mask_path(self, image: str) -> Path:
        return self.path / _MASKS_FOLDER / result_path(image, "_segmentation.png")

    def _dicom_path(self, image: str, kind: str) -> Path:
        return self.path / _DICOM_FOLDER / result_path(image, f".{kind}.dcm")

    def _replace(self, target: Path, write: Callable[[BinaryIO], object]) -> None:
        """Write a file beside its place and move it there once it is on the disk."""
        partial = self.path / _PARTIAL_FOLDER / "current"
        with _saving(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)


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


def _write_png(file: BinaryIO, mask: LesionMask) -> None:
    Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).save(file, format="PNG")


def _segmentation(photograph: Dataset, report: LesionReport) -> Dataset:
    header = read_header(photograph)
    segment = LesionSegment(
        report.mask, report.decision, tracking_id=header.tracking_id, tracking_uid=header.tracking_uid
    )
    return write_segmentation(photograph, [segment], report.outliner)


def _structured_report(photograph: Dataset, report: LesionReport, segmentation: Dataset) -> Dataset:
    """Report on the lesion of the segmentation: both carry the same tracking identifiers."""
    finding = DiagnosisFinding.from_mask(
        report.mask, report.probabilities, report.decision, report.uncertainty, report.classifier
    )
    lesion = segmentation.SegmentSequence[0]
    return write_report(photograph, finding, tracking_id=lesion.TrackingID, tracking_uid=lesion.TrackingUID)


@contextmanager
def _saving(path: Path) -> Iterator[None]:
    """Turn the system's refusals into a sentence."""
    try:
        yield
    except StorageError:  # an OSError too, and already a sentence
        raise
    except OSError as error:
        raise StorageError(
            f"{file_name(path)}: this result cannot be saved ({error.strerror or error}). Make room or "
            "give write permission, then run the same command again: it goes on where it stopped."
        ) from error
