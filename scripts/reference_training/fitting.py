"""The training loop of the campaign: a schedule over minutes, so that the time at hand is used whole.

A run is killed and resumed without losing more than two minutes, and the minutes of all its parts count.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dermcheck.training.numerics import Numerics

__all__ = ["Average", "Clock", "Lesson", "Plan", "fit"]

logger = logging.getLogger(__name__)

_SAVE_EVERY = 120.0
"""Seconds."""


@dataclass(frozen=True)
class Plan:
    """How long and how fast one stage trains."""

    minutes: float
    sides: tuple[tuple[float, int, int], ...]
    """(share of the time up to which it holds, side of the views in pixels, batch)."""
    rate: float
    weight_decay: float = 0.05
    averaging: float = 0.998
    warm_up: float = 0.04
    """Share of the time in which the learning rate rises; half a cosine follows."""
    examinations: int = 4
    seed: int = 0

    def at(self, share: float) -> tuple[int, int]:
        """Side and batch after this share of the time."""
        return next(((side, batch) for end, side, batch in self.sides if share < end), self.sides[-1][1:])

    def rate_at(self, share: float) -> float:
        """Learning rate after this share of the time."""
        return self.rate * min(1.0, share / self.warm_up) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


class Lesson(Protocol):
    """What is taught, and how it is examined."""

    def loss(self, network: nn.Module, side: int, batch: int, numerics: Numerics) -> Tensor:
        """Draw a batch and compute its loss."""
        ...

    def examine(self, network: nn.Module, numerics: Numerics) -> dict[str, float]:
        """Measure the averaged network on fold 8."""
        ...


class Average:
    """Exponential moving average of a network's weights and statistics."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the network of one more step; the first steps count more than the decay says."""
        self.steps += 1
        weight = 1 - min(self.decay, self.steps / (self.steps + 10))
        current = network.state_dict()
        floats = [name for name, value in current.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [self.state[name] for name in floats], [current[name] for name in floats], weight
        )
        for name in current.keys() - set(floats):
            self.state[name].copy_(current[name])


class Clock:
    """Share of a stage's time that has passed, over all parts of a run."""

    def __init__(self, minutes: float, spent: float = 0.0) -> None:
        self._start, self._all = time.monotonic() - spent, minutes * 60

    @property
    def spent(self) -> float:
        """Seconds."""
        return time.monotonic() - self._start

    @property
    def share(self) -> float:
        """0 to 1."""
        return min(1.0, self.spent / self._all)


def fit(network: nn.Module, plan: Plan, lesson: Lesson, numerics: Numerics, run: Path) -> dict[str, Tensor]:
    """Train for the plan's minutes and return the averaged weights on the processor.

    Parameters
    ----------
    run
        Folder for the checkpoint and ``log.csv``; what is in it is gone on with.
    """
    run.mkdir(parents=True, exist_ok=True)
    checkpoint = run / "checkpoint.pt"
    torch.manual_seed(plan.seed)
    groups, fused = _groups(network, plan.weight_decay), numerics.device.type == "cuda"
    optimizer = torch.optim.AdamW(groups, lr=plan.rate, fused=fused)
    average, clock, step, views = Average(network, plan.averaging), Clock(plan.minutes), 0, 0
    if checkpoint.exists():
        kept = torch.load(checkpoint, map_location=numerics.device, weights_only=True)
        network.load_state_dict(kept["network"])
        optimizer.load_state_dict(kept["optimizer"])
        average.state, average.steps = kept["average"], kept["average_steps"]
        clock, step, views = Clock(plan.minutes, kept["seconds"]), kept["step"], kept["views"]
        torch.manual_seed(plan.seed + step)  # another stretch draws other views
    saved, examined, losses = clock.spent, int(clock.share * plan.examinations), torch.zeros(2)
    network.train()
    while (share := clock.share) < 1:
        side, batch = plan.at(share)
        for group in optimizer.param_groups:
            group["lr"] = plan.rate_at(share)
        loss = lesson.loss(network, side, batch, numerics)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        average.update(network)
        step, views = step + 1, views + batch
        if step % 50 == 0:
            losses += torch.tensor([float(loss.detach()), 1.0])
            if not math.isfinite(float(losses[0])):
                raise FloatingPointError(
                    f"The loss is {float(loss.detach())} at step {step}; lower the rate."
                )
        if int(clock.share * plan.examinations) > examined and clock.share < 1:
            examined = int(clock.share * plan.examinations)
            _report(run, lesson, network, average, numerics, _line(clock, step, views, side, losses))
            losses = torch.zeros(2)
        if clock.spent - saved > _SAVE_EVERY:
            saved = clock.spent
            _save(checkpoint, network, optimizer, average, clock, step, views)
    _report(run, lesson, network, average, numerics, _line(clock, step, views, plan.sides[-1][1], losses))
    return {name: value.cpu() for name, value in average.state.items()}


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Keep biases and normalisations from decaying."""
    weights = [value for value in network.parameters() if value.ndim > 1]
    others = [value for value in network.parameters() if value.ndim <= 1]
    return [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _line(clock: Clock, step: int, views: int, side: int, losses: Tensor) -> dict[str, float]:
    loss = float(losses[0] / losses[1].clamp(min=1))
    return {
        "seconds": round(clock.spent, 1),
        "step": step,
        "views": views,
        "side": side,
        "loss": round(loss, 4),
    }


def _report(
    run: Path,
    lesson: Lesson,
    network: nn.Module,
    average: Average,
    numerics: Numerics,
    line: dict[str, float],
) -> None:
    own = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(average.state)
    network.eval()
    line |= {name: round(value, 4) for name, value in lesson.examine(network, numerics).items()}
    network.load_state_dict(own)
    network.train()
    log = run / "log.csv"
    header = "" if log.exists() else ",".join(line) + "\n"
    with log.open("a") as file:
        file.write(header + ",".join(map(str, line.values())) + "\n")
    logger.info(", ".join(f"{name} {value}" for name, value in line.items()))


def _save(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Average,
    clock: Clock,
    step: int,
    views: int,
) -> None:
    new = path.with_suffix(".new")
    torch.save(
        {
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "average": average.state,
            "average_steps": average.steps,
            "seconds": clock.spent,
            "step": step,
            "views": views,
        },
        new,
    )
    new.replace(path)
