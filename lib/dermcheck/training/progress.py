"""How far a training is: for the progress bar, and as a file for whoever looks from outside."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, Protocol, get_args

from dermcheck.files import replace_file

__all__ = [
    "PROGRESS_NAME",
    "Phase",
    "Progress",
    "ProgressFile",
    "ProgressListener",
    "Reporter",
    "read_progress",
]

logger = logging.getLogger(__name__)

PROGRESS_NAME: Final = "progress.json"

Phase = Literal[
    "reading", "training", "calibrating", "comparing", "finished", "stopped", "failed", "interrupted"
]
"""`interrupted`: its process ended without saying anything, e.g. killed. Only readers can tell that."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A training as it stands; what is not known yet is None."""

    task: str
    phase: Phase = "reading"
    epoch: int = 0
    """Finished epochs."""
    total_epochs: int = 0
    metric: str = ""
    """Which figure selects, e.g. ``balanced_accuracy``."""
    best_metric: float | None = None
    """Its best value on fold 8 so far."""
    seconds_left: float | None = None
    """Of the epochs that are still to come; early stopping may end sooner."""
    version: str | None = None
    """Name of the new version in the registry."""
    answer: str | None = None
    """What came of it, in a sentence: the gate's answer, or why the training failed."""

    def to_json(self) -> dict[str, Any]:
        """Give what is known as JSON values."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class ProgressListener(Protocol):
    """Whoever wants to know how far a training is; called often, so it must be quick."""

    def __call__(self, progress: Progress) -> None:
        """Take note."""


@dataclass
class Reporter:
    """Holds the progress of one training and passes each change on."""

    progress: Progress
    listeners: list[ProgressListener] = field(default_factory=list)

    def update(self, **changes: Any) -> None:
        """Change fields of `Progress` and tell the listeners."""
        self.progress = replace(self.progress, **changes)
        for listener in self.listeners:
            listener(self.progress)


class ProgressFile:
    """Writes each state to a file, so that a reader sees the old state or the new one, never a part."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._complained = False

    def __call__(self, progress: Progress) -> None:
        """Write."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, json.dumps(progress.to_json()) + "\n", durable=False)
        except OSError as error:  # nobody may see how far it is, but the training itself goes on
            if not self._complained:
                logger.warning("%s: the progress cannot be written (%s)", self._path, error.strerror)
                self._complained = True


def read_progress(path: Path) -> Progress | None:
    """Read what `ProgressFile` wrote; None if there is nothing that can be understood."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        known = {entry.name for entry in fields(Progress)}
        progress = Progress(**{name: value for name, value in values.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return progress if progress.phase in get_args(Phase) else None
