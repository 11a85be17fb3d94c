"""On which device and in which number format a network trains fastest: timed, never assumed.

bfloat16 halves the time on processors with AMX or AVX512_BF16 and multiplies it by ten on others;
channels-last memory helps one network and hinders another.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import platform
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from dermcheck.files import replace_file

__all__ = ["Numerics", "best_device", "fastest_numerics", "remembered_numerics"]

logger = logging.getLogger(__name__)

_TRIAL_BATCHES: Final = (4, 16)
"""On a processor the time grows with the batch. A few photographs tell what is hopeless; but a step in
bfloat16 also converts all weights, which among a few hides that it is the faster way with a batch."""
_HOPELESS: Final = 2.0
"""What takes this many times the best is not timed any more."""


@dataclass(frozen=True)
class Numerics:
    """How the numbers of a training are computed and laid out; the weights themselves stay float32."""

    device: torch.device
    precision: torch.dtype = torch.float32
    """Of the arithmetic: bfloat16 means automatic mixed precision."""
    memory_format: torch.memory_format = torch.channels_last

    def autocast(self) -> torch.autocast:
        """Make the context that the forward pass and the loss run in."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision is torch.bfloat16)

    def place(self, pixels: Tensor) -> Tensor:
        """Bring a batch (N, C, H, W) to the device, in the memory format."""
        return pixels.to(self.device, memory_format=self.memory_format, non_blocking=True)

    def place_network(self, network: nn.Module) -> nn.Module:
        """Bring a network to the device, in the memory format."""
        return network.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload, no-any-return]

    def __str__(self) -> str:
        """Name them, e.g. ``float32 channels_last on cpu``."""
        names = (str(value).removeprefix("torch.") for value in (self.precision, self.memory_format))
        return f"{' '.join(names)} on {self.device}"


def best_device() -> torch.device:
    """Return the graphics card where PyTorch can use one, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def fastest_numerics(
    network: nn.Module, side: int, batch: int, device: torch.device | None = None
) -> Numerics:
    """Time a training step in each way and return the fastest. The network itself is not touched.

    Parameters
    ----------
    side, batch
        Of the training; on the processor a few photographs stand for the batch.
    device
        By default `best_device`.
    """
    device = device or best_device()
    ways = [
        Numerics(device, torch.float32, layout) for layout in (torch.channels_last, torch.contiguous_format)
    ]
    if device.type == "cpu" or (device.type == "cuda" and torch.cuda.is_bf16_supported()):
        ways.append(Numerics(device, torch.bfloat16, torch.channels_last))
    batches = sorted({min(batch, trial) for trial in _TRIAL_BATCHES}) if device.type == "cpu" else [batch]
    for trial in batches:
        seconds: dict[Numerics, float] = {}
        for way in ways:
            best = min(seconds.values(), default=math.inf)
            seconds[way] = _seconds_of_a_step(network, way, side, trial, best)
        ways = [way for way in ways if seconds[way] <= _HOPELESS * min(seconds.values())]
    chosen = min(seconds, key=lambda way: seconds[way])
    times = ", ".join(f"{way} {time:.3f} s" for way, time in seconds.items())
    logger.info("A step of %d photographs of %d px: %s. Training in %s.", batches[-1], side, times, chosen)
    return chosen


def remembered_numerics(
    path: Path, name: str, network: nn.Module, side: int, batch: int, device: torch.device | None = None
) -> Numerics:
    """Return what was the fastest the first time, so that the same training gives the same model again.

    Two ways may be equally fast, and which of them wins then changes from one timing to the next.

    Parameters
    ----------
    path
        File of what was found on this computer; one that is missing or damaged is made anew.
    name
        Of the kind of network.
    network, side, batch, device
        As for `fastest_numerics`.
    """
    device = device or best_device()
    key = f"{name}, {side} px, batch {batch}, {device}, torch {torch.__version__}, {platform.processor()}"
    known = _read_choices(path)
    if (names := known.get(key)) is not None:
        with suppress(AttributeError, TypeError, ValueError):  # what somebody else wrote there
            precision, layout = (getattr(torch, each) for each in names)
            return Numerics(device, precision, layout)
    found = fastest_numerics(network, side, batch, device)
    known[key] = [str(each).removeprefix("torch.") for each in (found.precision, found.memory_format)]
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, json.dumps(known, indent=2) + "\n")
    except OSError as error:
        logger.warning("%s: the number format cannot be remembered (%s).", path, error.strerror)
    return found


def _read_choices(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be read (%s): the number format is timed anew.", path, type(error).__name__)
        return {}
    return known if isinstance(known, dict) else {}


def _seconds_of_a_step(network: nn.Module, way: Numerics, side: int, batch: int, best: float) -> float:
    """Take the shortest of up to three steps on a copy, whose batch statistics are thrown away with it."""
    trial = way.place_network(copy.deepcopy(network)).train()
    pixels = way.place(torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0)))
    times: list[float] = []
    for _ in range(3):
        start = time.perf_counter()
        with way.autocast():
            output = trial(pixels)
        output.float().square().mean().backward()
        trial.zero_grad(set_to_none=True)
        if way.device.type == "cuda":
            torch.cuda.synchronize()
        elif way.device.type == "mps":
            torch.mps.synchronize()
        times.append(time.perf_counter() - start)
        # The first step also compiles what the processor needs, for bfloat16 more of it.
        if len(times) > 1 and times[-1] > _HOPELESS * best:
            break
    return min(times)
