"""The trainings that started by themselves, remembered over restarts of the server."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from dermcheck.files import replace_file
from dermcheck.learning.place import training_folder
from dermcheck.learning.schedule import Attempt, End

if TYPE_CHECKING:
    from dermcheck.networks.cards import Task

__all__ = ["Attempts"]

logger = logging.getLogger(__name__)

_NAME: Final = "automatic.json"


class Attempts:
    """The latest attempt of each task, in one small file of the registry.

    It can be lost: then the worst is that a training which failed is tried once more.

    Parameters
    ----------
    registry
        Folder of the registry.
    """

    def __init__(self, registry: Path) -> None:
        self._path = training_folder(registry) / _NAME
        self._attempts = dict(self._read())

    def get(self, task: Task) -> Attempt | None:
        """Return the latest."""
        return self._attempts.get(task)

    def set(self, task: Task, attempt: Attempt) -> None:
        """Note one, in place of the latest."""
        self._attempts[task] = attempt
        content = {name: asdict(each) | {"at": each.at.isoformat()} for name, each in self._attempts.items()}
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path, json.dumps(content, indent=1) + "\n")
        except OSError as error:  # it is remembered as long as the server runs
            logger.warning("%s: this cannot be written (%s)", self._path, error.strerror)

    def _read(self) -> Mapping[Task, Attempt]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            return {task: _attempt(values) for task, values in content.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            logger.warning("%s: this cannot be read (%s) and is begun anew.", self._path, error)
            return {}


def _attempt(values: Mapping[str, Any]) -> Attempt:
    if values["end"] not in get_args(End):
        raise ValueError(f"unknown end {values['end']!r}")
    return Attempt(
        at=datetime.fromisoformat(values["at"]),
        new=int(values["new"]),
        end=values["end"],
        answer=str(values["answer"]),
    )
