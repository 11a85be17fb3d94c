"""Number format and memory order, chosen by timing a step: which is fastest differs between machines."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Numerics", "fastest_numerics", "pick_device"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Numerics:
    """How one training computes."""

    device: torch.device
    half: bool
    """bfloat16 where it is safe (autocast)."""
    channels_last: bool

    def place(self, pixels: Tensor) -> Tensor:
        """Bring pixels into the memory order."""
        order = torch.channels_last if self.channels_last else torch.contiguous_format
        return pixels.contiguous(memory_format=order)

    def place_network(self, network: nn.Module) -> None:
        """Bring a network's weights to the device and into the memory order."""
        order = torch.channels_last if self.channels_last else torch.contiguous_format
        network.to(self.device).to(memory_format=order)

    def autocast(self) -> AbstractContextManager[object]:
        """Compute in `half` inside this context."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)


def pick_device() -> torch.device:
    """Return the GPU if there is one. Its search for the quickest kernels stays off: it took minutes."""
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fastest_numerics(network: nn.Module, loss: Callable[[Tensor], Tensor], batch: int, side: int) -> Numerics:
    """Time a step of each kind and return the fastest; `network` is moved, its weights stay as they are."""
    device, times = pick_device(), {}
    steps = 6 if device.type == "cuda" else 1
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    for half, channels_last in itertools.product((False, True), repeat=2):
        numerics = Numerics(device, half, channels_last)
        numerics.place_network(network)
        pixels = numerics.place(torch.rand(batch, 3, side, side, device=device))
        for timed in (False, True):
            start = time.perf_counter()
            for _ in range(steps):
                with numerics.autocast():
                    value = loss(network(pixels))
                value.backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if timed:
                times[numerics] = (time.perf_counter() - start) / steps
    network.zero_grad(set_to_none=True)
    best = min(times, key=lambda numerics: times[numerics])
    best.place_network(network)
    network.load_state_dict(kept)
    for numerics, seconds in times.items():
        logger.info("%s: %.1f ms a step%s", numerics, seconds * 1e3, " <- taken" if numerics == best else "")
    return best
