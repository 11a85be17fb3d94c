"""`dermcheck train`: a new version of a model, from a data set or from the clinic's corrections."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dermcheck.commands.models import add_registry_option
from dermcheck.commands.serve import STUDIES_VARIABLE
from dermcheck.errors import ArgumentError, DermCheckError

if TYPE_CHECKING:
    from dermcheck.learning.job import Outcome
    from dermcheck.learning.order import TrainingOrder
    from dermcheck.training.dendrites import DendriteSettings
    from dermcheck.training.progress import Progress

__all__ = ["register", "run"]

_DESCRIPTION = """\
Train a new version of a model. Research use only; not a medical device.

  dermcheck train ... --data DIR              from scratch, on labelled photographs
  dermcheck train ... --from-corrections      from the model in use, on your corrections

The new version is kept in the registry and compared with the model in use on photographs
that neither has learnt from (fold 9). It is taken into use only if it is better, or equal
within a margin, and finds no fewer melanomas; the answer says so either way.
"""
_EPILOG = f"""\
A data set is a folder in the layout of HAM10000, of ISIC 2018 Task 1 or Task 3, or pictures
with a labels.csv (image_id, dx, lesion_id, ...) and masks <image>_segmentation.png. Folds 0
to 7 are learnt from, 8 chooses the best epoch and calibrates, 9 is never touched but for the
comparison. Patients and lesions are never split.

From corrections: at least 20 are needed. A mask alone or a diagnosis alone teaches, too.
Reference data is replayed, so that nothing is forgotten, and judged on: without it, some
hundred corrections are needed before a comparison can tell anything, and until then a new
version is kept but not taken into use. The environment variable DERMCHECK_REFERENCE_DATA
counts where --reference-data is not given, {STUDIES_VARIABLE} where --studies is not.

Stopped or killed, the same command goes on where it was. The run's folder holds log.csv,
curves.png, split.csv, configuration.json and progress.json.

Exit status: 0 trained, whatever the comparison said; 1 the work could not be done,
2 wrong arguments, 130 stopped.

Examples:
  dermcheck train classification --data HAM10000/
  dermcheck train segmentation --from-corrections --studies ~/studies
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "train",
        help="train a new version of a model, from a data set or from corrections",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("task", choices=["classification", "segmentation"], help="what the model answers")
    _add_material(parser)
    _add_settings(parser)
    _add_dendrites(parser)
    add_registry_option(parser)
    parser.add_argument(
        "--run", dest="run_folder", metavar="DIR", type=Path,
        help="folder of this run (default: one in the registry's)",
    )  # fmt: skip
    parser.add_argument(
        "--occasion", metavar="TEXT", default="", help="why just now, for the history of the versions"
    )
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON, and no progress bar")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train, and print what came of it.

    Raises
    ------
    ArgumentError
        If arguments contradict each other.
    DermCheckError
        If the work cannot be done; the models in use are untouched.
    """
    try:
        from dermcheck.learning.job import carry_out
        from dermcheck.registry import Registry
        from dermcheck.training.allocator import keep_freed_memory
    except ImportError as error:
        raise DermCheckError(
            f"The packages for training cannot be imported ({error}). Run `dermcheck doctor` to see why."
        ) from error
    order = _order(arguments)
    registry = Registry.open(arguments.registry)
    run_folder = arguments.run_folder.absolute() if arguments.run_folder else None
    latest = _Latest()
    keep_freed_memory()
    try:
        with _sigterm_as_interrupt():
            outcome = carry_out(order, registry, run=run_folder, listener=latest, bar=not arguments.json)
    except KeyboardInterrupt:
        print(f"dermcheck: {latest.stopped()}", file=sys.stderr)
        return 130
    print(json.dumps(_as_json(order, outcome)) if arguments.json else _in_words(outcome))
    return 0


def _add_material(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", metavar="DIR", type=Path, action="append", default=[],
        help="data set to learn from, from scratch; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--studies",
        metavar="DIR_OR_URL",
        help="studies whose corrections are learnt from (folder or DICOMweb)",
    )
    parser.add_argument(
        "--from-corrections", action="store_true", help="go on from the model in use, with the corrections"
    )
    parser.add_argument(
        "--reference-data", metavar="DIR", type=Path, action="append", default=[],
        help="data set to replay beside corrections; may be given several times",
    )  # fmt: skip


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--architecture", metavar="NAME", help="of a model from scratch (default: densenet121, unet)"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="how often to go through the photographs")
    parser.add_argument("--rate", type=float, metavar="RATE", help="highest learning rate")
    parser.add_argument("--batch", type=int, metavar="N", help="photographs per step")
    parser.add_argument("--side", type=int, metavar="PIXELS", help="input size of a model from scratch")
    parser.add_argument(
        "--seed", type=int, metavar="N", help="the same seed and data give the same model (default: 0)"
    )


def _add_dendrites(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dendrites", choices=["head", "last_block", "network"],
        help="grow dendrites on these layers of a classifier (default: none; see docs/dendrites.md)",
    )  # fmt: skip
    parser.add_argument(
        "--dendrite-weight", type=float, metavar="LAMBDA",
        help="weight of the dendrites' own loss (default: 0)",
    )  # fmt: skip


def _order(arguments: argparse.Namespace) -> TrainingOrder:
    from dermcheck.learning.order import REFERENCE_VARIABLE, TrainingOrder
    from dermcheck.registry import current_account

    studies, reference = arguments.studies, arguments.reference_data
    if arguments.from_corrections:
        studies = studies or os.environ.get(STUDIES_VARIABLE)
        if not reference and (named := os.environ.get(REFERENCE_VARIABLE)):
            reference = [Path(named)]
    studies = _absolute(studies) if studies else None
    return TrainingOrder(
        task=arguments.task,
        data=tuple(arguments.data),
        studies=studies,
        from_corrections=arguments.from_corrections,
        reference_data=tuple(reference),
        architecture=arguments.architecture,
        epochs=arguments.epochs,
        rate=arguments.rate,
        batch=arguments.batch,
        side=arguments.side,
        seed=arguments.seed,
        dendrites=_dendrites(arguments),
        command=_as_typed(arguments, studies, reference),
        who=current_account(),
        occasion=arguments.occasion,
    )


def _dendrites(arguments: argparse.Namespace) -> DendriteSettings | None:
    weight = arguments.dendrite_weight
    if arguments.dendrites is None:
        if weight is not None:
            raise ArgumentError("--dendrite-weight weighs dendrites, so it needs --dendrites.")
        return None
    from dermcheck.training.dendrites import DendriteSettings

    return DendriteSettings(
        where=arguments.dendrites, weight=0.0 if weight is None else weight, seed=arguments.seed or 0
    )


def _absolute(studies: str) -> str:
    from dermcheck.datastore.locations import is_url

    return studies.rstrip("/") if is_url(studies) else str(Path(studies).expanduser().absolute())


def _as_typed(arguments: argparse.Namespace, studies: str | None, reference: list[Path]) -> str:
    """Write the command as the model's card keeps it: every choice, but no password."""
    from dermcheck.datastore.locations import without_password

    words = ["dermcheck", "train", arguments.task]
    words += [word for folder in arguments.data for word in ("--data", str(folder))]
    words += ["--studies", without_password(studies)] if studies else []
    words += ["--from-corrections"] if arguments.from_corrections else []
    words += [word for folder in reference for word in ("--reference-data", str(folder))]
    for name in ("architecture", "epochs", "rate", "batch", "side", "seed", "dendrites", "dendrite_weight"):
        if (value := getattr(arguments, name)) is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


class _Latest:
    """Remembers how far the training is."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        self._progress = progress

    def stopped(self) -> str:
        """Say what a stop leaves."""
        epochs = ""
        if (progress := self._progress) is not None and progress.total_epochs:
            epochs = f" after {progress.epoch} of {progress.total_epochs} epochs"
        return (
            f"stopped{epochs}. The model in use is untouched. Run the same command again: it goes on where "
            "it stopped."
        )


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM stop the work like Ctrl-C, also while photographs are read or models compared."""

    def interrupt(*_: Any) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _in_words(outcome: Outcome) -> str:
    fate = "is in use now" if outcome.promoted else "is not taken into use"
    return (
        f"{outcome.version} {fate}: {outcome.answer}\n"
        f"Learning curves and log: {outcome.run}\n"
        f"All versions: dermcheck models list"
    )


def _as_json(order: TrainingOrder, outcome: Outcome) -> dict[str, Any]:
    return {
        "task": order.task,
        "version": outcome.version,
        "promoted": outcome.promoted,
        "answer": outcome.answer,
        "run": outcome.run,
    }
