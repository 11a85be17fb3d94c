"""Which corrections the versions of a model have learnt from, so that new ones can be counted.

The registry's log says which versions there are and the fingerprint of what each learnt from; beside it lies
one file for the latest version of each task with the labels behind that fingerprint. A version without such
a file, e.g. of an earlier DermCheck, has learnt what was stored before it was made.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dermcheck.errors import StorageError
from dermcheck.files import replace_file
from dermcheck.learning.place import training_folder

if TYPE_CHECKING:
    from dermcheck.datastore import StoredLabel, StudyStore
    from dermcheck.networks.cards import Task
    from dermcheck.registry import Event

__all__ = [
    "FROM_CORRECTIONS",
    "LEAST_CORRECTIONS",
    "Learnt",
    "corrections",
    "forget_older",
    "last_learnt",
    "note_learnt",
]

logger = logging.getLogger(__name__)

FROM_CORRECTIONS: Final = "trained from corrections"
"""With this begins the reason of each version that was."""

LEAST_CORRECTIONS: Final = 20
"""Of fewer, hardly one in each of folds 8 and 9 is left that the model is not fitted to, and the others
are soon known by heart."""

_FOLDER: Final = "learnt"
_DIGITS: Final = 16


@dataclass(frozen=True)
class Learnt:
    """What the latest version of a task has learnt from."""

    version: str
    at: datetime
    """When it was submitted; local time without time zone, as labels have it."""
    labels: frozenset[str] | None
    """SOPInstanceUIDs of the labels; None if that is not known any more."""

    def is_new(self, label: StoredLabel) -> bool:
        """Tell whether the version has not learnt from a label."""
        if self.labels is None:
            return label.created > self.at
        return label.sop_instance_uid not in self.labels


def corrections(store: StudyStore) -> Mapping[str, StoredLabel]:
    """Return the label that counts of each corrected photograph, by the photograph's id."""
    finished = store.finished_ids()
    found = {image: store.latest_final(image) for image in store.image_ids() if image in finished}
    return {image: label for image, label in found.items() if label is not None}


def note_learnt(registry: Path, task: Task, fingerprint: str, labels: Collection[str]) -> None:
    """Write down which labels a training learns from.

    Parameters
    ----------
    registry
        Folder of the registry.
    fingerprint
        Of what is learnt from; the version's `data_fingerprint`.
    labels
        SOPInstanceUIDs.

    Raises
    ------
    StorageError
        If the disk refuses.
    """
    path = _path(registry, task, fingerprint)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, json.dumps({"labels": sorted(labels)}) + "\n")
    except OSError as error:
        raise StorageError(
            f"{path}: which corrections are learnt from cannot be noted ({error.strerror}). Make room, or "
            "make the folder writable."
        ) from error


def forget_older(registry: Path, task: Task, fingerprint: str) -> None:
    """Remove what was noted for earlier versions: only the latest is asked for."""
    kept = _path(registry, task, fingerprint)
    for path in kept.parent.glob(f"{task}-*.json"):
        if path != kept:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                logger.warning("%s: this cannot be removed (%s)", path, error.strerror)


def last_learnt(registry: Path, task: Task, events: Iterable[Event]) -> Learnt | None:
    """Return what the latest version from corrections has learnt; None if there is none.

    Parameters
    ----------
    registry
        Folder of the registry.
    events
        Of its log, oldest first.
    """
    latest = None
    for event in events:
        if event.kind == "submitted" and event.task == task and event.reason.startswith(FROM_CORRECTIONS):
            latest = event
    if latest is None:
        return None
    fingerprint = str(latest.details.get("entry", {}).get("data_fingerprint", ""))
    at = datetime.fromisoformat(latest.at).astimezone().replace(tzinfo=None)
    return Learnt(latest.version, at, _read(_path(registry, task, fingerprint)))


def _path(registry: Path, task: Task, fingerprint: str) -> Path:
    return training_folder(registry) / _FOLDER / f"{task}-{fingerprint[:_DIGITS]}.json"


def _read(path: Path) -> frozenset[str] | None:
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
        return frozenset(str(label) for label in labels)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        logger.warning(
            "%s: this cannot be read (%s); corrections count as new from the version's time on.", path, error
        )
        return None
