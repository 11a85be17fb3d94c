"""One training from the order to the registry's decision."""

from __future__ import annotations

import functools
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dermcheck.datastore.locations import cache_root
from dermcheck.errors import DermCheckError, StorageError
from dermcheck.files import replace_file
from dermcheck.learning.courtesy import Courtesy
from dermcheck.learning.history import CORRECTIONS_LEARNT
from dermcheck.learning.learnt import FROM_CORRECTIONS, forget_older, note_learnt
from dermcheck.learning.material import Material, gather
from dermcheck.learning.place import one_training, progress_path, training_folder
from dermcheck.registry.competition import compete
from dermcheck.training.data import decode, identify
from dermcheck.training.evaluation.seen import sources_with_folds
from dermcheck.training.fitting import writing
from dermcheck.training.numerics import remembered_numerics
from dermcheck.training.progress import Progress, ProgressFile, Reporter
from dermcheck.training.trainer import CANDIDATE_NAME, run_identity, train
from dermcheck.training.training_state import CHECKPOINT_NAME

if TYPE_CHECKING:
    from dermcheck.learning.order import TrainingOrder
    from dermcheck.networks.checkpoint import LoadedModel
    from dermcheck.registry import Registry
    from dermcheck.training.progress import ProgressListener

__all__ = ["Outcome", "carry_out"]

logger = logging.getLogger(__name__)

_OUTCOME_NAME: Final = "outcome.json"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a training."""

    version: str
    """Name of the candidate in the registry."""
    promoted: bool
    """Whether it is in use now."""
    answer: str
    """The gate's reason, in words."""
    run: str
    """Folder of the run."""
    identity: str
    """Of data, settings and start: the same training again would come to the same."""


def carry_out(
    order: TrainingOrder,
    registry: Registry,
    *,
    run: Path | None = None,
    cache: Path | None = None,
    listener: ProgressListener | None = None,
    bar: bool = True,
) -> Outcome:
    """Read, train, calibrate, keep the candidate, and let it compete with the model in use.

    Stopped or killed at any moment, the same order goes on where it was; a finished one is not trained
    again, its outcome is returned. The model in use changes in the very last step, or not at all.

    Parameters
    ----------
    run
        Folder of the run; by default one inside the registry's folder, named after data and settings.
    cache
        Where decoded pictures are kept; by default in `cache_root`.
    listener
        Told how far it is.
    bar
        Whether to show progress bars.

    Raises
    ------
    DermCheckError
        Of every kind; its sentence is the progress's answer, too.
    KeyboardInterrupt
        If stopped.
    """
    registry_folder = registry.folder
    with one_training(registry_folder, order.task):
        listeners = [
            ProgressFile(progress_path(registry_folder, order.task)),
            *([listener] if listener else []),
        ]
        reporter = Reporter(Progress(task=order.task), listeners)
        with _told(reporter), gather(order, bar=bar) as material:
            outcome = _learn(order, material, registry, run, cache, reporter, bar)
        reporter.update(phase="finished", version=outcome.version, answer=outcome.answer, seconds_left=None)
    return outcome


@contextmanager
def _told(reporter: Reporter) -> Iterator[None]:
    """Tell the listeners how a training ended that did not finish."""
    reporter.update(phase="reading")
    try:
        yield
    except DermCheckError as error:
        reporter.update(phase="failed", answer=str(error), seconds_left=None)
        raise
    except KeyboardInterrupt:
        reporter.update(
            phase="stopped", answer="Stopped; the same training goes on from here.", seconds_left=None
        )
        raise
    except BaseException:
        reporter.update(
            phase="failed", answer="A mistake of DermCheck; its log says more.", seconds_left=None
        )
        raise


def _learn(
    order: TrainingOrder,
    material: Material,
    registry: Registry,
    run: Path | None,
    cache: Path | None,
    reporter: Reporter,
    bar: bool,
) -> Outcome:
    current = registry.in_use(order.task) if order.from_corrections else None
    start = current.load() if current else None
    configuration = order.configuration(start[1] if start else None)
    side = max(configuration.schedule.sides)
    cache = cache or cache_root() / "training"
    photographs = decode(material.data_set, side, cache, progress=bar)
    own_folds = sources_with_folds(material.data_set)
    data_set = identify(material.data_set, cache, progress=False)  # known from decoding, and as quick
    outliner = _outliner(registry, start)
    identity = run_identity(configuration, photographs, start, outliner)
    if run is None:
        run = _default_run(order, training_folder(registry.folder), identity)
    if (known := _finished(run, identity)) is not None:
        logger.warning("%s: this very training was done before; nothing is trained again.", run)
        return known

    def pass_on(progress: Progress) -> None:
        reporter.update(**{name: value for name, value in asdict(progress).items() if name != "task"})

    choose = functools.partial(remembered_numerics, cache / "numerics.json", configuration.architecture)
    candidate = train(
        configuration, photographs, start, run, pass_on, outliner=outliner,
        command=order.command, choose=choose, bar=bar, pause=Courtesy(registry.folder),
    )  # fmt: skip
    reporter.update(phase="comparing")
    if order.from_corrections:
        note_learnt(registry.folder, order.task, photographs.fingerprint, material.labels)
    version, decision = compete(
        registry,
        candidate,
        data_set,
        own_folds=own_folds,
        parent=current.name if current else None,
        configuration=configuration.to_json() | _learnt(order, material),
        data_fingerprint=photographs.fingerprint,
        who=order.who,
        reason=_reason(order),
    )
    if order.from_corrections:
        forget_older(registry.folder, order.task, photographs.fingerprint)
    outcome = Outcome(
        version=version.name,
        promoted=decision.promoted,
        answer=decision.reason,
        run=str(run),
        identity=identity,
    )
    _close(run, outcome)
    return outcome


def _outliner(registry: Registry, start: LoadedModel | None) -> LoadedModel | None:
    """Load the outliner in use where a classifier needs it to look closer."""
    return registry.in_use("segmentation").load() if start and start[1].input.closer_look else None


def _learnt(order: TrainingOrder, material: Material) -> dict[str, Any]:
    """Say for the version's entry how many corrections it has learnt from."""
    return {CORRECTIONS_LEARNT: len(material.labels)} if order.from_corrections else {}


def _reason(order: TrainingOrder) -> str:
    reason = FROM_CORRECTIONS if order.from_corrections else "trained from scratch"
    return f"{reason}, {order.occasion}" if order.occasion else reason


def _default_run(order: TrainingOrder, folder: Path, identity: str) -> Path:
    """Name a folder after the training, and remove the checkpoints of those that cannot be gone on with.

    A training from corrections that was given up is not gone on with once there are further corrections.
    """
    if not order.from_corrections:
        return folder / f"{order.task}-{identity[:12]}"
    run = folder / f"{order.task}-corrections-{identity[:12]}"
    for other in folder.glob(f"{order.task}-corrections-*/{CHECKPOINT_NAME}"):
        if other.parent != run:
            with writing(other):
                other.unlink()
    return run


def _finished(run: Path, identity: str) -> Outcome | None:
    """Read the outcome of the same training; None if it was not finished, or was another one."""
    path = run / _OUTCOME_NAME
    try:
        outcome = Outcome(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(
            f"{path}: this is not the outcome of a training ({type(error).__name__}). Name another folder "
            "(--run), or remove the file to train again."
        ) from error
    return outcome if outcome.identity == identity else None


def _close(run: Path, outcome: Outcome) -> None:
    """Note the outcome, and give the room of checkpoint and candidate back: the registry has the latter."""
    path = run / _OUTCOME_NAME
    try:
        replace_file(path, json.dumps(asdict(outcome), indent=2) + "\n")
        (run / CHECKPOINT_NAME).unlink(missing_ok=True)
        shutil.rmtree(run / CANDIDATE_NAME)
    except OSError as error:  # the version is kept and decided upon already
        logger.warning("%s: the outcome cannot be noted (%s).", run, error.strerror)
