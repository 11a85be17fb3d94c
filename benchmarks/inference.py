"""Time the three steps of a prediction with each back end, and compare the back ends' answers.

    python3 benchmarks/inference.py [--rounds 6] [--models FOLDER] [--data HAM10000] [--pictures 500]

**Bare networks**: `Predictor.compute` of both networks on prepared photographs, at several batch sizes; the
best one is what a batch's throughput is measured against. **Steps**: `prepare` and `finish` of photographs of
several sizes. Milliseconds a photograph, the quickest round: other programs only ever make it slower; and
processor time, which hardly depends on them. All cases take turns in every round.

**Equality**: answers against PyTorch's in float32, on drawn pictures and, with --data, as many of its
photographs of fold 9. Fewer bits are shown beside, whether they are used or not.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from dermcheck.inference import Predictor
from dermcheck.inference.backends import BACKENDS, Answer, Picture, RunnableModel, Runner
from dermcheck.inference.backends.base import BackendError
from dermcheck.inference.backends.equality import Difference, compare, drawn_pictures
from dermcheck.inference.backends.onnxruntime_runner import OnnxruntimeRunner, export_onnx
from dermcheck.inference.backends.openvino_runner import (
    OpenVINORunner,
    export_openvino,
    openvino_precisions,
)
from dermcheck.inference.backends.processor import lane_candidates, processor_in_words, usable_cores
from dermcheck.inference.backends.sizes import usual_sizes
from dermcheck.inference.backends.torch_runner import TorchRunner
from dermcheck.inference.fitting import Fitter
from dermcheck.networks.checkpoint import REFERENCE_MODELS, StoredModel

BATCHES = (1, 8, 16, 32)
SHAPES = ((256, 256), (450, 600), (1024, 1024), (4000, 6000))
REPORT_FOLD = "9"
Case: TypeAlias = tuple[Callable[[], object], int]
"""What is timed, and how many photographs it is."""


def photograph(rows: int, columns: int) -> np.ndarray:
    """Draw a dark disc on a bright ground with some noise: (rows, columns, 3) uint8."""
    rng = np.random.default_rng(0)
    y, x = np.arange(rows)[:, None] - rows / 2, np.arange(columns) - columns / 2
    pixels = np.full((rows, columns, 3), (220, 180, 160), np.uint8)
    pixels[y**2 + x**2 < (min(rows, columns) / 4) ** 2] = (90, 60, 50)
    return pixels + rng.integers(0, 20, (rows, columns, 1), np.uint8)


def bare_cases(predictors: Iterable[Predictor]) -> dict[str, Case]:
    """Both networks on prepared photographs of 256 × 256 pixels."""
    cases: dict[str, Case] = {}
    for predictor in predictors:
        prepared = [predictor.prepare(photograph(256, 256))] * max(BATCHES)
        for batch in BATCHES:
            part = prepared[:batch]
            cases[f"{predictor.backend}, batch {batch}"] = (
                lambda predictor=predictor, part=part: predictor.compute(part),
                batch,
            )
    return cases


def step_cases(predictor: Predictor) -> dict[str, Case]:
    """Prepare, finish and a whole prediction at several sizes."""
    cases: dict[str, Case] = {}
    for shape in SHAPES:
        pixels, label = photograph(*shape), f"{shape[1]} × {shape[0]} px"
        computed = predictor.compute([predictor.prepare(pixels)])[0]
        cases[f"prepare, {label}"] = (lambda pixels=pixels: predictor.prepare(pixels), 1)
        cases[f"finish, {label}"] = (lambda computed=computed: predictor.finish(computed), 1)
        cases[f"predict, {label}"] = (lambda pixels=pixels: predictor.predict(pixels), 1)
    return cases


def measure(cases: dict[str, Case], rounds: int) -> dict[str, tuple[float, float]]:
    """Give milliseconds on the clock and of the processor a photograph: each the least of all rounds."""
    least = dict.fromkeys(cases, (np.inf, np.inf))
    for round_ in tqdm(range(rounds + 1), desc="rounds", leave=False):
        for name, (run, count) in cases.items():
            clock, processor = time.perf_counter(), time.process_time()
            run()
            taken = time.perf_counter() - clock, time.process_time() - processor
            if round_:  # the first one compiles
                clock_ms, processor_ms = (value * 1000 / count for value in taken)
                least[name] = min(least[name][0], clock_ms), min(least[name][1], processor_ms)
    return least


def show(title: str, times: dict[str, tuple[float, float]]) -> None:
    """Print a table of times."""
    print(f"\n| {title} | ms | processor ms |\n|---|---|---|")
    for name, (clock, processor) in times.items():
        print(f"| {name} | {clock:.2f} | {processor:.2f} |")


def pictures_of(model: RunnableModel, data: Path | None, count: int) -> dict[str, list[Picture]]:
    """Fit the drawn pictures and the data's photographs to a network's input."""
    pictures = {"drawn": drawn_pictures(model.card, count)}
    if data is not None:
        with (data / "labels.csv").open(newline="") as file:
            names = [row["image_id"] for row in csv.DictReader(file) if row["fold"] == REPORT_FOLD]
        pictures["fold 9"] = [
            Fitter(np.asarray(Image.open(data / "images" / f"{name}.jpg").convert("RGB")))
            .fit(model.card.input)
            .picture
            for name in names[:count]
        ]
    return pictures


def exported(model: RunnableModel) -> dict[str, Runner]:
    """Open every back end in every precision that this processor has, whether it holds or not."""
    side, runners = model.card.input.side, {}
    try:
        files = export_openvino(model.build(), side)
        sizes = usual_sizes(model.card.input)
        for precision in openvino_precisions():
            runners[f"OpenVINO {precision}"] = OpenVINORunner(files, precision, lane_candidates()[0], sizes)
    except (BackendError, ImportError) as error:
        print(f"OpenVINO is left out: {error}")
    try:
        runners["onnxruntime f32"] = OnnxruntimeRunner(export_onnx(model.build(), side), usable_cores())
    except BackendError as error:
        print(f"onnxruntime is left out: {error}")
    return runners


def answers_of(runner: Runner, pictures: list[Picture]) -> list[Answer]:
    """Compute in parts, so that memory stays bounded."""
    parts = [pictures[start : start + 32] for start in range(0, len(pictures), 32)]
    return [answer for part in parts for answer in runner.start(part)()]


def in_use(difference: Difference, name: str) -> str:
    """Say whether a back end that differs like this is used."""
    return "yes" if difference.holds(reduced=not name.endswith("f32")) else "no"


def show_equality(models: Path, data: Path | None, count: int) -> None:
    """Print how far every back end's answers lie from PyTorch's."""
    print(
        "\n| network, back end | pictures | probabilities within | decisions equal | Jaccard index | holds |"
    )
    print("|---|---|---|---|---|---|")
    for role in ("classifier", "outliner"):
        model = RunnableModel.of(StoredModel(models / role))
        runners = exported(model)
        for kind, pictures in pictures_of(model, data, count).items():
            reference = answers_of(TorchRunner(model.build), pictures)
            for name, runner in runners.items():
                found = compare(model.card, reference, answers_of(runner, pictures))
                decisions = "" if found.outlines else f"{found.decisions:.2%}"
                jaccard = f"{found.jaccard:.5f}" if found.outlines else ""
                print(
                    f"| {role}, {name} | {len(pictures)} {kind} | {found.probability:.1e} | {decisions} | "
                    f"{jaccard} | {in_use(found, name)} |"
                )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument(
        "--models", type=Path, default=REFERENCE_MODELS, help="folder with classifier/ and outliner/"
    )
    parser.add_argument("--data", type=Path, help="HAM10000: labels.csv with image_id and fold, images/")
    parser.add_argument("--pictures", type=int, default=500, help="compared of each kind; 0 for none")
    arguments = parser.parse_args()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(
        f"{datetime.now(timezone.utc):%Y-%m-%d}, {processor_in_words()}{load}; {platform.system()}, ", end=""
    )
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    predictors = [Predictor.load(arguments.models, backend=name) for name in BACKENDS]
    show("both networks, 256 × 256 px", measure(bare_cases(predictors), arguments.rounds))
    quickest = Predictor.load(arguments.models)
    show(f"step, {quickest.backend}", measure(step_cases(quickest), arguments.rounds))
    if arguments.pictures:
        show_equality(arguments.models, arguments.data, arguments.pictures)


if __name__ == "__main__":
    main()
