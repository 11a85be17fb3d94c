"""Time what a clinician waits for when a photograph is predicted, decoding excluded.

    python3 benchmarks/inference.py [--rounds 15] [--models FOLDER]

Prints milliseconds per image (median and 90th percentile) of both networks alone and of the whole
prediction at several sizes, with hardware and date. All cases take turns in every round, so their
ratios hold even when the machine was busy; the load is printed for that reason, and the processor
time, which hardly depends on it when OMP_NUM_THREADS=1. Without --models the reference
architectures are timed with random weights, which cost the same time.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from dermcheck.inference import Predictor, prepare
from dermcheck.lesions import CLASSES
from dermcheck.networks import Calibration, InputSpec, ModelCard, build_network, load_model, save_model
from dermcheck.networks.cards import OUTLINER_CLASSES

SIZES = {"600 × 450": (450, 600), "1024 × 1024": (1024, 1024), "6000 × 4000 (24 MP)": (4000, 6000)}
BATCH = 8
HALF = (0.5, 0.5, 0.5)


def save_random_models(folder: Path) -> None:
    """Write both reference architectures with random weights, at the reference models' input sizes."""
    about = {
        "version": "0",
        "data": "none: random weights",
        "licence": "none",
        "command": "benchmarks/inference.py",
    }
    classifier = ModelCard(
        name="random classifier",
        task="classification",
        architecture="densenet121",
        classes=CLASSES,
        input=InputSpec(side=128, mean=HALF, std=HALF, geometry="centre_square"),
        calibration=Calibration.identity(),
        **about,
    )
    outliner = ModelCard(
        name="random outliner",
        task="segmentation",
        architecture="unet",
        classes=OUTLINER_CLASSES,
        input=InputSpec(side=192, mean=HALF, std=HALF, geometry="short_side"),
        **about,
    )
    for name, card in (("classifier", classifier), ("outliner", outliner)):
        save_model(folder / name, build_network(card.architecture, card.task), card)


def photograph(rows: int, columns: int) -> np.ndarray:
    """Draw a dark disc on a bright ground with some noise: (rows, columns, 3) uint8."""
    rng = np.random.default_rng(0)
    y, x = np.arange(rows)[:, None] - rows / 2, np.arange(columns) - columns / 2
    pixels = np.full((rows, columns, 3), (220, 180, 160), np.uint8)
    pixels[y**2 + x**2 < (min(rows, columns) / 4) ** 2] = (90, 60, 50)
    return pixels + rng.integers(0, 20, (rows, columns, 1), np.uint8)


def network_cases(folder: Path, name: str) -> dict[str, tuple[Callable[[], object], int]]:
    """Forward passes of one network for a 4:3 photograph, alone and as a batch."""
    network, card = load_model(folder)
    one = prepare(photograph(450, 600), card.input).pixels
    batch = one.repeat(BATCH, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    label = f"{name}, {one.shape[3]} × {one.shape[2]} px"

    def forward(network: nn.Module, pixels: torch.Tensor) -> Callable[[], object]:
        def run() -> object:
            with torch.inference_mode():
                return network(pixels)

        return run

    return {
        f"{label}, batch 1": (forward(network, one), 1),
        f"{label}, batch {BATCH}": (forward(network, batch), BATCH),
    }


def prediction_cases(predictor: Predictor) -> dict[str, tuple[Callable[[], object], int]]:
    """Whole predictions, and a batch of the smallest size."""
    cases: dict[str, tuple[Callable[[], object], int]] = {}
    for label, shape in SIZES.items():
        pixels = photograph(*shape)
        cases[f"predict {label}"] = (lambda pixels=pixels: predictor.predict(pixels), 1)
    label, shape = next(iter(SIZES.items()))
    several = [photograph(*shape)] * BATCH
    cases[f"predict_batch of {BATCH}, {label}"] = (lambda: predictor.predict_batch(several), BATCH)
    return cases


def measure(
    cases: dict[str, tuple[Callable[[], object], int]], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Milliseconds on the clock and of the processor per image of each case and round, after a warm-up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for round_ in tqdm(range(rounds + 1), desc="rounds"):
        for name, (run, images) in cases.items():
            clock, processor = time.perf_counter(), time.process_time()
            run()
            taken = time.perf_counter() - clock, time.process_time() - processor
            if round_:
                times[name].append((taken[0] * 1000 / images, taken[1] * 1000 / images))
    return times


def machine() -> str:
    """Name the processor, the number of its cores and what runs on them."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        cpu = names[0] if names else cpu
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{cpu}, {os.cpu_count()} cores ({torch.backends.cpu.get_cpu_capability()}){load}; "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--models", type=Path, help="folder with classifier/ and outliner/")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        models = arguments.models or Path(scratch)
        if arguments.models is None:
            save_random_models(models)
        cases = (
            network_cases(models / "classifier", "classifier")
            | network_cases(models / "outliner", "outliner")
            | prediction_cases(Predictor.load(models))
        )
    start = machine()
    times = measure(cases, arguments.rounds)
    base = np.median(next(iter(times.values())), axis=0)[0]
    print(f"\n{datetime.now(timezone.utc):%Y-%m-%d}, {start}\n")
    print("| case | median ms per image | 90th percentile | ratio to the first | processor ms |")
    print("|---|---|---|---|---|")
    for name, values in times.items():
        (median, processor), (high, _) = np.median(values, axis=0), np.percentile(values, 90, axis=0)
        print(f"| {name} | {median:.1f} | {high:.1f} | {median / base:.2f} | {processor:.1f} |")


if __name__ == "__main__":
    main()
