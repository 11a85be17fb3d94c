"""What a training is told: frozen settings, with presets for reference data and for corrections."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from dermcheck.errors import ArgumentError

if TYPE_CHECKING:
    from dermcheck.networks.cards import ModelCard, Task
    from dermcheck.training.dendrites import DendriteSettings

__all__ = ["DEFAULT_ARCHITECTURES", "SAMPLING_POWER", "Layers", "Schedule", "TrainingConfiguration"]

Layers = Literal["all", "last_block"]

SAMPLING_POWER: Final = 0.6
"""Rare classes are drawn by frequency**(1 - power): 0 is natural, 1 balanced sampling."""
DEFAULT_ARCHITECTURES: Final[dict[Task, str]] = {"classification": "densenet121", "segmentation": "unet"}
_SIDE_STEP: Final = 32
"""Every architecture halves its input up to five times."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train. The view side may grow during training."""

    epochs: int
    sides: tuple[int, ...]
    """Sides of the views in pixels; the epochs are divided evenly among them."""
    batch: int = 32
    rate: float = 1e-3
    """Highest learning rate, reached after `warm_up` steps and followed by half a cosine."""
    warm_up: int = 300
    """Steps; a short training warms up for a quarter of its steps at most."""
    weight_decay: float = 0.02
    averaging: float = 0.998
    """Decay of the exponential moving average of the weights, which is what gets published; smaller in the
    first steps."""
    seed: int = 0
    patience: int | None = None
    """Stop after so many epochs without a better figure on fold 8, and publish the best epoch. None:
    train to the end and publish the last."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        _expect("epochs", self.epochs, self.epochs >= 1, "1 or more")
        fits = bool(self.sides) and all(side >= _SIDE_STEP and side % _SIDE_STEP == 0 for side in self.sides)
        _expect("side", self.sides, fits, f"multiples of {_SIDE_STEP} pixels")
        _expect("batch", self.batch, self.batch >= 2, "2 or more photographs")
        _expect("rate", self.rate, math.isfinite(self.rate) and self.rate > 0, "a number above 0")
        _expect("averaging", self.averaging, 0 <= self.averaging < 1, "a number from 0 to below 1")
        _expect("seed", self.seed, self.seed >= 0, "0 or more")
        _expect("patience", self.patience, self.patience is None or self.patience >= 1, "1 or more epochs")

    def side(self, epoch: int) -> int:
        """Side of the views in `epoch` (from 0).

        >>> [Schedule(epochs=4, sides=(96, 128)).side(epoch) for epoch in range(4)]
        [96, 96, 128, 128]
        """
        return self.sides[min(len(self.sides) - 1, epoch * len(self.sides) // self.epochs)]

    def rate_at(self, step: int, steps: int) -> float:
        """Learning rate of one step: linear warm-up times half a cosine."""
        warm_up = max(1, min(self.warm_up, steps // 4))
        warm = min(1.0, (step + 1) / warm_up)
        return self.rate * warm * 0.5 * (1 + math.cos(math.pi * step / steps))


@dataclass(frozen=True, kw_only=True)
class TrainingConfiguration:
    """All that decides a training besides its data; kept with every version of a model."""

    task: Task
    architecture: str
    schedule: Schedule
    dendrites: DendriteSettings | None = None
    """Grow dendrites; for classification only. The weights are not averaged then, since perforatedai
    keeps and restores the weights whose figure it was told."""
    layers: Layers = "all"
    """`last_block`: the head and the last block learn, everything below keeps its weights and statistics."""
    label_smoothing: float = 0.05
    sampling_power: float = SAMPLING_POWER
    corrections_share: float | None = None
    """Share of corrections among the drawn photographs, the rest being a replay of reference data. None:
    every photograph counts the same."""

    def __post_init__(self) -> None:
        """Refuse settings that exclude each other."""
        if self.dendrites is not None and self.task != "classification":
            raise ArgumentError(
                "Dendrites grow on the head of a classifier; an outliner has none. Leave the setting out."
            )

    @classmethod
    def reference(cls, task: Task, architecture: str | None = None) -> TrainingConfiguration:
        """Give the settings for training from scratch on some thousand photographs."""
        schedule = {
            "classification": Schedule(epochs=12, sides=(96, 128, 128), rate=2e-3, averaging=0.999),
            "segmentation": Schedule(epochs=6, sides=(128, 192), batch=16, rate=2e-3),
        }[task]
        return cls(
            task=task,
            architecture=architecture or DEFAULT_ARCHITECTURES[task],
            schedule=replace(schedule, patience=max(3, schedule.epochs // 2)),
        )

    @classmethod
    def corrections(cls, card: ModelCard) -> TrainingConfiguration:
        """Give the settings for going on from the model of `card` with some dozen labels.

        Few labels are soon learnt by heart, so the rate is low, the epochs few, and only the head and the
        last block learn; half of what is drawn is replayed reference data, where there is some.
        """
        return cls(
            task=card.task,
            architecture=card.architecture,
            schedule=Schedule(
                epochs=8,
                sides=(card.input.side,),
                batch=16,
                rate=2e-4,
                warm_up=10,
                averaging=0.9,
                patience=3,
            ),
            layers="last_block",
            corrections_share=0.5,
        )

    def to_json(self) -> dict[str, Any]:
        """Give the settings as JSON values."""
        return asdict(self)


def _expect(name: str, value: object, fits: bool, expected: str) -> None:
    if not fits:
        raise ArgumentError(f"The training's {name} is {value!r}, expected {expected}.")
