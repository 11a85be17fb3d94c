"""Everything that a training must remember to go on as if it had never been stopped."""

from __future__ import annotations

import io
import logging
import math
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dermcheck.errors import DermCheckError, StorageError
from dermcheck.files import replace_file
from dermcheck.training.configuration import Schedule
from dermcheck.training.numerics import Numerics

if TYPE_CHECKING:
    from dermcheck.training.dendrites import DendriteGrowth

__all__ = ["CHECKPOINT_NAME", "Grow", "TrainingError", "TrainingState"]

logger = logging.getLogger(__name__)

CHECKPOINT_NAME: Final = "checkpoint.pt"

Grow = Callable[[Mapping[str, Any] | None], "DendriteGrowth"]
"""Starts growth on the network, or restores it from the state of a checkpoint."""


class TrainingError(DermCheckError, RuntimeError):
    """Training cannot go on; the message says why and what to do."""


class TrainingState:
    """Network, average, optimizer and counters of one run; restored from its checkpoint if there is one.

    Parameters
    ----------
    network
        Plain; only parameters that require a gradient are trained.
    identity
        Of the data and of settings beside the schedule: a checkpoint of another identity is refused.
    grow
        Makes dendrites grow; the weights are not averaged then.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        path: Path,
        numerics: Numerics,
        identity: str = "",
        grow: Grow | None = None,
    ) -> None:
        self.network = numerics.place_network(network)
        self.schedule = schedule
        self.path = path
        self.step = 0
        self.examined = 0
        """Epochs that were trained and examined."""
        self.phase_start = 0
        """Step at which the network was restructured last; the learning rate starts anew there."""
        self.best_score: float | None = None
        self.best_epoch: int | None = None
        self.finished = False
        self.grown = False
        """Whether growth has ended, with its best weights in the network."""
        self.history: list[dict[str, float]] = []
        self._best: dict[str, Tensor] | None = None
        self._settings = {name: repr(getattr(schedule, name)) for name in schedule.__dataclass_fields__}
        self._identity = identity
        saved = self._read() if path.exists() else None
        self.growth = grow(saved["growth"] if saved else None) if grow else None
        self.renew()
        if saved:
            self._restore(saved)

    @property
    def published(self) -> nn.Module:
        """The network that is examined: the average of the weights, or the growing network itself."""
        return self.network if self.average is None else self.average.module

    def renew(self) -> None:
        """Make average and optimizer anew, for the network as it is now."""
        self.average = (
            None
            if self.growth
            else AveragedModel(
                self.network, multi_avg_fn=_average_of(self.schedule.averaging), use_buffers=True
            )
        )
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(
            trained, self.schedule.rate, weight_decay=self.schedule.weight_decay
        )
        self.phase_start = self.step

    def set_to_training(self) -> None:
        """Set training mode, but not for frozen layers, whose batch statistics shall stay."""
        self.network.train()
        for module in self.network.modules():
            parameters = list(module.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                module.eval()

    def descend(self, loss: Tensor, rate: float) -> None:
        """Take one step of the optimizer and of the average.

        Raises
        ------
        TrainingError
            If the loss is not a number.
        """
        if not torch.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss.item()} at step {self.step}: the learning rate is too high. Lower it "
                "(--rate) and start again; the models in use are untouched."
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        self.step += 1

    def note(self, figures: dict[str, float], score: float) -> None:
        """Take note of an epoch's figures; decide whether it is the best, and whether to go on.

        A later epoch that is as good replaces an earlier one: it has learnt more.
        """
        self.examined += 1
        self.history.append(figures)
        if math.isfinite(score) and (self.best_score is None or score >= self.best_score):
            self.best_score, self.best_epoch = score, self.examined
            if self.schedule.patience is not None and self.growth is None:
                self._best = {name: value.clone() for name, value in self.published.state_dict().items()}
        self.finished = self.examined >= self.schedule.epochs
        if self.growth is not None:
            step = self.growth.after_epoch(score)
            figures["dendrites"] = float(step.dendrites)
            self.grown = step.finished
            self.finished |= step.finished
            if step.restructured and not self.finished:
                self.renew()
        elif self.schedule.patience is not None:
            self.finished |= self.examined - (self.best_epoch or 0) >= self.schedule.patience

    def result(self) -> nn.Module:
        """Give the trained network in evaluation mode, in plain torch."""
        if self.growth is not None:
            if not self.grown:
                self.growth.load_best()
            return self.growth.export()
        if self._best is not None:
            self.published.load_state_dict(self._best)
        return self.published.eval()

    def save(self) -> None:
        """Write the checkpoint complete or not at all.

        Raises
        ------
        StorageError
            If the disk refuses; the last checkpoint is kept.
        """
        content = io.BytesIO()
        torch.save(self._content(), content)
        try:
            replace_file(self.path, content.getbuffer())
        except OSError as error:
            raise StorageError(
                f"{self.path}: the checkpoint of {content.getbuffer().nbytes / 2**20:,.0f} MiB cannot be "
                f"written ({error.strerror}). Free some space and run the same command again: it goes on "
                "where it was.",
            ) from error

    def _content(self) -> dict[str, Any]:
        return {
            "schedule": self._settings,
            "identity": self._identity,
            "network": self.network.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "optimizer": self.optimizer.state_dict(),
            "growth": self.growth.state() if self.growth else None,
            "best": self._best,
            **{name: getattr(self, name) for name in _COUNTERS},
        }

    def _read(self) -> dict[str, Any]:
        try:
            saved: dict[str, Any] = torch.load(self.path, weights_only=True, map_location="cpu")
            found, identity = saved["schedule"], saved["identity"]
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
            raise TrainingError(
                f"{self.path}: this checkpoint cannot be read ({type(error).__name__}). Train in an empty "
                "folder."
            ) from error
        different = [
            f"{k} {v}, now {self._settings.get(k)}" for k, v in found.items() if v != self._settings.get(k)
        ]
        if different:
            raise TrainingError(
                f"{self.path} belongs to a run with another schedule ({'; '.join(different)}). Train in an "
                "empty folder, or use the same settings as before."
            )
        if identity != self._identity:
            raise TrainingError(
                f"{self.path} belongs to a run with other data or other settings. Train in an empty folder."
            )
        return saved

    def _restore(self, saved: Mapping[str, Any]) -> None:
        self.network.load_state_dict(saved["network"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self._best = saved["best"]
        for name in _COUNTERS:
            setattr(self, name, saved[name])
        logger.info("%s: going on at step %d, after %d epochs.", self.path.parent, self.step, self.examined)


def _average_of(decay: float) -> Callable[..., None]:
    """Average exponentially; at first with a smaller decay, or a short training would publish its start."""

    def update(averaged: Any, current: Any, count: Tensor | int) -> None:
        steps = int(count)
        now = min(decay, (1 + steps) / (10 + steps))
        get_ema_multi_avg_fn(now)(averaged, current, count)  # type: ignore[no-untyped-call]

    return update


_COUNTERS: Final = (
    "step", "examined", "phase_start", "best_score", "best_epoch", "finished", "grown", "history"
)  # fmt: skip
