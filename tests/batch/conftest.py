import csv
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch
from PIL import Image
from pydicom import Dataset

from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
from dermcheck.inference import Predictor
from dermcheck.lesions import CLASSES
from dermcheck.networks import Calibration, InputSpec, ModelCard, build_network, save_model

HALF = (0.5, 0.5, 0.5)
Draw = Callable[..., Path]


def save_random_models(folder: Path, seed: int, version: str) -> Path:
    """Save both real networks with random weights whose mask has lesion and background."""
    torch.manual_seed(seed)
    for name, task, architecture, side in (
        ("classifier", "classification", "densenet121", 64),
        ("outliner", "segmentation", "unet", 64),
    ):
        classifies = task == "classification"
        card = ModelCard(
            name=f"Test {name}",
            version=version,
            task=task,
            architecture=architecture,
            classes=CLASSES if classifies else ("lesion",),
            input=InputSpec(
                side=side, mean=HALF, std=HALF, geometry="centre_square" if classifies else "short_side"
            ),
            calibration=Calibration.identity() if classifies else None,
            data="none, random weights",
            licence="CC0",
            command="pytest",
        )
        network = build_network(architecture, task)
        network(torch.rand(8, 3, 64, 64) * 2 - 1)  # batch normalisation gathers statistics
        save_model(folder / name, network, card)
    return folder


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test's first batch compute, whatever was answered in others."""
    monkeypatch.setenv("DERMCHECK_CACHE", str(tmp_path / "cache of its own"))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_models(tmp_path_factory.mktemp("models"), seed=0, version="1.0")


@pytest.fixture(scope="session")
def other_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_models(tmp_path_factory.mktemp("other_models"), seed=1, version="2.0")


@pytest.fixture(scope="session")
def predictor(models: Path) -> Predictor:
    return Predictor.load(models)


def lesion_pixels(seed: int, rows: int, columns: int) -> np.ndarray:
    """A dark ellipse on skin, another one for each seed."""
    chance = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    centre, radii = (
        chance.uniform(0.35, 0.65, 2) * (rows, columns),
        chance.uniform(0.1, 0.3, 2) * (rows, columns),
    )
    inside = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1
    pixels = np.full((rows, columns, 3), (224, 172, 148), np.uint8)
    pixels[inside] = chance.integers(20, 150, 3)
    return pixels


@pytest.fixture(scope="session")
def draw_photo() -> Draw:
    """Write a photo of the kind that the suffix says."""

    def draw(path: Path, seed: int = 0, rows: int = 60, columns: int = 80) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(lesion_pixels(seed, rows, columns)).save(path)
        return path

    return draw


@pytest.fixture(scope="session")
def draw_dicom(draw_photo: Draw, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Dataset]:
    """Write a DICOM photograph, changed by `change` before it is saved, and return its data set."""

    def draw(
        path: Path, seed: int = 0, change: Callable[[Dataset], object] = lambda dataset: None, **size: int
    ) -> Dataset:
        photo = draw_photo(tmp_path_factory.mktemp("wrapped") / "photo.png", seed, **size)
        dataset = photo_to_dicom(photo, PhotoDetails(patient_id=f"SYNTHETIC-{seed}"))
        change(dataset)
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path)
        return dataset

    return draw


@pytest.fixture(scope="session")
def read_table() -> Callable[[Path], list[dict[str, str]]]:
    def read(path: Path) -> list[dict[str, str]]:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    return read


@pytest.fixture
def pacs(orthanc) -> str:
    """The DICOMweb address of an archive, emptied."""
    for patient in requests.get(f"{orthanc}/patients", timeout=10).json():
        requests.delete(f"{orthanc}/patients/{patient}", timeout=10).raise_for_status()
    return f"{orthanc}/dicom-web"


@pytest.fixture
def send(pacs, draw_dicom, tmp_path) -> Callable[..., Dataset]:
    """Store photographs in the archive as a camera does."""

    def send(seed: int, **values: str) -> Dataset:
        def change(dataset: Dataset) -> None:
            for keyword, value in {"StudyDate": "20250101", **values}.items():
                setattr(dataset, keyword, value)

        dataset = draw_dicom(tmp_path / f"sent/{seed}.dcm", seed, change)
        content = io.BytesIO()
        dataset.save_as(content, enforce_file_format=True)
        address = pacs.removesuffix("/dicom-web")
        requests.post(f"{address}/instances", data=content.getvalue(), timeout=10).raise_for_status()
        return dataset

    return send


class Relay:
    """A way to an archive that can be interrupted."""

    def __init__(self, target: str) -> None:
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        relay = self
        self.lose_after_instances: int | None = None
        self._instances = 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if "/instances/" in self.path:
                    relay._instances += 1
                lost = relay.lose_after_instances
                if lost is not None and relay._instances > lost:
                    self.close_connection = True
                    self.connection.close()
                    return
                answer = requests.get(
                    target.removesuffix("/dicom-web") + self.path,
                    headers={"Accept": self.headers["Accept"]},
                    timeout=30,
                )
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/dicom-web"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def relay():
    opened = []

    def open_relay(target: str) -> Relay:
        opened.append(Relay(target))
        return opened[-1]

    yield open_relay
    for one in opened:
        one.server.shutdown()
        one.server.server_close()


FORK_SERVER = """
import json, os, resource, signal, sys, traceback
import dermcheck.batch.archive  # the seconds that torch and MONAI take are spent once
from dermcheck.batch import journal
from dermcheck.cli import main
from dermcheck.networks import build_network

journal._COMMIT_SECONDS = 0.2  # as if there were five times the photographs
build_network("densenet121", "classification")
build_network("unet", "segmentation")

def run(arguments, log, file_size_limit):
    os.environ["DERMCHECK_CACHE"] = f"{log} cache"  # of its own: it shall compute
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
    for number in (1, 2):
        os.dup2(os.open(f"{log}.{number}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size_limit, file_size_limit))
    try:
        status = main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        status = 70
    os._exit(status)

for line in sys.stdin:
    order = json.loads(line)
    if "arguments" in order:
        pid = os.fork()
        if pid == 0:
            run(**order)
        answer = pid
    else:
        pid, status, usage = os.wait4(order["pid"], 0)
        answer = [os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024]
    print(json.dumps(answer), flush=True)
"""


class BatchProcess:
    """One `dermcheck batch` in a process of its own."""

    def __init__(
        self, ask: Callable[..., Any], arguments: list[str], log: Path, file_size_limit: int
    ) -> None:
        self._ask = ask
        self._log = log
        self.pid: int = ask(arguments=arguments, log=str(log), file_size_limit=file_size_limit)

    def is_running(self) -> bool:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def peak_so_far_bytes(self) -> int:
        """Give the greatest resident memory up to now; `peak_memory_bytes` is that of its whole life."""
        [line] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        return int(line) * 1024

    def finish(self) -> tuple[int, str, str]:
        """Exit status, stdout and stderr."""
        status, self.peak_memory_bytes = self._ask(pid=self.pid)
        output, errors = (Path(f"{self._log}.{number}").read_text() for number in (1, 2))
        assert "Traceback" not in errors
        return status, output, errors


@pytest.fixture(scope="session")
def fork_server() -> Iterator[Callable[..., Any]]:
    """Ask a process that has everything imported to start, or to wait for, a copy of itself."""
    with subprocess.Popen(
        [sys.executable, "-c", FORK_SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as server:

        def ask(**order: Any) -> Any:
            server.stdin.write(json.dumps(order) + "\n")
            server.stdin.flush()
            return json.loads(server.stdout.readline())

        yield ask
        server.stdin.close()


@pytest.fixture(scope="session")
def start_batch(
    models: Path, fork_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., BatchProcess]:
    """Start `dermcheck batch` as a process that can be killed, stopped and limited."""

    def start(source: Path, output: Path, *options: str, file_size_limit: int = -1) -> BatchProcess:
        arguments = ["batch", str(source), "--output", str(output), "--models", str(models), *options]
        return BatchProcess(fork_server, arguments, tmp_path_factory.mktemp("log") / "log", file_size_limit)

    return start
