"""How much of an epoch the dendrites cost: perforatedai's tracker, and the dendrites themselves.

    python benchmarks/dendrite_tracker.py [--images 1000] [--side 128]

A training step of DenseNet121 is timed on random pictures and multiplied to an epoch; the tracker is
fed four scores, among them new best ones (which it saves) and a restructuring. Processor time, so
that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F

from dermcheck.networks import build_densenet121
from dermcheck.training.dendrites import DendriteGrowth, DendriteSettings

BATCH = 32


def seconds(work: Callable[[], object]) -> float:
    """Processor time of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1000, help="of an epoch")
    parser.add_argument("--side", type=int, default=128, help="pixels")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    network = build_densenet121().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pixels = torch.rand(BATCH, 3, arguments.side, arguments.side).contiguous(
        memory_format=torch.channels_last
    )
    target = torch.arange(BATCH) % 7
    settings = DendriteSettings(weight=0.1, patience=1, most=2, tries=2)
    with (
        tempfile.TemporaryDirectory() as run,
        DendriteGrowth.start(network, "densenet121", settings, Path(run)) as growth,
    ):

        def step() -> None:
            logits = network(pixels)
            loss = growth.add_to(F.cross_entropy(logits, target), logits, target)
            network.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]

        network.train()
        step()
        plain = min(seconds(step) for _ in range(3))
        epoch = plain * arguments.images / BATCH
        print(
            f"a step of {BATCH} images at {arguments.side} px: {plain:.2f} s, "
            f"an epoch of {arguments.images}: {epoch:.0f} s"
        )
        for kind, score in (
            ("first", 0.5),
            ("a new best", 0.6),
            ("a restructuring", 0.6),
            ("a new best", 0.7),
            ("a restructuring", 0.7),
            ("nothing new", 0.5),
        ):
            cost = seconds(lambda score=score: growth.after_epoch(score))  # type: ignore[misc]
            step()  # a new dendrite must be trained before the next score
            print(f"tracker, {kind}: {cost:.3f} s, {cost / epoch:.2%} of the epoch")
        dendritic = min(seconds(step) for _ in range(3))
        print(
            f"a step with {growth.dendrites} dendrites on the head and their loss: "
            f"{dendritic / plain:.3f} times"
        )


if __name__ == "__main__":
    main()
