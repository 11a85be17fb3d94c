"""Times `dermcheck batch` against its own networks: how much of the machine reaches them.

    python benchmarks/batch.py HAM10000                 a thousand pictures, about five minutes
    python benchmarks/batch.py --count 200              drawn pictures, quickly
    python benchmarks/batch.py --acceptance HAM10000 --report FOLDER    all of them, twice

HAM10000 is a folder with `images/*.jpg`. The first forms print, all measured in one run: bare calls of
both networks (the same back end, prepared inputs), JPEG to tables and PNG masks, DICOM to tables, SEG and SR,
MONAI Label's stock way (LoadImage, transforms, PyTorch, one at a time, as its BatchInferTask does) on the
same outliner, pictures of 24 against 0.3 megapixels, bad files among good ones, and pictures that repeat. The
acceptance run predicts every picture as JPEG and then as imported DICOM, looks at the memory of all processes
every second, and writes `memory.csv`, `memory.png` and `acceptance.json` into FOLDER.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

SEED = 0
TAIL = 1000
"""Pictures at the beginning and at the end whose speeds are compared."""
FULL = 31
"""The last photograph of the second group, from which on speed is measured."""


@dataclass
class Run:
    """One `dermcheck batch` as a process of its own."""

    images: int
    failures: int
    times: list[float] = field(default_factory=list)
    """When each photograph was recorded, seconds since the epoch."""
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the start, and private megabytes of all processes."""

    @property
    def seconds(self) -> float:
        """From the first photograph's end to the last one's, without start and loading."""
        return self.times[-1] - self.times[0]

    @property
    def ms(self) -> float:
        """Milliseconds a photograph once the queues are full: they come out in groups of sixteen."""
        first = FULL if len(self.times) > 5 * FULL else 0
        return (self.times[-1] - self.times[first]) * 1000 / max(1, len(self.times) - 1 - first)

    @property
    def peak_mb(self) -> float:
        """Greatest sum of private memory."""
        return max((mb for _, mb in self.memory), default=float("nan"))


def run_batch(source: Path, output: Path, *options: str, memory_every_s: float = 1.0) -> Run:
    """Run the command and watch its memory."""
    command = [sys.executable, "-m", "dermcheck", "batch", str(source), "--output", str(output), "--json"]
    started = time.monotonic()
    memory = []
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            memory.append((time.monotonic() - started, private_mb(watched)))
            time.sleep(memory_every_s)
        summary = json.loads(process.stdout.read()) if process.stdout else {}
    if process.returncode not in (0, 1):
        sys.exit(f"dermcheck batch ended with status {process.returncode}")
    times = recorded_times(output)
    if not times:
        sys.exit("Nothing was predicted.")
    return Run(len(times), summary["failures"], times, memory[:-1])


def private_mb(process: psutil.Process) -> float:
    """Memory that would be free if the process and its children ended (USS), in MB."""
    total = 0.0
    try:
        for each in (process, *process.children(recursive=True)):
            total += each.memory_full_info().uss / 1e6
    except psutil.NoSuchProcess:  # it has just ended
        pass
    return total


def recorded_times(output: Path) -> list[float]:
    """Read from the journal when each photograph was done, in the order of time."""
    import sqlite3

    from dermcheck.batch.names import JOURNAL_NAME

    with sqlite3.connect(output / JOURNAL_NAME) as journal:
        rows = journal.execute(
            "SELECT recorded_at FROM inputs WHERE state = 'predicted' ORDER BY recorded_at"
        )
        return [float(time_) for (time_,) in rows]


def bare_ms(pictures: list[Path], seconds: float = 20.0) -> tuple[float, str]:
    """Milliseconds a picture of both networks alone on prepared inputs, at the best batch size."""
    from dermcheck.dicom.photograph import read_picture
    from dermcheck.inference import Predictor

    predictor = Predictor.load()
    prepared = [predictor.prepare(read_picture(path)) for path in pictures[:64]]
    best = float("inf")
    for size in (8, 16, 32, 64):
        predictor.compute(prepared[:size])
        done, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds / 4:
            first = done % (len(prepared) - size + 1)
            predictor.compute(prepared[first : first + size])
            done += size
        best = min(best, (time.perf_counter() - started) * 1000 / done)
    return best, predictor.backend


def monai_label_ms(pictures: list[Path], seconds: float = 10.0) -> float:
    """Milliseconds a picture of the stock way: MONAI's transforms and PyTorch, one picture after another.

    What `BatchInferTask` calls for each image of an app with `BasicInferTask`, writing included.
    """
    import torch
    from monai.inferers import SimpleInferer
    from monai.transforms import (
        Activations,
        AsDiscrete,
        Compose,
        EnsureChannelFirst,
        LoadImage,
        NormalizeIntensity,
        Resize,
    )
    from monailabel.transform.writer import write_itk

    from dermcheck.networks.checkpoint import REFERENCE_MODELS, load_model

    network, card = load_model(REFERENCE_MODELS / "outliner")
    side = card.input.side
    before = Compose(
        [
            LoadImage(image_only=True),
            EnsureChannelFirst(),
            Resize((side, side)),
            NormalizeIntensity(127.5, 127.5),
        ]
    )
    after = Compose([Activations(sigmoid=True), AsDiscrete(threshold=0.5)])
    inferer = SimpleInferer()

    def one(path: Path, folder: str) -> None:
        mask = after(inferer(before(path)[None, :3], network)[0])
        whole = Resize(Image.open(path).size, mode="nearest")(mask)
        write_itk(np.asarray(whole)[0][None], str(Path(folder, "mask.nii.gz")), np.eye(4), np.uint8, True)

    done = 0
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        one(pictures[0], folder)  # imports and allocates
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            one(pictures[done % len(pictures)], folder)
            done += 1
    return (time.perf_counter() - started) * 1000 / done


def draw(folder: Path, count: int, rows: int, columns: int, variants: int | None = None) -> list[Path]:
    """Write photographs of a dark ellipse on skin, each file of its own content."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(SEED)
    paths: list[Path] = []
    originals: list[bytes] = []
    for number in range(count):
        path = folder / f"drawn_{number:05}.jpg"
        if len(originals) < (variants or count):
            y, x = np.ogrid[:rows, :columns]
            (top, left), (high, wide) = rng.uniform(0.35, 0.65, 2), rng.uniform(0.15, 0.3, 2)
            inside = ((y / rows - top) / high) ** 2 + ((x / columns - left) / wide) ** 2 < 1
            pixels = np.full((rows, columns, 3), (214, 168, 150), np.uint8)
            pixels[inside] = rng.integers(30, 120, 3)
            pixels += rng.integers(0, 12, (rows, columns, 1), np.uint8)
            Image.fromarray(pixels).save(path, quality=85)
            originals.append(path.read_bytes())
        else:  # bytes after the end marker: the same picture, another content
            path.write_bytes(originals[number % len(originals)] + f"copy {number}".encode())
        paths.append(path)
    return paths


def import_all(pictures: list[Path], folder: Path) -> None:
    """Wrap pictures as DICOM photographs."""
    from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom

    folder.mkdir(parents=True)
    for path in pictures:
        photo_to_dicom(path, PhotoDetails(patient_id=f"BENCHMARK-{path.stem}")).save_as(
            folder / f"{path.stem}.dcm", enforce_file_format=True
        )


def spoil(pictures: list[Path], folder: Path) -> None:
    """Put one bad file beside every tenth good one: empty, text, cut off, no image inside, absurd size."""
    folder.mkdir(parents=True)
    for number, path in enumerate(pictures):
        shutil.copy(path, folder)
        bad = folder / f"{path.stem}_bad"
        if number % 50 == 0:
            bad.with_suffix(".jpg").touch()
        elif number % 50 == 10:
            bad.with_suffix(".dcm").write_text("Dear colleague, thank you for the referral. " * 10)
        elif number % 50 == 20:
            bad.with_suffix(".jpg").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        elif number % 50 == 30:
            bad.with_suffix(".HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
        elif number % 50 == 40:
            bad.with_suffix(".png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))


def machine() -> str:
    """Name processor, cores and load."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    cpu = names[0] if names else platform.processor() or platform.machine()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{cpu}, {os.cpu_count()} cores{load}, Python {platform.python_version()}"


def compare(pictures: list[Path], scratch: Path) -> None:
    """Print the table of ratios."""
    photos = scratch / "photos"
    photos.mkdir()
    for path in pictures:
        (photos / path.name).symlink_to(path.resolve())
    copies = scratch / "copies"  # first all pictures, then all of them again
    for half in "ab":
        (copies / half).mkdir(parents=True)
        for path in pictures:
            (copies / half / path.name).symlink_to(path.resolve())
    import_all(pictures, scratch / "instances")
    spoil(pictures, scratch / "spoilt")
    large_count = max(8, len(pictures) // 50)
    draw(scratch / "large", large_count, 4000, 6000, variants=4)
    draw(scratch / "small", large_count * 10, 450, 600, variants=40)

    before, backend = bare_ms(pictures)
    print(f"\n{datetime.now(timezone.utc):%Y-%m-%d}, {machine()}; {backend}; {len(pictures)} pictures\n")
    print("| what | ms an image | ratio | of |\n|---|---|---|---|")
    jpeg = run_batch(photos, scratch / "out jpeg", "--masks", "png")
    dicom = run_batch(scratch / "instances", scratch / "out dicom", "--dicom")
    after, _ = bare_ms(pictures)
    bare = (before + after) / 2
    row("both networks, bare calls", bare)
    row("JPEG to tables and PNG masks", jpeg.ms, bare / jpeg.ms, "bare")
    row("DICOM to tables, SEG and SR", dicom.ms, bare / dicom.ms, "bare")
    stock = monai_label_ms(pictures)
    row("MONAI Label's stock way, outliner alone", stock, stock / jpeg.ms, "JPEG to tables and masks")
    small = run_batch(scratch / "small", scratch / "out small", "--masks", "png")
    large = run_batch(scratch / "large", scratch / "out large", "--masks", "png")
    row("0.3 megapixels", small.ms)
    row("24 megapixels", large.ms, large.ms / small.ms, "0.3 megapixels")
    spoilt = run_batch(scratch / "spoilt", scratch / "out spoilt", "--masks", "png")
    row(f"{spoilt.failures} bad files among them", spoilt.ms, spoilt.ms / jpeg.ms, "good ones alone")
    repeated = run_batch(copies, scratch / "out copies")
    half = len(pictures)
    times = sorted(repeated.times)
    first = (times[half - 1] - times[0]) / max(1, half - 1)
    second = (times[-1] - times[half]) / max(1, len(times) - half - 1)
    row("pictures met again, tables only", second * 1000, first / max(second, 1e-9), "times quicker")
    peak = max(run.peak_mb for run in (jpeg, dicom, large))
    print(f"\nprivate memory of all processes, greatest of these runs: {peak:.0f} MB")


def row(name: str, ms: float, ratio: float | None = None, of: str = "") -> None:
    """Print one line of the table."""
    print(f"| {name} | {ms:.2f} | {'' if ratio is None else f'{ratio:.2f}'} | {of} |", flush=True)


def accept(pictures: list[Path], report: Path, scratch: Path) -> None:
    """Predict all pictures as JPEG, then as DICOM, and write what came of it."""
    report.mkdir(parents=True, exist_ok=True)
    photos = scratch / "photos"
    photos.mkdir()
    for path in pictures:
        (photos / path.name).symlink_to(path.resolve())
    bare, backend = bare_ms(pictures)
    runs = {"JPEG, PNG masks": run_batch(photos, scratch / "out jpeg", "--masks", "png")}
    import_all(pictures, scratch / "instances")
    runs["DICOM, SEG and SR"] = run_batch(scratch / "instances", scratch / "out dicom", "--dicom")
    facts = {
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "machine": machine(),
        "backend": backend,
        "bare_ms": round(bare, 3),
        "runs": {name: facts_of(run, bare) for name, run in runs.items()},
    }
    (report / "acceptance.json").write_text(json.dumps(facts, indent=2))
    with (report / "memory.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "seconds", "private_mb"])
        for name, run in runs.items():
            writer.writerows([name, f"{at:.1f}", f"{mb:.1f}"] for at, mb in run.memory)
    plot(runs, report / "memory.png")
    print(json.dumps(facts, indent=2))


def facts_of(run: Run, bare: float) -> dict[str, Any]:
    """Sum one run up. Growth is from the first tenth's median to the last tenth's."""
    tail = min(TAIL, len(run.times) // 2)
    first, last = (run.times[tail - 1] - run.times[0], run.times[-1] - run.times[-tail])
    loaded = [mb for at, mb in run.memory if at > run.memory[-1][0] * 0.05]
    tenth = max(1, len(loaded) // 10)
    return {
        "images": run.images,
        "failures": run.failures,
        "seconds": round(run.seconds, 1),
        "ms_an_image": round(run.ms, 3),
        "ratio_to_bare": round(bare / run.ms, 3),
        "last_against_first_speed": round(first / last, 3),
        "pictures_compared": tail,
        "peak_private_mb": round(run.peak_mb),
        "growth_mb": round(float(np.median(loaded[-tenth:]) - np.median(loaded[:tenth])), 1),
    }


def plot(runs: dict[str, Run], path: Path) -> None:
    """Draw the memory curves."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4))
    for name, run in runs.items():
        axes.plot(*zip(*run.memory, strict=True), label=name)
    axes.set(xlabel="seconds", ylabel="private memory of all processes, MB", ylim=(0, None))
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, metavar="HAM10000", help="folder with images/*.jpg")
    parser.add_argument("--count", type=int, default=1000, help="pictures to compare with (default 1000)")
    parser.add_argument("--acceptance", type=Path, metavar="HAM10000", help="all pictures, as JPEG and DICOM")
    parser.add_argument(
        "--report", type=Path, default=Path("acceptance"), help="folder for the acceptance run"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dermcheck-benchmark-") as folder:
        scratch = Path(folder)
        work: Callable[[], None]
        if arguments.acceptance:
            found = sorted(arguments.acceptance.glob("images/*.jpg"))
            work = lambda: accept(found, arguments.report, scratch)  # noqa: E731
        else:
            data = arguments.data
            found = (
                sorted(data.glob("images/*.jpg"))
                if data
                else draw(scratch / "drawn", arguments.count, 450, 600)
            )
            found = found[: arguments.count]
            work = lambda: compare(found, scratch)  # noqa: E731
        if not found:
            sys.exit("There are no images/*.jpg in this folder.")
        work()


if __name__ == "__main__":
    main()
