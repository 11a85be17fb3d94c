"""The processor that predictions run on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Final

import psutil
import torch

from dermcheck.inference.backends.openvino_runner import Lanes

__all__ = ["lane_candidates", "processor_in_words", "usable_cores"]

_MOST_STREAMS: Final = 8
"""Each needs memory of its own, about 20 MB for each size of picture."""


def usable_cores() -> int:
    """Return how many logical processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def processor_in_words() -> str:
    """Name all that the quickest settings may depend on."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(errors="replace").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), name)
    able = sorted(key for key, value in torch.cpu.get_capabilities().items() if value is True)
    return f"{platform.machine()} {name}, {usable_cores()} processors ({', '.join(able)})"


def lane_candidates() -> list[Lanes]:
    """Return the ways of using the cores that are worth timing, the likeliest first.

    With several logical processors a core it depends on the processor whether all of them together are
    quicker. One picture on all threads was slower than as many pictures as threads.
    """
    logical = usable_cores()
    physical = min(psutil.cpu_count(logical=False) or logical, logical)
    return [Lanes(min(threads, _MOST_STREAMS), threads) for threads in dict.fromkeys((physical, logical))]
