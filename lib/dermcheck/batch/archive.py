"""Predicts a whole folder in one pass that may be interrupted at any time and run again."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from dermcheck.batch.discovery import InputFile, Skipped
from dermcheck.batch.inputs import ArchiveQuery, LocalSource, Source, open_source
from dermcheck.batch.journal import Failure, Journal, Redo
from dermcheck.batch.names import photo_names
from dermcheck.batch.pipeline import Outcome, Pipeline
from dermcheck.batch.ray_engine import RayPipeline
from dermcheck.batch.report import ReportFormat, check_formats
from dermcheck.batch.results import ResultFolder
from dermcheck.batch.sources import FileKind
from dermcheck.batch.stages import SPARE, Refused, Wanted
from dermcheck.batch.store import StoreTally, check_can_store, store_results
from dermcheck.dicom.files import file_name
from dermcheck.errors import ArgumentError, NotFoundError
from dermcheck.inference.predictor import Predictor
from dermcheck.inference.priors import PRIOR_VARIABLE, clinic_prior
from dermcheck.networks.checkpoint import REFERENCE_MODELS
from dermcheck.registry.registry import Registry
from dermcheck.registry.versions import ModelVersion, folder_version

__all__ = ["BatchSettings", "Engine", "Tally", "run_batch"]

Engine: TypeAlias = Literal["local", "ray"]


@dataclass(frozen=True)
class BatchSettings:
    """What one batch is to do."""

    source: str | Path
    """A folder of DICOM files and photos, one file, a list, a DICOMDIR or an archive's address."""
    output: Path
    """Folder for the results; made if it does not exist."""
    models: Path | Registry = REFERENCE_MODELS
    """Folder with `classifier` and `outliner`, or the registry whose versions in use predict."""
    masks: bool = False
    """Also write masks as PNG."""
    dicom: bool = False
    """Also write a SEG and an SR per image."""
    redo: Redo = "nothing"
    """What is predicted again although there is a prediction: see `journal.Redo`."""
    query: ArchiveQuery | None = None
    """What is wanted of an archive."""
    reports: tuple[ReportFormat, ...] = ()
    """Also write the whole report in these formats."""
    store: bool = False
    """Also store SEG and SR with the photographs, where these came from; needs `dicom`."""
    engine: Engine = "local"
    """This computer, or all of a Ray cluster."""


@dataclass
class Tally:
    """How far a batch has come."""

    found: int = 0
    """All that the input holds: files of every kind, and folders that are passed over or stay closed."""
    predicted: int = 0
    """Photographs predicted in this run."""
    already: int = 0
    """Photographs predicted by an earlier run."""
    changed: int = 0
    """How many of these have changed since and were left as they are."""
    first_changed: Path | None = None
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """What is passed over without being a failure, counted by reason."""
    stored: StoreTally | None = None
    """What was stored with the photographs; None if that was not asked for."""


OnProgress: TypeAlias = Callable[[Tally], object]


def run_batch(settings: BatchSettings, on_progress: OnProgress = lambda tally: None) -> Tally:
    """Predict every photograph of a folder that has no prediction yet, and write the tables.

    Reading, networks and writing overlap (`batch.pipeline`), but what comes of the files is named, written
    and recorded in the order of the input, so that the tables do not depend on which thread was quicker.
    Memory holds some dozens of photographs at the networks' size and one or two at their own. Files that
    cannot be read become rows of `failures.csv`, and the batch goes on. The tables appear
    when all files have been tried; until then, and if the batch is stopped or killed, what was done is
    kept in a journal, and the same call goes on from there. On one computer the tables are the
    same to the byte, interrupted or not, as far as the networks' answer to a photograph does not depend on
    its neighbours: with OpenVINO and onnxruntime it does not; with torch by rounding, up to 1e-5 in a logit.

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
    check_formats(settings.reports)
    source = open_source(settings.source, settings.output, settings.query)
    _check_engine(settings.engine, source)
    if settings.store:
        check_can_store(source)
    models = _Models.chosen_by(settings)
    bound_to = {
        "INPUT": source.name,
        "classifier": _model_name(models.classifier),
        "outliner": _model_name(models.outliner),
        PRIOR_VARIABLE: _prior_in_words(),
    }
    results = ResultFolder(source.output, masks=settings.masks, dicom=settings.dicom)
    with Journal(source.output, bound_to, redo=settings.redo) as journal:
        results.clear_partial()
        inventory = journal.take_inventory(source.findings(), results.has_all)
        tally = Tally(
            found=inventory.found,
            already=inventory.already,
            changed=inventory.changed,
            first_changed=inventory.first_changed,
            failed=inventory.failed,
            skipped=inventory.skipped,
        )
        on_progress(tally)
        wanted = Wanted(settings.masks, settings.dicom, models.short_side(), journal.begun)
        with _open_pipeline(settings.engine, wanted, models, source) as pipeline:
            recorder = _Recorder(results, journal, tally)
            for file, outcome in pipeline.run(journal.waiting()):
                recorder.take(file, outcome)
                on_progress(tally)
        if tally.found == tally.skipped.total() == 1 and os.path.isfile(source.name):  # noqa: PTH113
            raise NotFoundError(f"{source.name}: this is no photograph ({next(iter(tally.skipped))}).")
        results.write_all(journal, settings.reports)
        results.remove_partial()
        if settings.store:
            tally.stored = store_results(source, journal, results)
    return tally


def _open_pipeline(engine: Engine, wanted: Wanted, models: _Models, source: Source) -> Pipeline | RayPipeline:
    return RayPipeline(wanted, models.load) if engine == "ray" else Pipeline(wanted, models.load, source)


def _check_engine(engine: Engine, source: Source) -> None:
    if engine == "ray" and not isinstance(source, LocalSource):
        raise ArgumentError(
            f"{source.name}: --engine ray needs photographs on a disk that all machines share, not an "
            "archive. Leave out --engine: an archive is slower than one machine."
        )


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
        return Predictor(self.classifier.open(), self.outliner.open(), natural_prior=clinic_prior())

    def short_side(self) -> int:
        """Pixels along a photograph's shorter side of which the networks can make use."""
        return SPARE * max(model.read_card().input.side for model in (self.classifier, self.outliner))


class _Recorder:
    """Names, writes and records what the pipeline gives, in the order of the input."""

    def __init__(self, results: ResultFolder, journal: Journal, tally: Tally) -> None:
        self._results = results
        self._journal = journal
        self._tally = tally

    def take(self, file: InputFile, outcome: Outcome) -> None:
        """Keep what became of one file; raises only what must end the batch."""
        if isinstance(outcome, Skipped):
            self._journal.record_skip(file, outcome.reason)
            self._tally.skipped[outcome.reason] += 1
            return
        if (again := self._second_instance(file, outcome.sop_instance_uid)) is not None:
            self._fail(file, Failure(outcome.sop_instance_uid or "", again), outcome.seconds)
        elif isinstance(outcome, Refused):
            self._fail(file, self._failure(file, outcome), outcome.seconds)
        else:
            image = outcome.sop_instance_uid or self._free_name(file.relative)
            paths = self._results.store(image, outcome.files)
            self._journal.record(
                file, replace(outcome.prediction, image=image), seconds=outcome.seconds, files=paths
            )
            self._tally.predicted += 1

    def _fail(self, file: InputFile, failure: Failure, seconds: float) -> None:
        self._journal.record_failure(file.relative, failure, seconds=seconds)
        self._tally.failed += 1

    def _failure(self, file: InputFile, refused: Refused) -> Failure:
        if refused.kind is FileKind.PHOTO:
            return Failure(self._free_name(file.relative), refused.reason, keeps_name=True)
        return Failure(refused.sop_instance_uid or file_name(Path(file.relative.stem)), refused.reason)

    def _free_name(self, relative: Path) -> str:
        return next(name for name in photo_names(relative) if self._journal.holder(name, relative) is None)

    def _second_instance(self, file: InputFile, sop_instance_uid: str | None) -> str | None:
        """Say why a file is not predicted whose instance another file holds as well."""
        if sop_instance_uid is None:
            return None
        other = self._journal.holder(sop_instance_uid, file.relative)
        if other is None:
            return None
        return (
            f"{file_name(file.relative)}: SOPInstanceUID is {sop_instance_uid}, which is already the name of "
            f"{file_name(other)}. Only that one is predicted; remove one of the two."
        )


def _prior_in_words() -> str:
    prior = clinic_prior()
    return "of the model's card" if prior is None else ", ".join(f"{share:.6g}" for share in prior)


def _model_name(version: ModelVersion) -> str:
    """Name a model so that two which could answer differently have two names."""
    card = version.read_card()
    digest = hashlib.sha256(card.to_json().encode()).hexdigest()
    return f"{card.name} {card.version} (card {digest[:12]})"
