"""Times a server's answers while 50 clients use it: at rest, and while it predicts without a pause.

Starts `dermcheck serve` on drawn photographs of 600 × 450, lets each client mix what OHIF asks for
(list of studies, series, metadata, frame, next photograph), and prints for each kind of request p50 and
p99 of both runs and their ratio:

    python benchmarks/server.py
    python benchmarks/server.py --seconds 10 --clients 10

Clients are threads of this process, each with one connection, a request every half second. On a
machine that does something else besides, look at the ratio rather than at the times.
"""

import argparse
import os
import platform
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import requests
from PIL import Image

from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom

FRAMES = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
LIMIT_MS = 100
THINKING_S = 0.5
Times = dict[str, list[float]]


def main() -> None:
    """Serve, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="length of each run (default 60)")
    parser.add_argument("--clients", type=int, default=50, help="how many at once (default 50)")
    parser.add_argument("--photographs", type=int, default=200, help="how many to draw (default 200)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dermcheck-benchmark-") as scratch:
        studies = Path(scratch, "studies")
        draw(studies, arguments.photographs)
        started = time.monotonic()
        with serving(studies, Path(scratch)) as (address, process):
            ready_s = time.monotonic() - started
            places = find_photographs(address)
            first_image_s = time.monotonic() - started
            ask(address, places, 5, arguments.clients)  # connections, caches
            before_s = sum(process.cpu_times()[:2])
            rest = ask(address, places, arguments.seconds, arguments.clients)
            used_s = sum(process.cpu_times()[:2]) - before_s
            with predicting(address, places) as predictions:
                predicting_too = ask(address, places, arguments.seconds, arguments.clients)
    print(f"\n{arguments.clients} clients, {arguments.seconds:g} s a run; {hardware()}")
    print(f"start to ready {ready_s:.1f} s, to the first frame {first_image_s:.1f} s")
    print(f"predictions meanwhile: {len(predictions)}, p50 {percentile(predictions, 50):.0f} ms")
    asked = sum(len(times) for times in rest.values())
    print(f"processor time of the server: {used_s / asked * 1000:.1f} ms a request, {asked} requests\n")
    table(rest, predicting_too)


def draw(studies: Path, count: int) -> None:
    """Write photographs, three to a patient."""
    studies.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        skin = rng.normal((214, 168, 150), 6, (450, 600, 3)).clip(0, 255).astype(np.uint8)
        skin[100:250, 200:420] = (96, 58, 44)
        photo = studies / "photo.jpg"
        Image.fromarray(skin).save(photo, quality=85)
        dataset = photo_to_dicom(photo, PhotoDetails(patient_id=f"SYNTHETIC-{number // 3}"))
        photo.unlink()
        dataset.save_as(studies / f"{number:05}.dcm", enforce_file_format=True)


@contextmanager
def serving(studies: Path, scratch: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Start a server as a clinic does; give its address and process once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"DERMCHECK_CACHE": str(scratch / "cache"), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "dermcheck", "serve", "--studies", str(studies), "--port", str(port)]
    log = scratch / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)  # noqa: S603
    try:
        until = time.monotonic() + 300
        while b"is ready" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"The server does not start:\n{log.read_text()}")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def find_photographs(address: str) -> list[tuple[str, str, str]]:
    """List all photographs, and get one frame."""
    found = requests.get(f"{address}/dicom-web/instances", timeout=60).json()
    places = [tuple(row[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018")) for row in found]
    requests.get(frame_url(address, places[0]), headers=FRAMES, timeout=60).raise_for_status()
    return places


def frame_url(address: str, place: tuple[str, str, str]) -> str:
    """Return the address of a frame."""
    return "{}/dicom-web/studies/{}/series/{}/instances/{}/frames/1".format(address, *place)


def ask(address: str, places: list[tuple[str, str, str]], seconds: float, clients: int) -> Times:
    """Let clients ask for a while; return milliseconds by kind of request."""
    times: Times = defaultdict(list)
    until = time.monotonic() + seconds
    threads = [
        threading.Thread(target=one_client, args=(number, address, places, until, times))
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def one_client(
    seed: int, address: str, places: list[tuple[str, str, str]], until: float, times: Times
) -> None:
    """Ask one thing after the other, with pauses."""
    rng, session = random.Random(seed), requests.Session()  # noqa: S311 - no secret
    root = f"{address}/dicom-web"

    def series(place: tuple[str, str, str]) -> requests.Response:
        return session.get(f"{root}/studies/{place[0]}/series", timeout=60)

    def metadata(place: tuple[str, str, str]) -> requests.Response:
        return session.get(f"{root}/studies/{place[0]}/series/{place[1]}/metadata", timeout=60)

    kinds: dict[str, Callable[[tuple[str, str, str]], requests.Response]] = {
        "list of studies (25)": lambda place: session.get(f"{root}/studies?limit=25", timeout=60),
        "series of a study": series,
        "metadata of a series": metadata,
        "frame": lambda place: session.get(frame_url(address, place), headers=FRAMES, timeout=60),
        "next photograph": lambda place: session.post(
            f"{address}/activelearning/random", json={}, timeout=60
        ),
    }
    time.sleep(rng.random() * THINKING_S)
    while time.monotonic() < until:
        kind = rng.choice(list(kinds))
        started = time.perf_counter()
        kinds[kind](rng.choice(places)).raise_for_status()
        times[kind].append((time.perf_counter() - started) * 1000)
        time.sleep(max(0.0, THINKING_S * (0.5 + rng.random()) - (time.perf_counter() - started)))


@contextmanager
def predicting(address: str, places: list[tuple[str, str, str]]) -> Iterator[list[float]]:
    """Keep the server predicting: two clients that ask again as soon as they have an answer."""
    took: list[float] = []
    ended = threading.Event()

    def predict(seed: int) -> None:
        rng, session = random.Random(seed), requests.Session()  # noqa: S311 - no secret
        while not ended.is_set():
            started = time.perf_counter()
            image = rng.choice(places)[2]
            session.post(
                f"{address}/infer/dermcheck?image={image}&output=json", timeout=120
            ).raise_for_status()
            took.append((time.perf_counter() - started) * 1000)

    threads = [threading.Thread(target=predict, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield took
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def table(rest: Times, predicting_too: Times) -> None:
    """Print p50 and p99 of both runs."""
    print(f"| {'request':22} | {'at rest p50 / p99':20} | {'predicting p50 / p99':20} | {'p50 ratio':9} |")
    print(f"|{'-' * 24}|{'-' * 22}|{'-' * 22}|{'-' * 11}|")
    everything = "all"
    for times in (rest, predicting_too):
        times[everything] = [one for kind in list(times) for one in times[kind]]
    for kind in sorted(rest, key=lambda name: (name == everything, name)):
        (a50, a99), (b50, b99) = (
            (percentile(times[kind], 50), percentile(times[kind], 99)) for times in (rest, predicting_too)
        )
        cells = f"{a50:6.1f} / {a99:6.1f} ms", f"{b50:6.1f} / {b99:6.1f} ms", f"{b50 / a50:.2f}"
        print(f"| {kind:22} | {cells[0]:20} | {cells[1]:20} | {cells[2]:9} |")
    worst = percentile(predicting_too[everything], 99)
    print(f"\np99 while predicting {worst:.0f} ms; aim: below {LIMIT_MS} ms")


def percentile(values: list[float], percent: float) -> float:
    """Return a percentile, NaN if there is no value."""
    return float(np.percentile(values, percent)) if values else float("nan")


def hardware() -> str:
    """Name processor, cores and load."""
    model = (
        re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        if sys.platform == "linux"
        else None
    )
    name = model[1] if model else platform.processor()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return f"{name}, {psutil.cpu_count(logical=False)} cores, load at the end {load:.1f}"


if __name__ == "__main__":
    main()
