"""Times what a clinician waits for in a folder of 10,015 studies, as many as HAM10000 has photographs.

Draws made-up photographs of 600 × 450 (one JPEG, other UIDs, patient and day in each file), opens them in
fresh processes and prints a table:

    python benchmarks/datastore.py
    python benchmarks/datastore.py --studies 2000 --repeat 50

The files are in the operating system's memory, as they have just been written: from a cold disk the
first start takes as long as reading them does.
"""

import argparse
import gc
import io
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from pydicom.uid import generate_uid
from tqdm import tqdm

ROWS, COLUMNS = 450, 600


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    measured: str
    limit: str = ""


def main() -> None:
    """Draw, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--studies", type=int, default=10_015, help="how many to draw (default 10,015)")
    parser.add_argument("--repeat", type=int, default=200, help="how often each call is timed (default 200)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dermcheck-benchmark-") as scratch:
        studies, cache = Path(scratch, "studies"), Path(scratch, "cache")
        draw(studies, arguments.studies)
        rows = [
            *in_a_fresh_process(first_start, studies, cache),
            *in_a_fresh_process(later_start, studies, cache),
            *in_a_fresh_process(calls, studies, cache, arguments.repeat),
        ]
    print(f"\n{arguments.studies:,} studies, {arguments.repeat} repetitions; {hardware()}\n")
    print(f"| {'what':44} | {'measured':34} | {'limit':18} |")
    print(f"|{'-' * 46}|{'-' * 36}|{'-' * 20}|")
    for row in rows:
        print(f"| {row.name:44} | {row.measured:34} | {row.limit:18} |")


def draw(studies: Path, count: int) -> None:
    """Write the studies, each with one photograph."""
    from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom

    studies.mkdir()
    photo = studies / "photo.jpg"
    Image.fromarray(_lesion()).save(photo, quality=85)
    dataset = photo_to_dicom(photo, PhotoDetails(patient_id="SYNTHETIC", acquired=datetime(2024, 1, 2, 12)))
    photo.unlink()
    for number in tqdm(range(count), desc="drawing", unit="file", disable=not sys.stderr.isatty()):
        dataset.PatientID = f"SYNTHETIC-{number // 3}"
        dataset.PatientName = f"SYNTHETIC^{number // 3}"
        for level in ("Study", "Series", "SOP"):
            setattr(dataset, f"{level}InstanceUID", generate_uid())
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        folder = studies / f"{number // 3:04}"
        folder.mkdir(exist_ok=True)
        content = io.BytesIO()
        dataset.save_as(content, enforce_file_format=True)
        (folder / f"{number}.dcm").write_bytes(content.getvalue())


def _lesion() -> np.ndarray:
    y, x = np.mgrid[:ROWS, :COLUMNS]
    pixels = np.random.default_rng(0).normal((224, 172, 148), 6, (ROWS, COLUMNS, 3))
    pixels[((y - 220) / 120) ** 2 + ((x - 310) / 150) ** 2 < 1] -= 90
    return pixels.clip(0, 255).astype(np.uint8)


def in_a_fresh_process(measure: Callable[..., list[Row]], *arguments: object) -> list[Row]:
    """Measure without what earlier measurements left in memory."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(measure, *arguments).result()


def first_start(studies: Path, cache: Path) -> list[Row]:
    """Time opening a folder that was never opened."""
    return [_start("first start to ready", "30 s", studies, cache)]


def later_start(studies: Path, cache: Path) -> list[Row]:
    """Time opening it again."""
    return [_start("later start to ready", "5 s", studies, cache)]


def _start(name: str, limit: str, studies: Path, cache: Path) -> Row:
    from dermcheck.datastore import StudyStore
    from dermcheck.label_app.datastore import DermCheckDatastore

    started = time.perf_counter()
    with StudyStore.open(studies, cache) as store:
        DermCheckDatastore(store)
        seconds = time.perf_counter() - started
    return Row(name, f"{seconds:.2f} s", f"<= {limit}")


def calls(studies: Path, cache: Path, repeat: int) -> list[Row]:
    """Time the calls of MONAI Label's endpoints in a running server's process."""
    from dermcheck.active_learning.recommending import Recommender
    from dermcheck.active_learning.score_keeper import ScoreKeeper
    from dermcheck.active_learning.scoring_worker import ScoringPlaces
    from dermcheck.datastore import StudyStore
    from dermcheck.dicom.viewer_masks import write_label_map
    from dermcheck.label_app.datastore import DermCheckDatastore
    from dermcheck.label_app.strategies import make_strategies

    gc.collect()
    before = psutil.Process().memory_info().rss
    label = cache / "label.nii.gz"
    write_label_map((_lesion()[:, :, 0] < 180).astype(np.uint8) * 5, None, label)
    names = {"label_info": [{"name": f"segment {number}", "idx": number} for number in range(1, 8)]}
    with StudyStore.open(studies, cache) as store:
        datastore = DermCheckDatastore(store)
        scores = ScoreKeeper(store, ScoringPlaces(None, None, None), lambda: None, lambda: False)
        strategy = make_strategies(Recommender(store, scores))["random"]
        gc.collect()
        memory = psutil.Process().memory_info().rss

        def next_sample() -> None:
            image_id = strategy({"strategy": "random"}, datastore)["id"]
            datastore.get_image_uri(image_id)
            datastore.get_image_info(image_id)
            datastore.update_image_info(image_id, {"strategy": {"random": {"ts": int(time.time())}}})

        image_ids = iter(store.image_ids())
        return [
            Row("next_sample (volume and checksum made)", _percentiles(next_sample, repeat), "p99 <= 50 ms"),
            Row(
                "save_label (.nii.gz to stored SEG)",
                _percentiles(
                    lambda: datastore.save_label(next(image_ids), str(label), "final", names), repeat
                ),
                "p99 <= 50 ms",
            ),
            Row("datastore() counts", _percentiles(datastore.status, repeat)),
            Row("datastore() list of everything", _percentiles(datastore.json, max(repeat // 10, 5))),
            Row("a look for changes (every few seconds)", _percentiles(store.refresh, max(repeat // 10, 5))),
            Row(
                "resident memory, studies open",
                f"{memory / 2**20:.0f} MiB ({(memory - before) / 2**20:+.0f} MiB)",
            ),
            Row("resident memory, after all this", f"{psutil.Process().memory_info().rss / 2**20:.0f} MiB"),
        ]


def _percentiles(call: Callable[[], object], repeat: int) -> str:
    call()  # imports and first allocations
    milliseconds = []
    for _ in tqdm(range(repeat), leave=False, disable=not sys.stderr.isatty()):
        started = time.perf_counter()
        call()
        milliseconds.append(1000 * (time.perf_counter() - started))
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"


def hardware() -> str:
    """Say on what and when this ran."""
    model = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        model = next(
            (line.split(":")[1].strip() for line in info.open() if line.startswith("model name")), model
        )
    busy = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{datetime.now():%Y-%m-%d}, {os.cpu_count()} cores ({model}){busy}, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.system()} {platform.release()}, Python "
        f"{platform.python_version()}, pydicom {version('pydicom')}, highdicom {version('highdicom')}"
    )


if __name__ == "__main__":
    main()
