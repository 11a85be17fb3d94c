"""One training of either task: from labelled photographs to a candidate, a model with its card.

It knows no registry: whether a candidate is taken into use is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from torch import nn

from dermcheck.files import replace_file
from dermcheck.lesions import CLASSES
from dermcheck.networks.architectures import ARCHITECTURES, build_network
from dermcheck.networks.cards import OUTLINER_CLASSES, Calibration, InputSpec, ModelCard
from dermcheck.networks.checkpoint import LoadedModel, save_model
from dermcheck.training.calibration import finish_card
from dermcheck.training.classification import ClassificationLesson
from dermcheck.training.configuration import TrainingConfiguration
from dermcheck.training.data.picture_cache import Photographs
from dermcheck.training.data.splits import FIT, check_folds, write_split
from dermcheck.training.data.transforms import HALF
from dermcheck.training.dendrites import DendriteGrowth, dendrites_available
from dermcheck.training.fitting import TrainingError, fit, writing
from dermcheck.training.freezing import freeze
from dermcheck.training.numerics import Numerics, fastest_numerics
from dermcheck.training.progress import PROGRESS_NAME, Progress, ProgressFile, ProgressListener, Reporter
from dermcheck.training.segmentation import SegmentationLesson
from dermcheck.training.stopping import Pause
from dermcheck.training.training_state import Grow

__all__ = ["CANDIDATE_NAME", "run_identity", "train"]

logger = logging.getLogger(__name__)

CANDIDATE_NAME: Final = "candidate"
_CONFIGURATION_NAME: Final = "configuration.json"
_SPLIT_NAME: Final = "split.csv"
_NAMES: Final = {"classification": "DermCheck classifier", "segmentation": "DermCheck outliner"}
_LICENCES: Final = {
    "ham10000": "HAM10000: CC BY-NC 4.0 (research, non-commercial)",
    "corrections": "the clinic's own corrections: not to be passed on without the clinic",
}
_MOST_EXAMINED: Final = 250
"""Photographs of fold 8 on which a short training from corrections selects; all calibrate."""

ChooseNumerics: TypeAlias = Callable[[nn.Module, int, int], Numerics]
_Lesson: TypeAlias = ClassificationLesson | SegmentationLesson


def train(
    configuration: TrainingConfiguration,
    photographs: Photographs,
    start: LoadedModel | None,
    run: Path,
    progress: ProgressListener | None = None,
    *,
    outliner: LoadedModel | None = None,
    command: str = "dermcheck train",
    choose: ChooseNumerics = fastest_numerics,
    bar: bool = True,
    pause: Pause | None = None,
) -> Path:
    """Train, calibrate and save a candidate. Stopped or killed, the same call goes on where it was.

    Parameters
    ----------
    photographs
        Folds 0 to 7 are fitted; 8 selects and calibrates.
    start
        Network and card to go on from; None trains from scratch. The network is trained in place.
    run
        Folder for checkpoint, ``log.csv``, ``curves.png``, ``split.csv``, ``configuration.json``,
        ``progress.json`` and the candidate.
    progress
        Told how far it is.
    outliner
        Where a classifier to go on from looks closer, what shows it where (`inference.Classifier`).
    command
        For the card.
    choose
        Gives device and number format for network, side and batch.
    bar
        Whether to show the steps.
    pause
        Called before each step; see `StopRequest`.

    Returns
    -------
    Path
        The candidate's folder, with weights and card.

    Raises
    ------
    DataError, TrainingError, ArgumentError
        If the photographs cannot teach the task, the loss is not a number, settings do not fit, or the
        folder holds another run.
    StorageError
        If the disk refuses.
    TrainingStopped
        After Ctrl-C or SIGTERM.
    """
    listeners = [ProgressFile(run / PROGRESS_NAME), *([progress] if progress else [])]
    reporter = Reporter(Progress(task=configuration.task), listeners)
    configuration = _without_dendrites_where_impossible(configuration)
    _check(configuration, photographs, start)
    network, card = start or _from_scratch(configuration, photographs, command)
    card = replace(card, version="candidate", figures={}, created="", sha256="", command=command)
    card = replace(card, data=_in_words(photographs, start), licence=_licence(photographs, start))
    with writing(run):
        run.mkdir(parents=True, exist_ok=True)
        write_split(photographs, run / _SPLIT_NAME)
        replace_file(run / _CONFIGURATION_NAME, json.dumps(configuration.to_json(), indent=2) + "\n")
    identity = run_identity(configuration, photographs, start, outliner)
    trained = _fit(network, card, configuration, photographs, run, identity, reporter, choose, bar, pause)
    reporter.update(phase="calibrating", seconds_left=None)
    if (count := _dendrites(trained, card.architecture)) and configuration.dendrites is not None:
        card = replace(card, dendrites=count, dendrites_on=configuration.dendrites.where)
    card = finish_card(trained, card, photographs, outliner=outliner)
    candidate = run / CANDIDATE_NAME
    if candidate.exists():  # of an earlier run, or killed before anybody took it
        with writing(candidate):
            shutil.rmtree(candidate)
    save_model(candidate, trained, card)
    return candidate


def _fit(
    network: nn.Module,
    card: ModelCard,
    configuration: TrainingConfiguration,
    photographs: Photographs,
    run: Path,
    identity: str,
    reporter: Reporter,
    choose: ChooseNumerics,
    bar: bool,
    pause: Pause | None,
) -> nn.Module:
    schedule, settings = configuration.schedule, configuration.dendrites
    freeze(network, card.architecture, configuration.layers)
    numerics = choose(network, schedule.sides[0], schedule.batch)
    lesson = _lesson(configuration, card, photographs)
    growing: list[DendriteGrowth] = []

    def grow(state: Mapping[str, Any] | None) -> DendriteGrowth:
        assert settings is not None  # noqa: S101  # for mypy
        assert isinstance(lesson, ClassificationLesson)  # noqa: S101  # the configuration refuses others
        numerics.place_network(network)
        if state is None:
            lesson.growth = DendriteGrowth.start(network, card.architecture, settings, run)
        else:
            lesson.growth = DendriteGrowth.restore(network, card.architecture, settings, run, state)
        growing.append(lesson.growth)
        return lesson.growth

    grows: Grow | None = grow if settings else None
    try:
        trained = fit(
            network, schedule, lesson, run, grow=grows, numerics=numerics, identity=identity,
            reporter=reporter, bar=bar, pause=pause,
        )  # fmt: skip
    finally:
        for growth in growing:
            growth.close()
    return trained.to("cpu").requires_grad_(True).eval()


def _lesson(configuration: TrainingConfiguration, card: ModelCard, photographs: Photographs) -> _Lesson:
    seed, side = configuration.schedule.seed, card.input.side
    share = configuration.corrections_share
    if configuration.task == "segmentation":
        return SegmentationLesson(photographs=photographs, seed=seed, corrections_share=share, side=side)
    calibration = card.calibration or Calibration.identity()
    prior = np.array(calibration.training_prior)
    return ClassificationLesson(
        photographs=photographs,
        seed=seed,
        sampling_power=configuration.sampling_power,
        label_smoothing=configuration.label_smoothing,
        corrections_share=share,
        temperature=calibration.temperature,
        training_prior=prior,
        side=side,
        most_examined=_MOST_EXAMINED if share is not None else None,
    )


def _from_scratch(
    configuration: TrainingConfiguration, photographs: Photographs, command: str
) -> LoadedModel:
    """Build a network with random weights and the card that it starts with."""
    task = configuration.task
    torch.manual_seed(configuration.schedule.seed)
    network = build_network(configuration.architecture, task)
    classifies = task == "classification"
    card = ModelCard(
        name=_NAMES[task],
        version="candidate",
        task=task,
        architecture=configuration.architecture,
        classes=CLASSES if classifies else OUTLINER_CLASSES,
        input=InputSpec(
            side=configuration.schedule.sides[-1],
            mean=HALF,
            std=HALF,
            geometry="centre_square" if classifies else "short_side",
            multiple=32,
        ),
        calibration=_first_calibration(configuration, photographs) if classifies else None,
        data="see below",
        licence="see below",
        command=command,
    )
    return network, card


def _first_calibration(configuration: TrainingConfiguration, photographs: Photographs) -> Calibration:
    """Take the shares that are drawn, and those that occur; `finish_card` corrects the former on fold 8."""
    lesson = ClassificationLesson(
        photographs=photographs, seed=0, sampling_power=configuration.sampling_power
    )
    diagnosis = photographs.diagnosis[photographs.rows(FIT)]
    occurring = np.bincount(diagnosis[diagnosis >= 0], minlength=len(CLASSES))
    return Calibration(
        temperature=1.0,
        training_prior=tuple(lesson.prior.tolist()),
        natural_prior=tuple((occurring / occurring.sum()).tolist()),
    )


def _check(configuration: TrainingConfiguration, photographs: Photographs, start: LoadedModel | None) -> None:
    for sentence in (*photographs.problems, *check_folds(photographs, configuration.task)):
        logger.warning("%s", sentence)
    if (largest := max(configuration.schedule.sides)) > photographs.side:
        raise TrainingError(
            f"The photographs are decoded to {photographs.side} px, but the training asks for {largest} px."
        )
    if start is not None and (start[1].input.mean, start[1].input.std) != (HALF, HALF):
        raise TrainingError(
            f"{start[1].name} {start[1].version} takes colours scaled by {start[1].input.mean} and "
            f"{start[1].input.std}; training goes on only from models that take {HALF} and {HALF}."
        )
    if start is None and configuration.task == "classification":
        found = set(photographs.diagnosis[photographs.rows(FIT)].tolist())
        if missing := [name for i, name in enumerate(CLASSES) if i not in found]:
            raise TrainingError(
                f"There is no photograph of {', '.join(missing)} in folds 0 to 7, and a classifier from "
                "scratch cannot learn what it never sees. Add some, or go on from the model in use "
                "(--from-corrections)."
            )
    if configuration.dendrites is not None and start is not None and start[1].dendrites:
        raise TrainingError(
            f"{start[1].name} {start[1].version} has dendrites already; more cannot be grown on them. Leave "
            "--dendrites out, or train from scratch."
        )


def _without_dendrites_where_impossible(configuration: TrainingConfiguration) -> TrainingConfiguration:
    if configuration.dendrites is None or (reason := dendrites_available()) is None:
        return configuration
    logger.warning("%s", reason)
    return replace(configuration, dendrites=None)


def _dendrites(network: nn.Module, architecture: str) -> int:
    """Count the dendrites of the head."""
    head = ARCHITECTURES[architecture].head
    layer = network.get_submodule(head) if head else None
    dendrites = getattr(layer, "dendrites", ())
    return len(dendrites)


def run_identity(
    configuration: TrainingConfiguration,
    photographs: Photographs,
    start: LoadedModel | None,
    outliner: LoadedModel | None = None,
) -> str:
    """Return the SHA-256 of all that decides a training; parameters as of `train`."""
    parts = [configuration.to_json(), photographs.fingerprint, start[1].sha256 if start else ""]
    parts += [outliner[1].sha256] if outliner else []
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _in_words(photographs: Photographs, start: LoadedModel | None) -> str:
    counts = zip(*np.unique(photographs.source, return_counts=True), strict=True)
    sources = ", ".join(f"{name} ({count:,} photographs)" for name, count in counts)
    words = f"{sources}: folds 0-7 trained, fold 8 selected and calibrated, fold 9 reported only"
    if start is not None:
        words += f". Went on from {start[1].name} {start[1].version}: {start[1].data}"
    return words


def _licence(photographs: Photographs, start: LoadedModel | None) -> str:
    sources = np.unique(photographs.source).tolist()
    terms = [_LICENCES[name] for name in sources if name in _LICENCES]
    if start is not None:
        terms = [start[1].licence, *(term for term in terms if term not in start[1].licence)]
    return "; ".join(terms) or f"as the photographs it was trained on ({', '.join(sources)})"
