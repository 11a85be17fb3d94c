"""One version of a model: its files, where it comes from, and whether they are still what they were."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dermcheck.errors import ModelError, StorageError
from dermcheck.files import remove_abandoned, write_folder
from dermcheck.networks.cards import ModelCard, Task
from dermcheck.networks.checkpoint import CARD_NAME, REFERENCE_MODELS, WEIGHTS_NAME, StoredModel, read_card

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "ENTRY_NAME",
    "REFERENCE",
    "ModelVersion",
    "folder_version",
    "reference_versions",
    "write_version",
]

ENTRY_NAME: Final = "entry.json"
REFERENCE: Final = "reference"
"""Name of the version that comes with DermCheck and is in use at first, of either task."""

_ROLES: Final[Mapping[Task, str]] = {"classification": "classifier", "segmentation": "outliner"}
_FURTHER: Final[Mapping[Task, Mapping[str, str]]] = {
    "classification": {"reference-densenet121": "classifier_densenet121"},
    "segmentation": {},
}
"""Further versions that come with DermCheck, and their folders; in use only where somebody promotes them."""
_FILES: Final = (CARD_NAME, WEIGHTS_NAME, ENTRY_NAME)


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """One version of a task's model; its files may have been damaged since."""

    name: str
    """`reference`, or the task and a running number: ``classification-0003``. The card's version too."""
    task: Task
    folder: Path
    """With the weights, the card and `entry.json`."""
    parent: str | None = None
    """Name of the version that its training started from."""
    data_fingerprint: str = ""
    """Of what it was trained on, as `DataSet.fingerprint` gives it."""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    """Of its training."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """The card's figures."""
    who: str = ""
    when: str = ""
    """ISO 8601, of the submission."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file, as noted in the registry's log; empty for the reference."""

    @property
    def is_reference(self) -> bool:
        """Whether it comes with DermCheck."""
        return self.name == REFERENCE or self.name in _FURTHER[self.task]

    def read_card(self) -> ModelCard:
        """Read its card.

        Raises
        ------
        ModelError
            If the card is missing, damaged, or not the one that was submitted.
        """
        self._check_file(CARD_NAME)
        return read_card(self.folder)

    def load(self) -> tuple[nn.Module, ModelCard]:
        """Load it for prediction.

        Raises
        ------
        ModelError
            If a file is missing, damaged, or not the one that was submitted.
        """
        model = self.open()
        return model.network(), model.card

    def open(self) -> StoredModel:
        """Read and check its files; the network is built when it is asked for, which takes a second.

        Raises
        ------
        ModelError
            If a file is missing, damaged, or not the one that was submitted.
        """
        self.read_card()
        return StoredModel(self.folder)  # checks the weights against the card

    def verify(self) -> None:
        """Check every file by its hash, without loading the model.

        Raises
        ------
        ModelError
            If a file is missing, damaged, or not the one that was submitted.
        """
        card = self.read_card()
        self._check_file(ENTRY_NAME)
        if card.task != self.task:
            raise ModelError(f"{self.folder}: this is a model for {card.task}, expected one for {self.task}.")
        expected = card.sha256
        if (found := _hash_of(self.folder / WEIGHTS_NAME)) != expected:
            raise ModelError(_changed(self.folder / WEIGHTS_NAME, found, expected))

    def entry(self) -> dict[str, Any]:
        """Say as JSON where the version comes from: the content of `entry.json`."""
        return {
            "name": self.name,
            "task": self.task,
            "parent": self.parent,
            "data_fingerprint": self.data_fingerprint,
            "configuration": dict(self.configuration),
            "metrics": dict(self.metrics),
            "who": self.who,
            "when": self.when,
        }

    def _check_file(self, name: str) -> None:
        expected = self.files.get(name)
        if expected is not None and (found := _hash_of(self.folder / name)) != expected:
            raise ModelError(_changed(self.folder / name, found, expected))


def folder_version(models: Path, task: Task) -> ModelVersion:
    """Return what a folder with `classifier` and `outliner` has for a task; its card names the version.

    Raises
    ------
    ModelError
        If the card is missing or damaged.
    """
    folder = models / _ROLES[task]
    card = read_card(folder)
    return ModelVersion(name=card.version, task=task, folder=folder, metrics=card.figures, when=card.created)


def reference_versions(task: Task) -> list[ModelVersion]:
    """Return all versions that come with DermCheck, the one that is in use at first before the others.

    Raises
    ------
    ModelError
        If a card is missing or damaged.
    """
    folders = {REFERENCE: _ROLES[task], **_FURTHER[task]}
    return [_shipped(name, task, REFERENCE_MODELS / folder) for name, folder in folders.items()]


def _shipped(name: str, task: Task, folder: Path) -> ModelVersion:
    card = read_card(folder)
    return ModelVersion(
        name=name,
        task=task,
        folder=folder,
        configuration={"command": card.command},
        metrics=card.figures,
        who="DermCheck",
        when=card.created,
    )


def write_version(version: ModelVersion, card: ModelCard, weights: bytes) -> dict[str, str]:
    """Write a version's folder, completely or not at all; return the SHA-256 of each file.

    Raises
    ------
    StorageError
        If the disk refuses.
    """
    entry = json.dumps(version.entry(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    content = dict(zip(_FILES, (card.to_json().encode(), weights, entry.encode()), strict=True))
    try:
        remove_abandoned(version.folder.parent)
        write_folder(version.folder, content, private=True)
    except OSError as error:
        raise StorageError(
            f"{version.folder}: the model could not be kept ({error.strerror}); the models in use are "
            "untouched. Free some space, or make the folder writable."
        ) from error
    return {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}


def _hash_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError as error:
        raise ModelError(
            f"{path}: this file of the model is missing. Roll back to another version."
        ) from error
    except OSError as error:
        raise ModelError(f"{path}: this file of the model cannot be read ({error.strerror}).") from error


def _changed(path: Path, found: str, expected: str) -> str:
    return (
        f"{path}: the SHA-256 of this file is {found}, expected {expected or 'one on the card'}. "
        "It is damaged or was exchanged: roll back to another version (dermcheck models rollback)."
    )
