"""The training loop shared by all networks: schedule, averaging, precision, checkpoints, log."""

from __future__ import annotations

import copy
import csv
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from dermcheck.errors import DermCheckError

__all__ = ["Schedule", "TrainingError", "fastest_precision", "fit"]

logger = logging.getLogger(__name__)

Rows = npt.NDArray[np.int64]
Draw = Callable[[int], Rows]
"""Gives the rows of the images of one epoch (from 0), in order."""
Loss = Callable[[nn.Module, Rows, int, torch.Generator], Tensor]
"""Loss of a network on the given rows at the given side; random choices use the generator."""
Evaluate = Callable[[nn.Module], dict[str, float]]
"""Figures of the averaged network after an epoch."""


class TrainingError(DermCheckError, RuntimeError):
    """Training cannot go on; the message says why and what to do."""


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
    weight_decay: float = 0.02
    averaging: float = 0.998
    """Decay of the exponential moving average of the weights, which is what gets published."""
    seed: int = 0

    def side(self, epoch: int) -> int:
        """Side of the views in `epoch` (from 0).

        >>> [Schedule(epochs=4, sides=(96, 128)).side(epoch) for epoch in range(4)]
        [96, 96, 128, 128]
        """
        return self.sides[min(len(self.sides) - 1, epoch * len(self.sides) // self.epochs)]

    def rate_at(self, step: int, steps: int) -> float:
        """Learning rate of one step: linear warm-up times half a cosine."""
        warm = min(1.0, (step + 1) / self.warm_up)
        return self.rate * warm * 0.5 * (1 + math.cos(math.pi * step / steps))


def fastest_precision(network: nn.Module, side: int, batch: int) -> torch.dtype:
    """Time a training step in float32 and bfloat16 and return the faster type.

    bfloat16 halves the time on processors with AMX or AVX512_BF16 and multiplies it by ten on
    others, so it is measured, never assumed.
    """
    network = copy.deepcopy(network).train()  # the trial must leave no trace in the batch statistics
    example = torch.rand(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
    seconds: dict[torch.dtype, float] = {}
    for precision in (torch.float32, torch.bfloat16):
        times = []
        for _ in range(2):
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
                output = network(example)
            output.float().square().mean().backward()
            network.zero_grad(set_to_none=True)
            times.append(time.perf_counter() - start)
            if times[-1] > 5 * seconds.get(torch.float32, math.inf):
                break
        seconds[precision] = min(times)
    chosen = min(seconds, key=lambda precision: seconds[precision])
    logger.info("a step of %d images at %d px: %s; training in %s", batch, side, seconds, chosen)
    return chosen


def fit(
    network: nn.Module,
    schedule: Schedule,
    draw: Draw,
    loss: Loss,
    evaluate: Evaluate,
    run: Path,
    checkpoint_minutes: float = 3.0,
    precision: torch.dtype | None = None,
) -> nn.Module:
    """Train `network` and return the average of its weights.

    A run that was stopped or killed continues from its last checkpoint in the folder `run`; the
    figures of each epoch are appended to ``run/log.csv``. The precision is measured at each start
    unless it is given, so that a run may continue on another machine.

    Raises
    ------
    TrainingError
        If the loss is not a number, or `run` holds another schedule's checkpoint.
    """
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(schedule.seed)
    precision = precision or fastest_precision(network, schedule.sides[0], schedule.batch)
    state = _State(network, schedule, run / "checkpoint.pt")
    per_epoch = len(draw(0)) // schedule.batch
    saved = started = time.monotonic()
    for epoch in range(state.step // per_epoch, schedule.epochs):
        rows, losses = draw(epoch), []
        network.train()
        first = state.step - epoch * per_epoch
        progress = tqdm(range(first, per_epoch), desc=f"epoch {epoch + 1}/{schedule.epochs}", mininterval=5)
        for i in progress:
            state.set_rate(schedule.rate_at(state.step, per_epoch * schedule.epochs))
            generator = torch.Generator().manual_seed(schedule.seed * 1_000_003 + state.step)
            batch = rows[i * schedule.batch : (i + 1) * schedule.batch]
            with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
                value = loss(network, batch, schedule.side(epoch), generator)
            state.descend(value)
            losses.append(value.item())
            if time.monotonic() - saved > 60 * checkpoint_minutes:
                state.save()
                saved = time.monotonic()
        state.save()
        figures = {
            "epoch": epoch + 1.0,
            "side": float(schedule.side(epoch)),
            "loss": float(np.mean(losses)) if losses else float("nan"),
            "minutes": (time.monotonic() - started) / 60,
            **evaluate(state.average.module.eval()),
        }
        _log(run / "log.csv", figures)
    return state.average.module.eval()


class _State:
    """Everything that a run must remember to continue as if it had never been stopped."""

    def __init__(self, network: nn.Module, schedule: Schedule, path: Path) -> None:
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        averaging = get_ema_multi_avg_fn(schedule.averaging)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(network, multi_avg_fn=averaging, use_buffers=True)
        self.optimizer = torch.optim.AdamW(
            network.parameters(), schedule.rate, weight_decay=schedule.weight_decay
        )
        self.step = 0
        self.schedule = {name: repr(value) for name, value in asdict(schedule).items()}
        self.path = path
        if path.exists():
            self._restore()

    def _restore(self) -> None:
        state = torch.load(self.path, weights_only=True)
        if state["schedule"] != self.schedule:
            raise TrainingError(
                f"{self.path} belongs to a run with another schedule ({state['schedule']}, now "
                f"{self.schedule}); train in an empty folder or restore the schedule"
            )
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        logger.info("continuing %s at step %d", self.path.parent, self.step)

    def save(self) -> None:
        """Write the checkpoint complete or not at all."""
        partial = self.path.with_suffix(".partial")
        torch.save(
            {
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "schedule": self.schedule,
            },
            partial,
        )
        partial.replace(self.path)

    def set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def descend(self, loss: Tensor) -> None:
        """Take one step of the optimizer and of the average."""
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss.item()} at step {self.step}: lower the learning rate and start "
                f"again; {self.path} still holds the last good state"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.average.update_parameters(self.network)
        self.step += 1


def _log(path: Path, figures: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(figures)
        writer.writerow(f"{value:.4f}" for value in figures.values())
    logger.info(" ".join(f"{name}={value:.4f}" for name, value in figures.items()))
