"""What somebody asked for: which model shall learn from which photographs, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dermcheck.errors import ArgumentError
from dermcheck.networks.architectures import ARCHITECTURES
from dermcheck.training.configuration import TrainingConfiguration

if TYPE_CHECKING:
    from dermcheck.networks.cards import ModelCard, Task
    from dermcheck.training.dendrites import DendriteSettings

__all__ = ["REFERENCE_VARIABLE", "TrainingOrder"]

REFERENCE_VARIABLE: Final = "DERMCHECK_REFERENCE_DATA"
"""Environment variable that names the data set to replay where none is named otherwise."""

_LARGE_SIDE: Final = 192
_BATCH_OF_LARGE_SIDES: Final = 16
"""So that DenseNet121 trains at 224 px in 2.1 GB of memory; 32 photographs take 3.7 GB."""


@dataclass(frozen=True, kw_only=True)
class TrainingOrder:
    """One training as it was asked for; what is None follows `TrainingConfiguration`."""

    task: Task
    data: tuple[Path, ...] = ()
    """Data sets to learn from, from scratch."""
    studies: str | None = None
    """Folder or DICOMweb address of the studies whose corrections are learnt from."""
    from_corrections: bool = False
    """Whether to go on from the model in use, with corrections, instead of training from scratch."""
    reference_data: tuple[Path, ...] = ()
    """With `from_corrections`: data sets that are replayed so that nothing is forgotten, and judged on."""
    architecture: str | None = None
    epochs: int | None = None
    rate: float | None = None
    batch: int | None = None
    side: int | None = None
    seed: int | None = None
    dendrites: DendriteSettings | None = None
    command: str = "dermcheck train"
    """For the model's card."""
    who: str = ""
    """For the registry's log."""
    occasion: str = ""
    """Why just now, for the registry's log; empty where a person asked."""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises
        ------
        ArgumentError
            If so.
        """
        if self.from_corrections:
            self._check_corrections()
        elif self.reference_data:
            raise ArgumentError(
                "--reference-data is replayed beside corrections: it needs --from-corrections. To train from "
                "scratch, name the data set with --data."
            )
        elif not self.data:
            raise ArgumentError(
                "What shall be learnt from? Name a data set (--data DIR), or go on from the model in use "
                "with the corrections of your studies (--from-corrections --studies DIR_OR_URL)."
            )
        known = [name for name, entry in ARCHITECTURES.items() if entry.task == self.task]
        if self.architecture is not None and self.architecture not in known:
            raise ArgumentError(
                f"--architecture is {self.architecture!r}, expected {' or '.join(known)} for {self.task}."
            )

    def configuration(self, start: ModelCard | None) -> TrainingConfiguration:
        """Give all settings.

        Parameters
        ----------
        start
            Card of the model in use, for a training from corrections.

        Raises
        ------
        ArgumentError
            If a setting is out of its range.
        """
        preset = (
            TrainingConfiguration.reference(self.task, self.architecture)
            if start is None
            else TrainingConfiguration.corrections(start)
        )
        schedule = preset.schedule
        changes: dict[str, Any] = {
            name: value
            for name in ("epochs", "rate", "batch", "seed")
            if (value := getattr(self, name)) is not None
        }
        if self.side is not None:
            changes["sides"] = (self.side,)
            if self.batch is None and self.side >= _LARGE_SIDE:
                changes["batch"] = min(schedule.batch, _BATCH_OF_LARGE_SIDES)
        if self.dendrites is not None and self.epochs is None:  # each dendrite has its own time to learn
            changes["epochs"] = schedule.epochs * (1 + self.dendrites.most)
        return replace(preset, schedule=replace(schedule, **changes), dendrites=self.dendrites)

    def _check_corrections(self) -> None:
        if not self.studies:
            raise ArgumentError(
                "Whose corrections? Name the studies' folder or address: --from-corrections --studies "
                "DIR_OR_URL."
            )
        if self.data:
            raise ArgumentError(
                "--data trains from scratch, --from-corrections goes on from the model in use: give one of "
                "them. A data set that shall be replayed beside the corrections is named by --reference-data."
            )
        for name in ("architecture", "side"):
            if getattr(self, name) is not None:
                raise ArgumentError(
                    f"--{name} is that of the model in use where training goes on from it: leave it out."
                )
