"""Where trainings lie, that only one runs at a time, and how far the latest one is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock, Timeout

from dermcheck.errors import DermCheckError, StorageError
from dermcheck.training.progress import Progress, read_progress

if TYPE_CHECKING:
    from dermcheck.networks.cards import Task

__all__ = [
    "TrainingRunsError",
    "is_training",
    "latest_progress",
    "one_training",
    "progress_path",
    "training_folder",
]

_LOCK_NAME: Final = "training.lock"
_SECONDS_OF_A_LOOK: Final = 1.0
"""Others hold the lock for a moment only to see whether somebody trains."""
_UNFINISHED: Final = ("reading", "training", "calibrating", "comparing")


class TrainingRunsError(DermCheckError, RuntimeError):
    """Another training is running; the message says how far it is."""


def training_folder(registry: Path) -> Path:
    """Return the folder of trainings inside a registry's folder."""
    return registry / "training"


def progress_path(registry: Path, task: Task) -> Path:
    """Return the file that tells how far the latest training of a task is."""
    return training_folder(registry) / f"{task}.json"


@contextmanager
def one_training(registry: Path, task: Task) -> Iterator[None]:
    """Be the only training of a registry while the block runs; a killed one leaves nothing behind.

    Raises
    ------
    TrainingRunsError
        If another one runs.
    StorageError
        If the registry's folder cannot be written.
    """
    folder = training_folder(registry)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK_NAME, timeout=_SECONDS_OF_A_LOOK, mode=0o600)
        lock.acquire()
    except Timeout:
        raise TrainingRunsError(_who_trains(registry)) from None
    except OSError as error:
        raise StorageError(
            f"{folder}: this cannot be written ({error.strerror}). Make it writable, or name another "
            "registry (--registry)."
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_training(registry: Path) -> bool:
    """Return whether a training runs, in whatever process."""
    path = training_folder(registry) / _LOCK_NAME
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0, mode=0o600):
            return False
    except Timeout:
        return True
    except OSError as error:
        raise StorageError(f"{path}: this cannot be opened ({error.strerror}). Make it writable.") from error


def latest_progress(registry: Path, task: Task) -> Progress | None:
    """Return how far the latest training of a task is; None if there was none.

    One whose process ended without a word is `interrupted`.
    """
    path = progress_path(registry, task)
    progress = read_progress(path)
    if progress is None or progress.phase not in _UNFINISHED or is_training(registry):
        return progress
    progress = read_progress(path) or progress  # it may have ended between the two looks
    return replace(progress, phase="interrupted") if progress.phase in _UNFINISHED else progress


def _who_trains(registry: Path) -> str:
    tasks: tuple[Task, ...] = ("classification", "segmentation")
    for task in tasks:
        progress = read_progress(progress_path(registry, task))
        if progress is not None and progress.phase in _UNFINISHED:
            epochs = f", epoch {progress.epoch} of {progress.total_epochs}" if progress.total_epochs else ""
            return (
                f"A training of {task} is running already ({progress.phase}{epochs}), and they would only "
                "slow each other down. Wait for it, or stop it."
            )
    return "Another training is running already. Wait for it, or stop it."
