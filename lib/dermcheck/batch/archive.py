"""Predicts a whole folder in one pass that may be interrupted at any time and run again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from dermcheck.batch.discovery import Finding
from dermcheck.batch.inputs import ArchiveQuery, Source, open_source
from dermcheck.batch.journal import Journal
from dermcheck.batch.journal_file import Redo
from dermcheck.batch.known_answers import KnownAnswers
from dermcheck.batch.pipeline import Pipeline
from dermcheck.batch.ray_engine import RayPipeline
from dermcheck.batch.recorder import Recorder, Tally
from dermcheck.batch.report import ReportFormat, check_formats
from dermcheck.batch.results import ResultFolder
from dermcheck.batch.stages import SPARE, Wanted
from dermcheck.batch.store import OnStored, check_can_store, store_results
from dermcheck.datastore.locations import cache_root
from dermcheck.errors import NotFoundError
from dermcheck.inference.closer_look import needed_side
from dermcheck.inference.predictor import Predictor
from dermcheck.inference.priors import PRIOR_VARIABLE, clinic_prior
from dermcheck.lesions import CLASSES
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


OnProgress: TypeAlias = Callable[[Tally], object]
OnFound: TypeAlias = Callable[[int], object]


def run_batch(
    settings: BatchSettings,
    on_progress: OnProgress = lambda tally: None,
    *,
    on_found: OnFound = lambda count: None,
    on_stored: OnStored = lambda tally, total: None,
) -> Tally:
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
    on_found
        Called while the input is gone through, with how many things it has shown.
    on_stored
        Called after each photograph whose results are stored with it; see `store_results`.

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
        inventory = journal.take_inventory(_counted(source.findings(), on_found), results.has_all)
        tally = Tally.after(inventory)
        on_progress(tally)
        wanted = Wanted(
            settings.masks, settings.dicom, models.short_side(), journal.begun, bound_to[PRIOR_VARIABLE]
        )
        with (
            KnownAnswers(cache_root(), models.conditions(wanted), reads=settings.redo != "all") as answers,
            _open_pipeline(settings.engine, wanted, models, source, answers) as pipeline,
        ):
            recorder = Recorder(results, journal, tally)
            for file, outcome in pipeline.run(journal.waiting()):
                recorder.take(file, outcome)
                on_progress(tally)
        if tally.found == tally.skipped.total() == 1 and os.path.isfile(source.name):  # noqa: PTH113
            raise NotFoundError(f"{source.name}: this is no photograph ({next(iter(tally.skipped))}).")
        results.write_all(journal, settings.reports)
        results.remove_partial()
        if settings.store:
            tally.stored = store_results(source, journal, results, on_stored)
        journal.mark_finished()
    return tally


def _counted(findings: Iterable[Finding], on_found: OnFound) -> Iterator[Finding]:
    for count, found in enumerate(findings, start=1):
        on_found(count)
        yield found


def _open_pipeline(
    engine: Engine, wanted: Wanted, models: _Models, source: Source, answers: KnownAnswers
) -> Pipeline | RayPipeline:
    if engine == "ray":  # its nodes share no cache
        return RayPipeline(wanted, models.load, source)
    return Pipeline(wanted, models.load, source, answers=answers)


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

    def conditions(self, wanted: Wanted) -> tuple[str, ...]:
        """Say all on which answers depend besides the photographs and the program."""
        cards = (self.classifier.read_card().to_json(), self.outliner.read_card().to_json())
        return (*cards, repr(clinic_prior()), f"short side {wanted.short_side}")

    def short_side(self) -> int:
        """Pixels along a photograph's shorter side of which the networks can make use."""
        classifier, outliner = (model.read_card().input for model in (self.classifier, self.outliner))
        least = SPARE * max(classifier.side, outliner.side)
        return max(least, needed_side(classifier)) if classifier.closer_look else least


def _prior_in_words() -> str:
    prior = clinic_prior()
    if prior is None:
        return "of the model's card"
    return ",".join(f"{name}={share:.6g}" for name, share in zip(CLASSES, prior, strict=True))


def _model_name(version: ModelVersion) -> str:
    """Name a model so that two which could answer differently have two names."""
    card = version.read_card()
    digest = hashlib.sha256(card.to_json().encode()).hexdigest()
    return f"{card.name} {card.version} (card {digest[:12]})"
