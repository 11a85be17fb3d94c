"""The training loop shared by all networks: steps, examination, checkpoints, log, progress."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from tqdm import tqdm

from dermcheck.errors import DermCheckError, StorageError
from dermcheck.files import replace_file
from dermcheck.training.configuration import Schedule
from dermcheck.training.numerics import Numerics, fastest_numerics
from dermcheck.training.progress import Reporter
from dermcheck.training.stopping import Pause, StopRequest, TrainingStopped, stop_signals
from dermcheck.training.training_state import CHECKPOINT_NAME, Grow, TrainingError, TrainingState

__all__ = ["Batch", "Lesson", "Rows", "Schedule", "TrainingError", "TrainingStopped", "fit", "writing"]

logger = logging.getLogger(__name__)

Rows = npt.NDArray[np.int64]
Batch = dict[str, Any]
"""``image``: (N, 3, side, side) float32, normalised; and what the loss compares the output with."""

_LOG_NAME: Final = "log.csv"
_CURVES_NAME: Final = "curves.png"
_SECONDS_BETWEEN_REPORTS: Final = 1.0
_SECONDS_BETWEEN_LOG_LINES: Final = 10.0


class Lesson(Protocol):
    """What a network is taught, and how it is examined."""

    key: str
    """The figure that selects the best epoch; higher is better."""

    def draw(self, epoch: int) -> Rows:
        """Give the rows of the photographs of one epoch (from 0), in order; as many in every epoch."""
        ...

    def batch(self, rows: Rows, side: int, generator: torch.Generator) -> Batch:
        """Make a batch of views; every random choice comes from the generator. Called in another thread."""
        ...

    def loss(self, network: nn.Module, batch: Batch, numerics: Numerics) -> Tensor:
        """Give the loss of the network on a batch."""
        ...

    def examine(self, network: nn.Module, numerics: Numerics, stop: StopRequest) -> dict[str, float]:
        """Give figures of the network on fold 8, `key` among them."""
        ...


@dataclass
class _Pace:
    """What the time of this session went to."""

    started: float
    steps: int = 0
    step_seconds: float = 0.0
    waiting: float = 0.0
    examinations: int = 0
    examination_seconds: float = 0.0

    def seconds_left(self, steps: int, epochs: int) -> float | None:
        """Estimate the time for so many steps and examinations."""
        if not self.steps:
            return None
        left = steps * self.step_seconds / self.steps
        if self.examinations:
            left += epochs * self.examination_seconds / self.examinations
        return left


def fit(
    network: nn.Module,
    schedule: Schedule,
    lesson: Lesson,
    run: Path,
    *,
    grow: Grow | None = None,
    numerics: Numerics | None = None,
    identity: str = "",
    reporter: Reporter | None = None,
    checkpoint_minutes: float = 3.0,
    bar: bool = True,
    pause: Pause | None = None,
) -> nn.Module:
    """Train `network` and return the network to publish, in evaluation mode.

    That is the average of its weights; the best epoch's with a `patience`, else the last; with
    dendrites, the grown network in plain torch. A run that was stopped or killed goes on from its last
    checkpoint in the folder `run`, which also gets ``log.csv`` and ``curves.png``. Deterministic on one
    machine: every random choice follows from the seed and the step.

    Parameters
    ----------
    grow
        Starts or restores dendrites; they are told each epoch's key figure.
    numerics
        Measured at each start by default, so that a run may go on on another machine.
    identity
        Of data and other settings, see `TrainingState`.
    pause
        Called before each step; see `StopRequest`.

    Raises
    ------
    TrainingError
        If the loss is not a number, or `run` holds a checkpoint of another run.
    TrainingStopped
        After Ctrl-C or SIGTERM, with a checkpoint written.
    StorageError
        If the disk refuses.
    """
    with writing(run):
        run.mkdir(parents=True, exist_ok=True)
    numerics = numerics or fastest_numerics(network, schedule.sides[0], schedule.batch)
    state = TrainingState(network, schedule, run / CHECKPOINT_NAME, numerics, identity, grow)
    with stop_signals(pause) as stop:
        session = _Session(state, lesson, run, numerics, stop, reporter, checkpoint_minutes)
        with session.progress_bar(shown=bar):
            while not state.finished:
                session.run_epoch()
    return state.result()


class _Session:
    """One process's part of a run."""

    def __init__(
        self,
        state: TrainingState,
        lesson: Lesson,
        run: Path,
        numerics: Numerics,
        stop: StopRequest,
        reporter: Reporter | None,
        checkpoint_minutes: float,
    ) -> None:
        self.state, self.lesson, self.run = state, lesson, run
        self.numerics, self.stop, self.reporter = numerics, stop, reporter
        self.checkpoint_seconds = 60 * checkpoint_minutes
        self.per_epoch = max(1, len(lesson.draw(0)) // state.schedule.batch)
        self.pace = _Pace(time.monotonic())
        self.saved = self.reported = time.monotonic()
        self.bar: tqdm[Any] | None = None
        self._report(phase="training", metric=lesson.key)

    @contextlib.contextmanager
    def progress_bar(self, *, shown: bool) -> Iterator[None]:
        """Show the steps of all epochs."""
        interval = 0.2 if sys.stderr.isatty() else _SECONDS_BETWEEN_LOG_LINES
        total = self.per_epoch * self.state.schedule.epochs
        with tqdm(
            total=total, initial=self.state.step, unit="step", disable=not shown, mininterval=interval
        ) as self.bar:
            yield

    def run_epoch(self) -> None:
        """Train what is left of an epoch, examine it, and write log, curves and checkpoint."""
        state, epoch = self.state, self.state.examined
        if self.bar is not None:
            self.bar.set_description(f"epoch {epoch + 1}/{state.schedule.epochs}", refresh=False)
        waited, stepped = self.pace.waiting, self.pace.step_seconds
        losses = self._train(epoch)
        figures = self._examine()
        spent = self.pace.step_seconds - stepped
        row = {
            "epoch": epoch + 1.0,
            "side": float(state.schedule.side(epoch)),
            "rate": self._rate(max(0, state.step - 1)),
            "loss": float(np.mean(losses)) if losses else math.nan,
            "minutes": (time.monotonic() - self.pace.started) / 60,
            "data_share": (self.pace.waiting - waited) / spent if spent else 0.0,
            **figures,
        }
        state.note(row, figures[self.lesson.key])
        self._save()
        write_log(state.history, self.run / _LOG_NAME)
        self._draw()
        logger.info(" ".join(f"{name}={value:.4f}" for name, value in row.items()))
        self._report()

    def _train(self, epoch: int) -> list[float]:
        state, schedule = self.state, self.state.schedule
        state.set_to_training()
        rows, losses = self.lesson.draw(epoch), []
        first = state.step - epoch * self.per_epoch
        for batch, waited in self._batches(rows, epoch, first):
            start = time.monotonic()
            self._check_stop()
            torch.manual_seed(schedule.seed * 1_000_003 + state.step)  # for dropout
            loss = self.lesson.loss(state.network, batch, self.numerics)
            state.descend(loss, self._rate(state.step))
            losses.append(loss.item())
            self.pace.steps += 1
            self.pace.waiting += waited
            self.pace.step_seconds += time.monotonic() - start + waited
            self._after_step(losses[-1])
        return losses

    def _batches(self, rows: Rows, epoch: int, first: int) -> Iterator[tuple[Batch, float]]:
        """Give the epoch's batches from `first` on and how long each was waited for; one is made ahead."""
        schedule, side = self.state.schedule, self.state.schedule.side(epoch)

        def make(i: int) -> Batch:
            seed = schedule.seed * 1_000_003 + epoch * self.per_epoch + i
            chosen = rows[i * schedule.batch : (i + 1) * schedule.batch]
            return self.lesson.batch(chosen, side, torch.Generator().manual_seed(seed))

        with ThreadPoolExecutor(1, "batches") as thread:
            ahead = thread.submit(make, first) if first < self.per_epoch else None
            for i in range(first, self.per_epoch):
                assert ahead is not None  # noqa: S101  # for mypy
                start = time.monotonic()
                batch = ahead.result()
                waited = time.monotonic() - start
                ahead = thread.submit(make, i + 1) if i + 1 < self.per_epoch else None
                yield batch, waited

    def _examine(self) -> dict[str, float]:
        start = time.monotonic()
        try:
            figures = self.lesson.examine(self.state.published.eval(), self.numerics, self.stop)
        except TrainingStopped:
            self._save()
            raise
        self.pace.examinations += 1
        self.pace.examination_seconds += time.monotonic() - start
        return figures

    def _rate(self, step: int) -> float:
        state = self.state
        steps = self.per_epoch * state.schedule.epochs
        return state.schedule.rate_at(step - state.phase_start, max(1, steps - state.phase_start))

    def _after_step(self, loss: float) -> None:
        now = time.monotonic()
        if self.bar is not None:
            self.bar.update()
            self.bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        if now - self.saved > self.checkpoint_seconds:
            self._save()
        if now - self.reported > _SECONDS_BETWEEN_REPORTS:
            self._report()

    def _check_stop(self) -> None:
        try:
            self.stop.check()
        except TrainingStopped:
            self._save()
            raise

    def _save(self) -> None:
        self.state.save()
        self.saved = time.monotonic()

    def _draw(self) -> None:
        try:
            from dermcheck.training.curves import draw_curves

            with writing(self.run):
                draw_curves(self.state.history, self.run / _CURVES_NAME, self.state.best_epoch)
        except ImportError as error:  # not everybody who trains wants a plotting package
            logger.debug("no picture of the learning curves: %s", error)

    def _report(self, **changes: Any) -> None:
        if self.reporter is None:
            return
        state, epochs = self.state, self.state.schedule.epochs
        left = self.pace.seconds_left(self.per_epoch * epochs - state.step, epochs - state.examined)
        self.reporter.update(
            epoch=state.examined,
            total_epochs=epochs,
            best_metric=state.best_score,
            seconds_left=None if left is None else round(left, 1),
            **changes,
        )
        self.reported = time.monotonic()


def write_log(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Write one row an epoch as CSV, complete or not at all.

    Raises
    ------
    StorageError
        If the disk refuses.
    """
    columns = list(dict.fromkeys(name for row in history for name in row))
    content = io.StringIO(newline="")
    writer = csv.DictWriter(content, columns)
    writer.writeheader()
    for row in history:
        writer.writerow({name: f"{value:.6g}" for name, value in row.items()})
    with writing(path):
        replace_file(path, content.getvalue())


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses inside the block into a sentence.

    Raises
    ------
    StorageError
        If it refuses.
    """
    try:
        yield
    except DermCheckError:
        raise
    except OSError as error:
        raise StorageError(
            f"{path}: this cannot be written ({error.strerror}). Free some space or name another folder, and "
            "run the same command again: it goes on where it was.",
        ) from error
