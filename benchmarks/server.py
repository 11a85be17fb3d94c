"""Times a server: its start, one prediction, many at once, a repeated one, and all else meanwhile.

Starts `dermcheck serve` on drawn photographs of 600 × 450 and prints

- how long it takes until it is ready (weights loaded, warm), and until the first frame is there;
- one prediction by HTTP (decode, both networks, reply with the mask) against the bare networks on
  prepared arrays, in alternation; eight at once against one at a time; the same photograph asked again;
  this server scores no photographs in the background, which would disturb both;
- from another server, which does: p50 and p99 of what 50 clients mix as OHIF does (list of studies, series,
  metadata, frame, next photograph) at rest, while it predicts without a pause, their ratio, and beside a
  process that trains a layer on all cores with the priority of a training:

    python benchmarks/server.py
    python benchmarks/server.py --seconds 10 --clients 10

Clients are threads of this process, each with one connection, a request every half second. Every prediction
is on a photograph of its own, since what was asked before is not computed again. On a machine that does
something else besides, look at ratios rather than at times.
"""

import argparse
import http.client
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import requests
from PIL import Image
from pydicom import dcmread
from pydicom.uid import generate_uid

from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
from dermcheck.dicom.photograph import read_photograph
from dermcheck.label_app.lean_imports import lean_imports

if TYPE_CHECKING:
    from dermcheck.inference import Predictor

FRAMES = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
LIMIT_MS = 100
AT_ONCE = 8
ROUNDS = 40
PAUSE_S = 0.02
"""Before each of them: a clinic's predictions do not find the processor's caches warm from the last one."""
PREDICTIONS_PER_S = 30
"""More than two clients, each waiting for its answer, get from two cores."""
THINKING_S = 0.5
TRAINING = """
import psutil, torch
psutil.Process().nice(getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", 10))
torch.set_num_threads(psutil.cpu_count(logical=False))
layer, photographs = torch.nn.Conv2d(3, 64, 3), torch.rand(8, 3, 224, 224)
while True:
    layer(photographs).sum().backward()
"""
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
        os.environ |= {"DERMCHECK_CACHE": str(Path(scratch, "cache")), "OMP_WAIT_POLICY": "PASSIVE"}
        bare = load_predictor()  # exports the networks for the server too: that is done once a version
        fresh = copies(studies, ROUNDS * (AT_ONCE + 2) + int(arguments.seconds * PREDICTIONS_PER_S))
        started = time.monotonic()
        with serving(studies, Path(scratch), scoring=False) as (address, _):
            ready_s = time.monotonic() - started
            places = find_photographs(address)
            first_image_s = time.monotonic() - started
            compared = compare_with_bare(address, fresh, studies / "00000.dcm", bare)
        with serving(studies, Path(scratch), scoring=True) as (address, process):
            ask(address, places, 5, arguments.clients)  # connections, caches
            before_s = sum(process.cpu_times()[:2])
            rest = ask(address, places, arguments.seconds, arguments.clients)
            used_s = sum(process.cpu_times()[:2]) - before_s
            with predicting(address, fresh) as predictions:
                predicting_too = ask(address, places, arguments.seconds, arguments.clients)
            with training():
                beside_training = ask(address, places, arguments.seconds, arguments.clients)
    print(f"\n{hardware()}")
    print(
        f"start to ready {ready_s:.1f} s, to the first frame {first_image_s:.1f} s", verdict(ready_s, 10, 5)
    )
    print("\n".join(compared))
    print(f"\n{arguments.clients} clients, {arguments.seconds:g} s a run")
    print(f"predictions meanwhile: {len(predictions)}, p50 {percentile(predictions, 50):.0f} ms")
    asked = sum(len(times) for times in rest.values())
    print(f"processor time of the server: {used_s / asked * 1000:.1f} ms a request, {asked} requests\n")
    table(rest, predicting_too)
    times = [one for kind in beside_training.values() for one in kind]
    print(f"beside a training: p50 {percentile(times, 50):.1f} ms, p99 {percentile(times, 99):.1f} ms")


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


def copies(studies: Path, count: int) -> Iterator[str]:
    """Write photographs under ids of their own, three to a study; give the ids one by one."""
    dataset = dcmread(studies / "00000.dcm")
    ids = []
    for number in range(count):
        if number % 3 == 0:  # no study has thousands of photographs
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.save_as(studies / f"copy {number:05}.dcm", enforce_file_format=True)
        ids.append(str(dataset.SOPInstanceUID))
    return iter(ids)


def load_predictor() -> "Predictor":
    """Load the reference models with the back end that the server takes."""
    with lean_imports():
        from dermcheck.inference import Predictor
    return Predictor.load()


def compare_with_bare(
    address: str, fresh: Iterator[str], photograph: Path, predictor: "Predictor"
) -> list[str]:
    """Time predictions by HTTP and the bare networks in turns; return lines to print."""
    pixels = read_photograph(photograph).pixels
    batch = [predictor.prepare(pixels)] * AT_ONCE
    connections = [http.client.HTTPConnection(address.partition("//")[2]) for _ in range(AT_ONCE)]
    pool = ThreadPoolExecutor(AT_ONCE)

    def predict(image: str, connection: http.client.HTTPConnection = connections[0]) -> None:
        connection.request("POST", f"/infer/dermcheck?image={image}")
        answer = connection.getresponse()
        if answer.read() and answer.status != 200:
            sys.exit(f"A prediction failed with status {answer.status}.")

    def predict_all(images: list[str]) -> None:
        list(pool.map(predict, images, connections))

    times: Times = defaultdict(list)
    asked: list[str] = []
    for number in range(ROUNDS + 3):
        alone = next(fresh)
        asked.append(alone)
        steps: list[tuple[str, Callable[..., object], object]] = [
            ("bare", predictor.compute, batch[:1]),
            ("whole", predictor.predict, pixels),
            ("http", predict, alone),
            ("bare batch", predictor.compute, batch),
            ("at once", predict_all, [next(fresh) for _ in range(AT_ONCE)]),
        ]
        for name, step, argument in steps:
            time.sleep(PAUSE_S)
            began = time.perf_counter()
            step(argument)
            if number >= 3:  # the first ones warm everything up
                times[name].append((time.perf_counter() - began) * 1000)
    pool.shutdown()
    for image in asked[3:]:  # a second pass over the same photographs
        time.sleep(PAUSE_S)
        began = time.perf_counter()
        predict(image)
        times["again"].append((time.perf_counter() - began) * 1000)
    median = {name: percentile(values, 50) for name, values in times.items()}
    one, many = median["http"] / median["bare"], median["at once"] / median["bare batch"]
    quicker = median["http"] / median["again"]
    alone_ms, again, each = median["http"], median["again"], median["at once"] / AT_ONCE
    return [
        f"bare networks ({predictor.backend}): {median['bare']:.1f} ms",
        f"the same with preparation and mask: {median['whole']:.1f} ms",
        f"one prediction by HTTP: {alone_ms:.1f} ms, {one:.2f} × bare {verdict(one, 1.5, 1.2)}",
        f"{AT_ONCE} at once: {each:.1f} ms each, {many:.2f} × bare, {alone_ms / each:.2f} × the rate",
        f"second pass: {again:.2f} ms, {quicker:.1f} × faster {verdict(quicker, 20, 50, more=True)}",
    ]


def verdict(value: float, must: float, aim: float, *, more: bool = False) -> str:
    """Say whether a figure is as small as it must be, or as large."""
    sign = -1 if more else 1
    word = "pass" if sign * value <= sign * must else "MISS"
    if sign * value <= sign * aim:
        word = "pass, aim reached"
    return f"(must {must:g}, aim {aim:g}: {word})"


@contextmanager
def serving(studies: Path, scratch: Path, *, scoring: bool) -> Iterator[tuple[str, psutil.Process]]:
    """Start a server as a clinic does; give its address and process once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    environment |= {} if scoring else {"MONAI_LABEL_AUTO_UPDATE_SCORING": "false"}
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
def predicting(address: str, fresh: Iterator[str]) -> Iterator[list[float]]:
    """Keep the server predicting: two clients that ask again as soon as they have an answer."""
    took: list[float] = []
    ended = threading.Event()

    def predict() -> None:
        session = requests.Session()
        while not ended.is_set():
            image = next(fresh, None)
            if image is None:
                sys.exit("There were too few photographs to predict on: raise PREDICTIONS_PER_S.")
            started = time.perf_counter()
            session.post(
                f"{address}/infer/dermcheck?image={image}&output=json", timeout=120
            ).raise_for_status()
            took.append((time.perf_counter() - started) * 1000)

    threads = [threading.Thread(target=predict) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield took
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@contextmanager
def training() -> Iterator[None]:
    """Train a layer on all cores at the priority of the server's trainings, in place of one of minutes."""
    process = subprocess.Popen([sys.executable, "-c", TRAINING])  # noqa: S603
    time.sleep(5)  # its imports
    if process.poll() is not None:
        sys.exit("The training does not start.")
    try:
        yield
    finally:
        process.kill()
        process.wait()


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
