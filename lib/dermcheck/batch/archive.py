"""Predicts a whole folder in one pass that may be interrupted at any time and run again."""

from __future__ import annotations

import hashlib
import os
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from dermcheck.batch.discovery import InputFile, Skipped, Unopened, walk
from dermcheck.batch.journal import Failure, Journal, Prediction
from dermcheck.batch.names import JOURNAL_NAME, photo_names
from dermcheck.batch.results import (
    CAUTIONS_NAME,
    FAILURES_NAME,
    OWN_FOLDERS,
    PREDICTIONS_NAME,
    ResultFolder,
    remarks,
)
from dermcheck.batch.sources import FileKind, SourceImage, file_kind, open_dicom, open_photo, skipped_class
from dermcheck.dicom.files import file_name
from dermcheck.dicom.photograph import read_dataset
from dermcheck.errors import ArgumentError, DermCheckError, NotFoundError, StorageError, UnreadableImageError
from dermcheck.inference.predictor import Predictor
from dermcheck.inference.priors import PRIOR_VARIABLE, clinic_prior
from dermcheck.networks.checkpoint import REFERENCE_MODELS
from dermcheck.registry.registry import Registry
from dermcheck.registry.versions import ModelVersion, folder_version

__all__ = ["BatchSettings", "Tally", "run_batch"]


@dataclass(frozen=True)
class BatchSettings:
    """What one batch is to do."""

    source: Path
    """A folder of DICOM files and photos, or one file."""
    output: Path
    """Folder for the results; made if it does not exist."""
    models: Path | Registry = REFERENCE_MODELS
    """Folder with `classifier` and `outliner`, or the registry whose versions in use predict."""
    masks: bool = False
    """Also write masks as PNG."""
    dicom: bool = False
    """Also write a SEG and an SR per image."""


@dataclass
class Tally:
    """How far a batch has come."""

    found: int = 0
    """All that the input holds: files of every kind, and folders that are passed over or stay closed."""
    predicted: int = 0
    """Photographs predicted in this run."""
    already: int = 0
    """Photographs predicted by an earlier run."""
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """What is passed over without being a failure, counted by reason."""


OnProgress: TypeAlias = Callable[[Tally], object]


def run_batch(settings: BatchSettings, on_progress: OnProgress = lambda tally: None) -> Tally:
    """Predict every photograph of a folder that has no prediction yet, and write the tables.

    Photographs are taken one at a time in the order of `discovery.walk`, so memory holds one of them.
    Files that cannot be read become rows of `failures.csv`, and the batch goes on. The tables appear
    when all files have been tried; until then, and if the batch is stopped or killed, what was done is
    kept in a journal, and the same call goes on from there. On one computer the tables are the
    same to the byte, interrupted or not.

    Parameters
    ----------
    on_progress
        Called before the first file and after each with the tally, which goes on changing.

    Raises
    ------
    ArgumentError
        If the input does not exist, or the output folder belongs to another batch.
    NotFoundError
        If the input holds no file at all, or is one file that is no photograph.
    ModelError
        If the models are missing or damaged.
    StorageError
        If results cannot be written. What was done before is kept.
    """
    source, output = _check_folders(settings.source, settings.output)
    models = _Models.chosen_by(settings)
    bound_to = {
        "INPUT": file_name(source),
        "classifier": _model_name(models.classifier),
        "outliner": _model_name(models.outliner),
        PRIOR_VARIABLE: _prior_in_words(),
    }
    tally = Tally(found=_count(source, output))
    results = ResultFolder(output, masks=settings.masks, dicom=settings.dicom)
    with Journal(output, bound_to) as journal:
        results.clear_partial()
        journal.forget_gone(source if source.is_dir() else source.parent)
        batch = _Batch(settings, models, results, journal, tally)
        on_progress(tally)
        for found in walk(source, output):
            batch.take(found)
            on_progress(tally)
        if source.is_file() and tally.skipped:
            raise NotFoundError(f"{file_name(source)}: this is no photograph ({next(iter(tally.skipped))}).")
        results.write_tables(journal.predictions, journal.failures())
        results.remove_partial()
    return tally


@dataclass(frozen=True)
class _Models:
    """The versions that predict, chosen once: what comes into use meanwhile is for other batches."""

    classifier: ModelVersion
    outliner: ModelVersion

    @classmethod
    def chosen_by(cls, settings: BatchSettings) -> _Models:
        models = settings.models
        if isinstance(models, Registry):
            return cls(models.in_use("classification"), models.in_use("segmentation"))
        return cls(folder_version(models, "classification"), folder_version(models, "segmentation"))

    def load(self) -> Predictor:
        return Predictor(self.classifier.load(), self.outliner.load(), natural_prior=clinic_prior())


class _Batch:
    """One run: takes what the walk finds, one after another."""

    def __init__(
        self,
        settings: BatchSettings,
        models: _Models,
        results: ResultFolder,
        journal: Journal,
        tally: Tally,
    ) -> None:
        self._settings = settings
        self._models = models
        self._results = results
        self._journal = journal
        self._tally = tally

    @cached_property
    def _predictor(self) -> Predictor:
        """Loaded with the first photograph: a finished batch run again needs none."""
        return self._models.load()

    def take(self, found: InputFile | Unopened | Skipped) -> None:
        """Predict, fail or skip; raises only what must end the batch."""
        if isinstance(found, Unopened):
            self._fail(found.relative, Failure(file_name(found.relative), found.reason))
        elif isinstance(found, Skipped):
            self._tally.skipped[found.reason] += 1
        elif self._is_done(found):
            self._tally.already += 1
        else:
            self._take_file(found)

    def _is_done(self, file: InputFile) -> bool:
        earlier = self._journal.prediction(file)
        return earlier is not None and self._results.has_all(earlier.image)

    def _take_file(self, file: InputFile) -> None:
        opened = self._open(file)
        if isinstance(opened, Skipped):
            self._tally.skipped[opened.reason] += 1
            return
        outcome = self._predict(file, *opened) if isinstance(opened, tuple) else opened
        if isinstance(outcome, Failure):
            self._fail(file.relative, outcome)
            return
        self._journal.record(file, outcome)
        self._tally.predicted += 1

    def _fail(self, relative: Path, failure: Failure) -> None:
        self._journal.record_failure(relative, failure)
        self._tally.failed += 1

    def _open(self, file: InputFile) -> tuple[str, SourceImage] | Failure | Skipped:
        """Read a file as what it is, under its image's name; whatever is wrong with it is a failure."""
        image = file_name(Path(file.relative.stem))
        kind = FileKind.OTHER
        try:
            kind = file_kind(file.path)
            if kind is FileKind.OTHER:
                return Skipped(file.relative, "no image file")
            if kind is FileKind.PHOTO:
                image = self._free_name(file.relative)
                return image, open_photo(file.path, as_dicom=self._settings.dicom)
            header = read_dataset(file.path, stop_before_pixels=True)
            if reason := skipped_class(header):
                return Skipped(file.relative, reason)
            image = str(header.get("SOPInstanceUID") or image)
            self._refuse_second_instance(image, file.relative)
            return image, open_dicom(file.path)
        except Exception as error:  # one file must not cost the others
            return Failure(image, _reason(file, error), keeps_name=kind is FileKind.PHOTO)

    def _predict(self, file: InputFile, image: str, source: SourceImage) -> Prediction | Failure:
        predictor = self._predictor  # outside `try`: a missing model ends the batch
        try:
            report = predictor.predict(source.pixels)
            self._results.write(image, source, report)
        except StorageError:  # and so does a full disk
            raise
        except Exception as error:
            return Failure(image, _reason(file, error))
        return Prediction(image, report.probabilities, remarks(report))

    def _free_name(self, relative: Path) -> str:
        return next(name for name in photo_names(relative) if self._journal.holder(name, relative) is None)

    def _refuse_second_instance(self, sop_instance_uid: str, relative: Path) -> None:
        other = self._journal.holder(sop_instance_uid, relative)
        if other is not None:
            raise UnreadableImageError(
                f"{file_name(relative)}: SOPInstanceUID is {sop_instance_uid}, which is already the name of "
                f"{file_name(other)}. Only that one is predicted; remove one of the two."
            )


def _check_folders(source: Path, output: Path) -> tuple[Path, Path]:
    """Find both places, links resolved, and refuse what would mix them up."""
    if not os.path.exists(source):  # noqa: PTH110 (`Path.exists` raises for a name that is too long)
        raise ArgumentError(f"{file_name(source)}: there is no such file or folder. Check the spelling.")
    source, output = Path(os.path.realpath(source)), Path(os.path.realpath(output))
    if output.exists() and not output.is_dir():
        raise ArgumentError(f"{file_name(output)}: this is a file, expected a folder for the results.")
    if source == output or any(source.is_relative_to(output / name) for name in OWN_FOLDERS):
        raise ArgumentError(
            f"{file_name(output)}: with INPUT {file_name(source)} the results would be taken for "
            "photographs. Choose another --output folder."
        )
    if not (output / JOURNAL_NAME).exists():
        for name in (PREDICTIONS_NAME, CAUTIONS_NAME, FAILURES_NAME):
            if (output / name).exists():
                raise ArgumentError(
                    f"{file_name(output / name)}: this table was not made by a batch that is recorded here "
                    f"({JOURNAL_NAME} is missing) and is not overwritten. Choose another --output folder."
                )
    return source, output


def _count(source: Path, output: Path) -> int:
    found = sum(1 for _ in walk(source, output))
    if not found:
        raise NotFoundError(f"{file_name(source)}: this folder is empty. Name a folder with photographs.")
    return found


def _prior_in_words() -> str:
    prior = clinic_prior()
    return "of the model's card" if prior is None else ", ".join(f"{share:.6g}" for share in prior)


def _model_name(version: ModelVersion) -> str:
    """Name a model so that two which could answer differently have two names."""
    card = version.read_card()
    digest = hashlib.sha256(card.to_json().encode()).hexdigest()
    return f"{card.name} {card.version} (card {digest[:12]})"


def _reason(file: InputFile, error: Exception) -> str:
    """Say in a sentence why a file failed, naming it by its path inside the input."""
    relative = file_name(file.relative)
    if isinstance(error, DermCheckError):
        sentence = str(error).replace(file_name(file.path), relative)
        return sentence if relative in sentence else f"{relative}: {sentence}"
    if isinstance(error, OSError):
        why = error.strerror or type(error).__name__
        return f"{relative}: the file cannot be read ({why}). Check its permissions and the disk."
    # The error's own words stay out: they may quote the header, with the patient's name.
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{relative}: unexpected {type(error).__name__} at {Path(place.filename).name}:{place.lineno}. "
        "The other images are not affected; please report this line."
    )
