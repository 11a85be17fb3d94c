"""What training data cost: building the picture cache, making views, waiting for them, memory.

    python benchmarks/training_data.py DATA [--cache FOLDER] [--side 224] [--steps 60] [--batch 32]

DATA is any data set that `dermcheck train` reads, e.g. the 10,015 photographs of HAM10000. The cache is
built anew unless one is there. Then one epoch goes through the trainer itself (`fit`, DenseNet121):
with `--steps`, only so many of its steps, as a whole epoch takes hours on two cores; `--steps 0`
runs all of it. Without training, all views of one epoch are then made once, so that every page of the cache
is touched.

Where other work keeps the machine busy, go by the processor time and the share. Memory is the process's
own: Linux' RssAnon, without the page cache through which the squares are read.
"""

from __future__ import annotations

import argparse
import csv
import platform
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from dermcheck.networks import build_densenet121
from dermcheck.training.classification import ClassificationLesson
from dermcheck.training.configuration import Schedule
from dermcheck.training.data import Photographs, decode, open_data_set, to_batch, training_transforms
from dermcheck.training.fitting import Rows, fit
from dermcheck.training.numerics import Numerics
from dermcheck.training.stopping import StopRequest

VIEWS = 20
"""Batches that each side of the views is timed with."""


def own_memory() -> float:
    """Return the resident anonymous memory of this process in GB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024 / 1e9


@dataclass
class Peak:
    """The highest memory seen, in GB."""

    value: float = 0.0

    def __str__(self) -> str:
        """Write it."""
        return f"own memory up to {self.value:.2f} GB"


@contextmanager
def watched() -> Iterator[Peak]:
    """Look at the memory ten times a second."""
    peak, end = Peak(own_memory()), threading.Event()

    def look() -> None:
        while not end.wait(0.1):
            peak.value = max(peak.value, own_memory())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        end.set()
        thread.join()


class Sample(ClassificationLesson):
    """The trainer's own lesson, cut off after some steps and not examined."""

    steps = 0
    size = 32
    """Photographs per step."""

    def draw(self, epoch: int) -> Rows:
        """Take the first rows only, if asked to."""
        rows = super().draw(epoch)
        return rows[: self.steps * self.size] if self.steps else rows

    def examine(self, network: nn.Module, numerics: Numerics, stop: StopRequest) -> dict[str, float]:
        """Leave out the examination: only training is measured."""
        return {self.key: 0.0}


def time_views(photographs: Photographs, side: int, batch: int) -> float:
    """Return the milliseconds of processor time that the trainer's view of one photograph takes."""
    rows = np.random.default_rng(0).integers(0, len(photographs), (VIEWS + 2, batch))
    transforms = training_transforms(side, hair=0.1, colour_constancy=0.1)
    for i, chosen in enumerate(rows):
        if i == 2:  # the first ones warm up
            start = time.process_time()
        transforms(to_batch(photographs, chosen, torch.Generator().manual_seed(i)))
    return (time.process_time() - start) / VIEWS / batch * 1000


def train(photographs: Photographs, side: int, steps: int, batch: int) -> tuple[float, float, int]:
    """Run the trainer; return the share of time waiting for data, seconds a step and the number of steps."""
    lesson = Sample(photographs=photographs, seed=0)
    lesson.steps, lesson.size = steps, batch
    done = len(lesson.draw(0)) // batch
    with tempfile.TemporaryDirectory() as run:
        fit(build_densenet121(), Schedule(epochs=1, sides=(side,), batch=batch), lesson, Path(run))
        with Path(run, "log.csv").open(newline="") as file:
            row = next(csv.DictReader(file))
    return float(row["data_share"]), float(row["minutes"]) * 60 / done, done


def touch_all(photographs: Photographs, side: int, batch: int) -> float:
    """Make a view of each photograph once; return the seconds."""
    transforms = training_transforms(side, hair=0.1, colour_constancy=0.1)
    order = np.random.default_rng(0).permutation(len(photographs))
    start = time.perf_counter()
    for i in tqdm(range(0, len(order), batch), desc="views of one epoch", unit="batch"):
        generator = torch.Generator().manual_seed(i)
        transforms(to_batch(photographs, order[i : i + batch], generator))
    return time.perf_counter() - start


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, help="folder of the cache (default: a temporary one)")
    parser.add_argument("--side", type=int, default=224, help="of the decoded squares, pixels")
    parser.add_argument("--views", type=int, nargs="+", default=[128, 224], help="sides of the views")
    parser.add_argument("--steps", type=int, default=60, help="training steps a side; 0 for the whole epoch")
    parser.add_argument("--batch", type=int, default=32, help="photographs per step")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure(arguments, arguments.cache or Path(temporary))


def measure(arguments: argparse.Namespace, cache: Path) -> None:
    """Print one line a figure."""
    batch: int = arguments.batch
    print(
        f"{platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads, batch {batch}"
    )
    print(f"own memory after the imports: {own_memory():.2f} GB")
    data_set = open_data_set(arguments.data)
    with watched() as peak:
        start, worked = time.perf_counter(), time.process_time()
        photographs = decode(data_set, arguments.side, cache)
        spent, worked = time.perf_counter() - start, time.process_time() - worked
    count = len(photographs)
    size = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) / 1e9
    print(
        f"cache of {count} photographs at {arguments.side} px: {spent:.1f} s "
        f"({worked / count * 1000:.2f} ms of processor time a photograph), {size:.2f} GB; {peak}"
    )
    with watched() as peak:
        start = time.perf_counter()
        decode(data_set, arguments.side, cache)
        print(f"opened and checked again: {time.perf_counter() - start:.1f} s; {peak}")
    whole = len(ClassificationLesson(photographs=photographs, seed=0).draw(0)) // batch
    for side in arguments.views:
        with watched() as peak:
            print(f"views at {side} px: {time_views(photographs, side, batch):.2f} ms each; {peak}")
        with watched() as peak:
            share, step, done = train(photographs, side, arguments.steps, batch)
        print(
            f"training at {side} px: {done} of the epoch's {whole} steps, {step:.2f} s each, "
            f"share of time waiting for data {share:.4f}; {peak}"
        )
    with watched() as peak:
        spent = touch_all(photographs, arguments.views[-1], batch)
    print(f"all views of one epoch at {arguments.views[-1]} px: {spent:.0f} s; {peak}")


if __name__ == "__main__":
    main()
