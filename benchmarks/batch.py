"""Times `dermcheck batch` against its own networks: how much of the machine reaches them.

    python benchmarks/batch.py HAM10000                 a thousand pictures, about five minutes
    python benchmarks/batch.py --count 200              drawn pictures, quickly
    python benchmarks/batch.py --acceptance HAM10000 --report FOLDER    all of them, twice

HAM10000 is a folder with `images/*.jpg`. The first forms print each target with what it must and should be,
all measured in one run: bare calls of both networks (the same back end, prepared inputs), JPEG to tables
and PNG masks, DICOM to tables, SEG and SR, MONAI Label's own BatchInferTask on the same networks,
pictures of 24 against 0.3 megapixels, a second pass, bad files of every kind among good ones, and decoding in
threads against processes. The acceptance run predicts every picture as JPEG, again, and as imported DICOM,
looks at the memory of all processes every second, and writes `memory.csv`, `memory.png` and
`acceptance.json` into FOLDER.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from bad_files import ODD, spoil
from PIL import Image

from dermcheck.datastore.locations import CACHE_VARIABLE, cache_root

SEED = 0
TAIL = 1000
"""Pictures at the beginning and at the end whose speeds are compared."""
FULL = 31
"""The last photograph of the second group, from which on speed is measured."""
LARGE = 96
"""Photographs of 24 megapixels."""
STOCK = 82
"""Pictures for MONAI Label's batch, which takes a tenth of a second for each."""
NEEDED_PX = 448
"""As many pixels along the shorter side as a batch decodes of a large JPEG, at least."""


@dataclass
class Run:
    """One `dermcheck batch` as a process of its own."""

    images: int
    failed: list[dict[str, str]]
    """Rows of the table of failures."""
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
        first = FULL if len(self.times) > 2 * FULL else len(self.times) // 3
        return (self.times[-1] - self.times[first]) * 1000 / max(1, len(self.times) - 1 - first)

    @property
    def peak_mb(self) -> float:
        """Greatest sum of private memory."""
        return max((mb for _, mb in self.memory), default=float("nan"))


def run_batch(source: Path, output: Path, cache: Path, *options: str, memory_every_s: float = 1.0) -> Run:
    """Run the command with a cache folder of its own, and watch its memory."""
    command = [sys.executable, "-m", "dermcheck", "batch", str(source), "--output", str(output), "--json"]
    environment = os.environ | {CACHE_VARIABLE: str(cache)}
    started = time.monotonic()
    memory = []
    with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, env=environment) as process:  # noqa: S603
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            memory.append((time.monotonic() - started, private_mb(watched)))
            time.sleep(memory_every_s)
    if process.returncode not in (0, 1):
        sys.exit(f"dermcheck batch ended with status {process.returncode}")
    times = recorded_times(output)
    if not times:
        sys.exit("Nothing was predicted.")
    with (output / "failures.csv").open(encoding="utf-8", newline="") as file:
        return Run(len(times), list(csv.DictReader(file)), times, memory[:-1])


@dataclass
class Batches:
    """Runs one batch after the other, each into a folder of its own and without the answers of others."""

    scratch: Path
    number: int = 0

    def run(self, source: Path, *options: str, keep_answers: bool = False) -> Run:
        """Run one."""
        cache = self.scratch / "cache"
        if not cache.exists():
            cache.mkdir()
            exported = cache_root() / "networks"  # `bare_ms` has made them if they were not there
            if exported.exists():
                shutil.copytree(exported, cache / "networks")
        if not keep_answers:
            shutil.rmtree(cache / "answers", ignore_errors=True)
        self.number += 1
        step(f"dermcheck batch {source.name} {' '.join(options)}")
        return run_batch(source, self.scratch / f"out {self.number}", cache, *options)


def step(name: str) -> None:
    """Say on stderr what is being done."""
    print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr, flush=True)


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


def bare_ms(pictures: list[Path], seconds: float = 12.0) -> tuple[float, str]:
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


def decoding_ms(pictures: list[Path]) -> tuple[float, float]:
    """Milliseconds a picture in threads, and in as many processes, which have to send the pixels back."""
    workers = os.cpu_count() or 1
    threads = ThreadPoolExecutor(workers)
    processes = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))
    return _decoding_ms(pictures, threads, 1), _decoding_ms(pictures, processes, 8)


def _decoding_ms(pictures: list[Path], executor: Executor, group: int) -> float:
    with executor:
        list(executor.map(decode, pictures[:64], chunksize=group))  # they start and import
        began = time.perf_counter()
        for _ in executor.map(decode, pictures, chunksize=group):
            pass
        return (time.perf_counter() - began) * 1000 / len(pictures)


def decode(path: Path) -> np.ndarray:
    """Read one picture as a batch does."""
    from dermcheck.dicom.photograph import read_picture

    return read_picture(path, NEEDED_PX)


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


def machine() -> str:
    """Name processor, cores and load."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    cpu = names[0] if names else platform.processor() or platform.machine()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{cpu}, {os.cpu_count()} cores{load}, Python {platform.python_version()}"


def compare(pictures: list[Path], scratch: Path) -> None:
    """Print the table of targets."""
    photos = link(pictures, scratch / "photos")
    step("importing as DICOM")
    import_all(pictures, scratch / "instances")
    [instance] = sorted((scratch / "instances").iterdir())[:1]
    bad = spoil(pictures, instance, scratch / "spoilt")
    for number, (name, make) in enumerate(ODD.items()):
        make(scratch / "spoilt" / name, pictures[number])
    step("drawing photographs of 24 megapixels")
    draw(scratch / "large", LARGE, 4000, 6000, variants=4)
    draw(scratch / "small", 4 * LARGE, 450, 600, variants=40)

    step("MONAI Label's BatchInferTask")
    from monai_label_batch import monai_label_ms  # imports MONAI, which the other forms do without

    stock_outline, stock_diagnosis = monai_label_ms(pictures[:STOCK], scratch)
    stock = stock_outline + stock_diagnosis
    step("decoding in threads and in processes")
    decoding = decoding_ms(pictures)
    decoding_large = decoding_ms(sorted((scratch / "large").iterdir())[:48])
    step("the networks alone")
    before, backend = bare_ms(pictures)
    batch = Batches(scratch)
    jpeg = batch.run(photos, "--masks", "png")
    again = batch.run(photos, "--masks", "png", keep_answers=True)
    dicom = batch.run(scratch / "instances", "--dicom")
    spoilt = batch.run(scratch / "spoilt", "--masks", "png")
    jpeg_after = batch.run(photos, "--masks", "png")
    small = batch.run(scratch / "small", "--masks", "png")
    large = batch.run(scratch / "large", "--masks", "png")
    step("the networks alone, again")
    after, _ = bare_ms(pictures)

    bare, good = (before + after) / 2, (jpeg.ms + jpeg_after.ms) / 2
    headline(backend, len(pictures))
    target("JPEG in, CSV + PNG masks out, against bare calls", bare / good, 0.85, 0.95)
    target("DICOM in, CSV + SEG + SR out, against bare calls", bare / dicom.ms, 0.60, 0.85)
    target("against MONAI Label's BatchInferTask, times quicker", stock / good, 4, 10)
    target("24 MP JPEGs, time an image against 0.3 MP ones", large.ms / small.ms, 3, 1.5, less=True)
    target("second pass over the same pictures, times quicker", good / again.ms, 20, 50)
    target("bad files among good ones, time against good ones alone", spoilt.ms / good, 1.05, 1, less=True)
    peak = max(run.peak_mb for run in (jpeg, dicom, large)) / 1000
    target("peak private memory of all processes, GB", peak, 2.5, 1.5, less=True)
    print("\nThe other targets: --acceptance, and benchmarks/server.py.\n")
    print("| what | ms an image |\n|---|---|")
    for name, ms in (
        ("both networks, bare calls, before and after", bare),
        ("JPEG to tables and masks, mean of two runs", good),
        ("DICOM to tables, SEG and SR", dicom.ms),
        ("MONAI Label's BatchInferTask, outliner", stock_outline),
        ("MONAI Label's BatchInferTask, classifier", stock_diagnosis),
        ("0.3 megapixels", small.ms),
        ("24 megapixels", large.ms),
        ("with bad files among them", spoilt.ms),
        ("second pass", again.ms),
        ("decoding alone, threads", decoding[0]),
        ("decoding alone, processes", decoding[1]),
        ("decoding 24 megapixels alone, threads", decoding_large[0]),
        ("decoding 24 megapixels alone, processes", decoding_large[1]),
    ):
        print(f"| {name} | {ms:.2f} |")
    tell_failures(spoilt, bad, len(pictures) + len(ODD))


def link(pictures: list[Path], folder: Path) -> Path:
    """Make a folder of links to pictures."""
    folder.mkdir()
    for path in pictures:
        (folder / path.name).symlink_to(path.resolve())
    return folder


def tell_failures(spoilt: Run, bad: Counter[str], good: int) -> None:
    """Print whether all that is good was predicted, and all that is bad has a reason."""
    reasons = [row["reason"] for row in spoilt.failed]
    print(f"\n{spoilt.images} of {good} good files predicted, {len(ODD)} of them odd: {', '.join(ODD)}")
    print(f"{len(reasons)} of {bad.total()} bad files have a reason, of {len(bad)} kinds: {', '.join(bad)}")
    for reason in reasons:
        if not reason or "unexpected" in reason:
            print(f"A reason that names no cause: {reason}")
    if spoilt.images != good or len(reasons) != bad.total() or not all(reasons):
        print("MISS: each good file is to be predicted, and each bad one to have a reason")


def headline(backend: str, count: int) -> None:
    """Print where and when this is, and the head of the table of targets."""
    print(f"\n{datetime.now(timezone.utc):%Y-%m-%d}, {machine()}; {backend}; {count} pictures\n")
    print("| figure | measured | must | aim | |\n|---|---|---|---|---|")


def target(name: str, value: float, must: float, aim: float, *, less: bool = False) -> None:
    """Print one line of the table of targets."""
    sign, bound = (-1, "at most ") if less else (1, "")
    word = "pass" if sign * value >= sign * must else "MISS"
    if sign * value >= sign * aim:
        word = "pass, aim reached"
    print(f"| {name} | {value:.2f} | {bound}{must:g} | {bound}{aim:g} | {word} |", flush=True)


def accept(pictures: list[Path], report: Path, scratch: Path) -> None:
    """Predict all pictures as JPEG, again, and as DICOM, and write what came of it."""
    report.mkdir(parents=True, exist_ok=True)
    photos = link(pictures, scratch / "photos")
    step("the networks alone")
    bare, backend = bare_ms(pictures)
    batch = Batches(scratch)
    runs = {"JPEG, PNG masks": batch.run(photos, "--masks", "png")}
    runs["JPEG, PNG masks, second pass"] = batch.run(photos, "--masks", "png", keep_answers=True)
    step("importing as DICOM")
    import_all(pictures, scratch / "instances")
    runs["DICOM, SEG and SR"] = batch.run(scratch / "instances", "--dicom")
    summaries = {name: facts_of(run, bare) for name, run in runs.items()}
    facts = {
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "machine": machine(),
        "backend": backend,
        "bare_ms": round(bare, 3),
        "runs": summaries,
    }
    (report / "acceptance.json").write_text(json.dumps(facts, indent=2))
    with (report / "memory.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "seconds", "private_mb"])
        for name, run in runs.items():
            writer.writerows([name, f"{at:.1f}", f"{mb:.1f}"] for at, mb in run.memory)
    plot(runs, report / "memory.png")
    print(json.dumps(facts, indent=2))
    headline(backend, len(pictures))
    jpeg, second, dicom = summaries.values()
    target("JPEG in, CSV + PNG masks out, against bare calls", jpeg["ratio_to_bare"], 0.85, 0.95)
    target("DICOM in, CSV + SEG + SR out, against bare calls", dicom["ratio_to_bare"], 0.60, 0.85)
    quicker = jpeg["ms_an_image"] / second["ms_an_image"]
    target("second pass over the same pictures, times quicker", quicker, 20, 50)
    for kind, run in (("JPEG", jpeg), ("DICOM", dicom)):
        count = run["pictures_compared"]
        target(
            f"{kind}: speed of the last {count} against the first", run["last_against_first_speed"], 0.98, 1
        )
        target(f"{kind}: memory growth, MB", run["growth_mb"], 50, 20, less=True)
        target(f"{kind}: peak private memory, GB", run["peak_private_mb"] / 1000, 2.5, 1.5, less=True)
        target(f"{kind}: failures", run["failures"], 0, 0, less=True)


def facts_of(run: Run, bare: float) -> dict[str, Any]:
    """Sum one run up. Growth is from the first tenth's median to the last tenth's."""
    tail = min(TAIL, len(run.times) // 2)
    # From the first full queues on: what is loaded and compiled before says nothing about slowing down.
    begin = FULL if len(run.times) > tail + FULL else 0
    first = run.times[begin + tail - 1] - run.times[begin]
    last = run.times[-1] - run.times[-tail]
    loaded = [mb for at, mb in run.memory if at > run.memory[-1][0] * 0.05]
    tenth = max(1, len(loaded) // 10)
    return {
        "images": run.images,
        "failures": len(run.failed),
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
