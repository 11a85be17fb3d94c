"""The registry: every version of the models, kept for good, and which of them is in use.

.. code-block:: text

    events.jsonl                       what happened; everything else follows from it
    versions/classification/classification-0001/
        card.json  weights.safetensors  entry.json
    versions/segmentation/...

Nothing in it is ever changed or deleted.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, get_args

from dermcheck.errors import ArgumentError, ModelError, NotFoundError, StorageError
from dermcheck.networks.cards import ModelCard, Task
from dermcheck.networks.checkpoint import WEIGHTS_NAME, load_model
from dermcheck.registry.events import Event, EventKind, EventLog, now
from dermcheck.registry.location import registry_root
from dermcheck.registry.private_files import make_private_folder
from dermcheck.registry.usage import line_of_use
from dermcheck.registry.versions import REFERENCE, ModelVersion, reference_versions, write_version

__all__ = ["Registry"]

_VERSIONS: Final = "versions"


class Registry:
    """The versions of both tasks' models in one folder.

    Every method reads the log anew, so it tells what other processes have done meanwhile. Several
    processes and threads may use one folder at the same time.

    Parameters
    ----------
    folder
        Absolute; need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = EventLog(folder)

    @classmethod
    def open(cls, folder: Path | None = None, *, must_exist: bool = False) -> Registry:
        """Open a folder, or the one that `registry_root` names; it is made by the first submission.

        Parameters
        ----------
        folder
            The registry's folder.
        must_exist
            Whether the folder must be there: so for one that a person has named, where its absence
            would be a slip of the pen.

        Raises
        ------
        ArgumentError
            If it is no folder, or absent though it must exist.
        """
        root = registry_root(folder)
        if root.exists() and not root.is_dir():
            raise ArgumentError(f"{root}: this is a file, expected the folder of a registry of models.")
        if must_exist and not root.exists():
            raise ArgumentError(
                f"{root}: there is no such registry of models. Check the spelling, or make the folder."
            )
        return cls(root)

    def versions(self, task: Task) -> list[ModelVersion]:
        """Return all versions of a task in the order of their submission, the reference first.

        Raises
        ------
        StorageError
            If the log cannot be read.
        ModelError
            If the card of the reference is damaged.
        """
        return self._versions(self.history(), task)

    def in_use(self, task: Task) -> ModelVersion:
        """Return the version that the log says is in use; its files may be damaged.

        Raises
        ------
        StorageError, ModelError
            As for `versions`.
        """
        return self.line_of_use(task)[0]

    def line_of_use(self, task: Task) -> list[ModelVersion]:
        """Return the version in use, then those that rolling back leads to; the reference comes last."""
        return self._line_of_use(self.history(), task)

    def find(self, name: str, task: Task | None = None) -> ModelVersion:
        """Find a version by its name.

        Raises
        ------
        ArgumentError
            If it is the reference and no task is given: there is one for each.
        NotFoundError
            If there is none of this name.
        """
        if name == REFERENCE and task is None:
            raise ArgumentError(
                f"There is a version {REFERENCE!r} of each task; say which: {' or '.join(get_args(Task))}."
            )
        tasks: Iterable[Task] = get_args(Task) if task is None else (task,)
        known = {version.name: version for each in tasks for version in self.versions(each)}
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {close[0]}?" if close else "See `dermcheck models list`."
            raise NotFoundError(f"There is no version {name!r} of the models in {self.folder}. {hint}")
        return known[name]

    def submit(
        self,
        candidate: Path,
        *,
        parent: str | None,
        data_fingerprint: str,
        configuration: Mapping[str, Any],
        who: str,
        reason: str = "trained",
    ) -> ModelVersion:
        """Keep a trained model as a new version, which is not in use yet.

        Its card is kept with the new version's name as its version, so that predictions, DICOM objects
        and the registry call a model by one name. The candidate's folder is only read.

        Parameters
        ----------
        candidate
            Folder with the weights and the card.
        parent
            Name of the version that the training started from; None if from scratch.
        data_fingerprint, configuration
            What it was trained on and how; JSON.
        who
            E.g. `current_account()`.
        reason
            Why it was made, for people.

        Raises
        ------
        ModelError
            If the candidate is damaged or incomplete.
        ArgumentError
            If the configuration cannot be written as JSON.
        NotFoundError
            If the parent is unknown.
        StorageError
            If it cannot be kept. The models in use are untouched.
        """
        _, card = load_model(candidate)
        weights = _read_weights(candidate, card)
        if parent is not None:
            self.find(parent, card.task)
        shelf = self.folder / _VERSIONS / card.task
        with self._log.exclusive() as append:
            for folder in (self.folder, self.folder / _VERSIONS, shelf):
                make_private_folder(folder)  # one by one: with parents, only the last would be private
            name = f"{card.task}-{self._next_number(card.task, shelf):04d}"
            version = ModelVersion(
                name=name,
                task=card.task,
                folder=shelf / name,
                parent=parent,
                data_fingerprint=data_fingerprint,
                configuration=dict(configuration),
                metrics=card.figures,
                who=who,
                when=now(),
            )
            version = _kept(version, card, weights)
            details = {"entry": version.entry(), "files": dict(version.files)}
            append(_event("submitted", version, who, reason, details))
        return version

    def promote(
        self,
        version: ModelVersion | str,
        reason: str,
        who: str,
        *,
        figures: Mapping[str, Any] | None = None,
        instead_of: str | None = None,
    ) -> Event:
        """Take a version into use.

        Parameters
        ----------
        version
            The version or its name.
        reason, figures
            Why, in words and, from the gate, in figures.
        who
            Who decided, or started the training that ended in it.
        instead_of
            Name of the version that must still be in use: the one that it was compared with.

        Raises
        ------
        ModelError
            If its files are damaged.
        ArgumentError
            If it is in use already, or another one than `instead_of` is.
        NotFoundError
            If it is unknown.
        StorageError
            If the log cannot be written.
        """
        version = self.find(version) if isinstance(version, str) else self.find(version.name, version.task)
        version.verify()
        with self._log.exclusive() as append:
            current = self._still_in_use(version, instead_of)
            if current.name == version.name:
                raise ArgumentError(f"{version.name} is in use for {version.task} already.")
            details = {"sha256": version.read_card().sha256, "instead_of": current.name}
            event = _event("promoted", version, who, reason, details | _figures(figures))
            append(event)
        return event

    def refuse(
        self,
        version: ModelVersion,
        reason: str,
        who: str,
        *,
        figures: Mapping[str, Any] | None = None,
        instead_of: str | None = None,
    ) -> Event:
        """Note that a version is not taken into use, and why; arguments as for `promote`.

        Raises
        ------
        ArgumentError
            If another version than `instead_of` is in use.
        StorageError
            If the log cannot be written.
        """
        with self._log.exclusive() as append:
            details = {"instead_of": self._still_in_use(version, instead_of).name}
            event = _event("refused", version, who, reason, details | _figures(figures))
            append(event)
        return event

    def rollback(self, task: Task, who: str, *, to: str | None = None, reason: str = "by hand") -> Event:
        """Go back to the version that was in use before, or to an earlier one.

        Parameters
        ----------
        task
            Of which model.
        who, reason
            Who decided, and why.
        to
            Name of a version that was in use earlier; `reference` always may be gone back to.

        Raises
        ------
        ArgumentError
            If nothing was in use before, or `to` never was.
        ModelError
            If the files of that version are damaged.
        StorageError
            If the log cannot be written.
        """
        with self._log.exclusive() as append:
            current, *earlier = self.line_of_use(task)
            if not earlier:
                raise ArgumentError(
                    f"{current.name} is in use for {task}, and no other version was before it: "
                    "there is nothing to go back to."
                )
            known = {version.name: version for version in reversed(earlier)}
            target = earlier[0] if to is None else known.get(to)
            if target is None:
                raise ArgumentError(
                    f"{to} is not among the versions of {task} that were in use before "
                    f"({', '.join(reversed(list(known)))}). Another one is taken into use by "
                    "`dermcheck models promote`."
                )
            target.verify()
            details = {"sha256": target.read_card().sha256, "instead_of": current.name}
            event = _event("rolled back", target, who, reason, details)
            append(event)
        return event

    def history(self) -> list[Event]:
        """Return all that happened, oldest first.

        Raises
        ------
        StorageError
            If the log cannot be read.
        """
        return list(self._log.read().events)

    def problems(self) -> list[str]:
        """Say in words what is not as it should be: lines cut off, folders that the log does not know.

        The files of the versions are checked by `ModelVersion.verify`.
        """
        content = self._log.read()
        problems = list(content.problems)
        for task in get_args(Task):
            known = {version.name for version in self._versions(content.events, task)}
            problems += [
                f"{name} was in use, but its submission is not in the log: it is left out."
                for name in dict.fromkeys(line_of_use(content.events, task))
                if name not in known
            ]
            shelf = self.folder / _VERSIONS / task
            folders = sorted(shelf.iterdir()) if shelf.is_dir() else []
            problems += [
                f"{folder}: this folder is not in the log, as its submission was interrupted. It is not used."
                for folder in folders
                if folder.name not in known
            ]
        return problems

    def stamp(self) -> object:
        """Return what differs after any event, at the price of one look at the log's size and time."""
        try:
            status = self._log.path.stat()
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    def _still_in_use(self, version: ModelVersion, instead_of: str | None) -> ModelVersion:
        """Return the version in use, which `version` was compared with."""
        current = self.in_use(version.task)
        if instead_of is not None and current.name != instead_of:
            raise ArgumentError(
                f"{version.name} was compared with {instead_of}, but {current.name} is in use meanwhile. "
                "Compare it with that one."
            )
        return current

    def _versions(self, events: Iterable[Event], task: Task) -> list[ModelVersion]:
        submitted = [event for event in events if event.kind == "submitted" and event.task == task]
        shelf = self.folder / _VERSIONS / task
        return [*reference_versions(task), *(_from_event(event, shelf) for event in submitted)]

    def _line_of_use(self, events: list[Event], task: Task) -> list[ModelVersion]:
        known = {version.name: version for version in self._versions(events, task)}
        return [known[name] for name in line_of_use(events, task) if name in known]

    def _next_number(self, task: Task, shelf: Path) -> int:
        """Return a number that no version has or had, not even one whose submission was interrupted."""
        names = [event.version for event in self.history()] + [path.name for path in shelf.iterdir()]
        numbers = [int(match[1]) for name in names if (match := re.fullmatch(rf"{task}-(\d+)", name))]
        return max(numbers, default=0) + 1


def _kept(version: ModelVersion, card: ModelCard, weights: bytes) -> ModelVersion:
    try:
        files = write_version(version, replace(card, version=version.name), weights)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"The configuration of {version.task} cannot be kept as JSON ({error})."
        ) from error
    return replace(version, files=files)


def _read_weights(candidate: Path, card: ModelCard) -> bytes:
    try:
        weights = (candidate / WEIGHTS_NAME).read_bytes()
    except OSError as error:
        raise StorageError(f"{candidate}: the weights cannot be read ({error.strerror}).") from error
    if hashlib.sha256(weights).hexdigest() != card.sha256:
        raise ModelError(f"{candidate}: the weights were changed while they were read. Submit it again.")
    return weights


def _from_event(event: Event, shelf: Path) -> ModelVersion:
    """Make the version that an event tells of; what an entry lacks stays empty."""
    entry = event.details.get("entry", {})
    files = event.details.get("files", {})
    return ModelVersion(
        name=event.version,
        task=event.task,
        folder=shelf / event.version,
        parent=entry.get("parent"),
        data_fingerprint=entry.get("data_fingerprint", ""),
        configuration=entry.get("configuration", {}),
        metrics=entry.get("metrics", {}),
        who=event.who,
        when=entry.get("when", event.at),
        files=files,
    )


def _event(
    kind: EventKind, version: ModelVersion, who: str, reason: str, details: Mapping[str, Any]
) -> Event:
    return Event(
        at=now(), kind=kind, task=version.task, version=version.name, who=who, reason=reason, details=details
    )


def _figures(figures: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if figures is None else {"figures": dict(figures)}
