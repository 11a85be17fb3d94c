"""Real servers, started as a clinic starts them, and 3D Slicer's own client to talk to them."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import requests
import SimpleITK
import torch
from PIL import Image, ImageDraw
from pydicom import Dataset

from dermcheck.datastore import StudyStore
from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
from dermcheck.dicom.segmentation import LesionSegment, read_segmentation
from dermcheck.inference import Predictor
from dermcheck.lesions import CLASSES
from dermcheck.networks import Calibration, InputSpec, ModelCard, build_network, save_model

REPOSITORY = Path(__file__).parents[2]
START_LIMIT_S = 120  # a busy machine; how quick it is normally is measured, not tested

# Notes every attempt to reach another machine; -X and PYTHONPATH reach child processes too.
NETWORK_GUARD = """
import os, sys

def _note(event, arguments):
    if event == "socket.connect":
        host = arguments[1][0] if isinstance(arguments[1], tuple) else "127.0.0.1"
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if host not in (None, "", "127.0.0.1", "::1", "localhost", b"127.0.0.1", b"localhost"):
        with open(os.environ["NETWORK_NOTES"], "a") as notes:
            notes.write(f"{event} {host}\\n")
        raise OSError("no network in tests")

sys.addaudithook(_note)
"""


@dataclass(frozen=True)
class Server:
    """A running server."""

    address: str
    process: subprocess.Popen[bytes]
    studies: Path
    log: Path
    network_notes: Path
    temporary_files: Path

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(method, self.address + path, timeout=120, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> requests.Response:
        return self.request("PUT", path, **options)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def slicer_client() -> ModuleType:
    """The client library of the plug-in for 3D Slicer, as the monailabel wheel installs it."""
    path = Path(sys.prefix) / "monailabel/plugins/slicer/MONAILabel/MONAILabelLib/client.py"
    spec = importlib.util.spec_from_file_location("slicer_client", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def client(server: Server, slicer_client: ModuleType, tmp_path: Path) -> Any:
    folder = tmp_path / "slicer's temporary files"
    folder.mkdir()
    return slicer_client.MONAILabelClient(server.address, str(folder), "slicer-user")


@pytest.fixture(scope="session")
def draw_photo() -> Callable[[int, int, int], Image.Image]:
    """Draw skin with a lesion off the centre: no mirroring or turning leaves the picture as it is."""

    def draw(columns: int, rows: int, seed: int) -> Image.Image:
        rng = np.random.default_rng(seed)
        skin = rng.normal((214, 168, 150), 6, (rows, columns, 3)).clip(0, 255).astype(np.uint8)
        photo = Image.fromarray(skin)
        x, y, width, height = columns * 0.2, rows * 0.25, columns * 0.35, rows * 0.3
        ImageDraw.Draw(photo).ellipse((x, y, x + width, y + height), fill=(96, 58, 44))
        return photo

    return draw


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, draw_photo: Callable[..., Image.Image]) -> Path:
    """The two real networks with random weights, made to outline an irregular half of a drawn photo."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    pixels = torch.from_numpy(np.array(draw_photo(256, 192, 0))).permute(2, 0, 1)[None] / 127.5 - 1
    for name, task, architecture, side in (
        ("classifier", "classification", "densenet121", 128),
        ("outliner", "segmentation", "unet", 192),
    ):
        classifies = task == "classification"
        network = build_network(architecture, task)
        network(pixels.expand(2, -1, -1, -1))  # batch normalisation gathers statistics
        if not classifies:
            with torch.no_grad():
                list(network.parameters())[-1].sub_(network.eval()(pixels).median())  # the last bias
        card = ModelCard(
            name=f"Test {name}",
            version="1.0",
            task=task,
            architecture=architecture,
            classes=CLASSES if classifies else ("lesion",),
            input=InputSpec(
                side=side,
                mean=(0.5, 0.5, 0.5),
                std=(0.5, 0.5, 0.5),
                geometry="centre_square" if classifies else "short_side",
            ),
            calibration=Calibration.identity() if classifies else None,
            data="none, random weights",
            licence="CC0",
            command="pytest",
        )
        save_model(folder / name, network, card)
    return folder


@pytest.fixture(scope="session")
def make_photograph(
    draw_photo: Callable[[int, int, int], Image.Image], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Dataset]:
    """Make a DICOM photograph of a drawn photo."""

    def make(columns: int, rows: int, seed: int, spacing_mm: float | None = None) -> Dataset:
        path = tmp_path_factory.mktemp("photos") / f"photo {seed}.png"
        draw_photo(columns, rows, seed).save(path)
        return photo_to_dicom(path, PhotoDetails(patient_id=f"TEST-{seed}", pixel_spacing_mm=spacing_mm))

    return make


@pytest.fixture(scope="session")
def fill_studies(make_photograph: Callable[..., Dataset]) -> Callable[[Path], None]:
    """Put three photographs into a folder: landscape, portrait with a scale, and a tiny wide one."""

    def fill(folder: Path) -> None:
        photographs = (
            make_photograph(600, 450, 1),
            make_photograph(300, 480, 2, spacing_mm=0.05),
            make_photograph(97, 31, 3),
        )
        for number, photograph in enumerate(photographs):
            path = folder / f"Besuch {number} – пациент" / f"Fleck am Rücken {number} 皮膚.dcm"
            path.parent.mkdir(parents=True)
            photograph.save_as(path, enforce_file_format=True)

    return fill


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], dict[str, str]]:
    """Make an environment for a server: caches of its own, this Python first, the network guard."""

    def make() -> dict[str, str]:
        folder = tmp_path_factory.mktemp("environment")
        (folder / "sitecustomize.py").write_text(NETWORK_GUARD)
        (folder / "tmp").mkdir()
        return os.environ | {
            "DERMCHECK_CACHE": str(folder / "cache"),
            "DERMCHECK_DATA": str(folder / "data"),
            "TMPDIR": str(folder / "tmp"),
            "OMP_NUM_THREADS": "1",  # the test's own process computes the same way, to the last bit
            "NETWORK_NOTES": str(folder / "network.txt"),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])),
        }

    return make


@pytest.fixture(scope="session")
def serve_command() -> list[str]:
    """What the entry point `dermcheck serve` runs, also where only the source tree is there."""
    return [sys.executable, "-m", "dermcheck.cli", "serve"]


@pytest.fixture(scope="session")
def start(
    tmp_path_factory: pytest.TempPathFactory, environment: Callable[[], dict[str, str]]
) -> Iterator[Callable[..., Server]]:
    """Start a server by a command and wait for `/info/`; all are ended with the tests."""
    processes: list[subprocess.Popen[bytes]] = []

    def start_server(command: list[str], studies: Path, port: int, cwd: Path | None = None) -> Server:
        variables = environment()
        log = tmp_path_factory.mktemp("log") / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=cwd, env=variables, stdout=output, stderr=output, start_new_session=True
            )
        processes.append(process)
        server = Server(
            f"http://127.0.0.1:{port}",
            process,
            studies,
            log,
            Path(variables["NETWORK_NOTES"]),
            Path(variables["TMPDIR"]),
        )
        _wait_for(server)
        return server

    yield start_server
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # its own session: the server and its children alone
            process.wait()


def _wait_for(server: Server) -> None:
    until = time.monotonic() + START_LIMIT_S
    while time.monotonic() < until:
        assert server.process.poll() is None, server.log.read_text()
        try:
            if server.get("/info/").ok:
                return
        except requests.ConnectionError:
            time.sleep(0.2)
    pytest.fail(f"no answer within {START_LIMIT_S} s:\n{server.log.read_text()}")


@pytest.fixture(scope="session", params=["dermcheck serve", "monailabel start_server"])
def server(
    request: pytest.FixtureRequest,
    start: Callable[..., Server],
    serve_command: list[str],
    free_port: Callable[[], int],
    fill_studies: Callable[[Path], None],
    models: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Server:
    """A server with three photographs, started in both ways."""
    port, place = free_port(), tmp_path_factory.mktemp("place")
    if request.param == "dermcheck serve":
        studies = place / "Studien – Müller 皮膚科"
        fill_studies(studies)
        command = [*serve_command, "--studies", str(studies), "--models", str(models), "--port", str(port)]
        return start(command, studies, port)
    # MONAI Label's own command is a shell script that breaks at spaces in its arguments.
    studies = place / "studies"
    fill_studies(studies)
    (place / "apps" / "dermcheck").mkdir(parents=True)
    shutil.copy(REPOSITORY / "apps/dermcheck/main.py", place / "apps/dermcheck/main.py")
    command = ["monailabel", "start_server", "--app", "apps/dermcheck", "--studies", "studies"]
    options = ["--host", "127.0.0.1", "--port", str(port), "--conf", "models", str(models)]
    return start([*command, *options], studies, port, cwd=place)


@pytest.fixture
def studies_now(server: Server, tmp_path: Path) -> Callable[[], StudyStore]:
    """Look at the studies folder as another program would, with a cache of its own."""

    def look() -> StudyStore:
        return StudyStore.open(server.studies, tmp_path / "another program's cache", watch=False)

    return look


@pytest.fixture
def image_of_size(studies_now: Callable[[], StudyStore]) -> Callable[[int, int], str]:
    """Find the id of the photograph with so many columns and rows."""

    def find(columns: int, rows: int) -> str:
        store = studies_now()
        sizes = {(store.header(i).columns, store.header(i).rows): i for i in store.image_ids()}
        return sizes[columns, rows]

    return find


@pytest.fixture
def companion(server: Server, tmp_path: Path) -> Callable[[str], SimpleITK.Image]:
    """Download a photograph as 3D Slicer on another machine does, and open it."""

    def download(image_id: str) -> SimpleITK.Image:
        answer = server.get("/datastore/image", params={"image": image_id})
        assert answer.ok, answer.text
        path = tmp_path / "companion.nrrd"
        path.write_bytes(answer.content)
        return SimpleITK.ReadImage(str(path))

    return download


@pytest.fixture(scope="session")
def predictor(models: Path) -> Predictor:
    """The models that the servers use, in this process."""
    torch.set_num_threads(1)
    return Predictor.load(models)


@pytest.fixture(scope="session")
def l_shape() -> Callable[..., np.ndarray]:
    """Draw an L near one corner as a (rows, columns) label map: every mirroring and turning shows."""

    def draw(rows: int, columns: int, value: int = 1) -> np.ndarray:
        label_map = np.zeros((rows, columns), np.uint8)
        label_map[rows // 8 : rows // 2, columns // 8 : columns // 5] = value
        label_map[rows * 2 // 5 : rows // 2, columns // 8 : columns // 2] = value
        return label_map

    return draw


@pytest.fixture
def submit(client: Any, tmp_path: Path, companion: Callable[[str], SimpleITK.Image]) -> Callable[..., str]:
    """Submit a label map as 3D Slicer does by default: 16-bit .nii.gz, names in the order of the values."""

    def send(image_id: str, label_map: np.ndarray, names: list[str]) -> str:
        volume = SimpleITK.GetImageFromArray(label_map[None].astype(np.int16))
        volume.CopyInformation(companion(image_id))
        path = tmp_path / "Segmentierung (korrigiert) ü.nii.gz"
        SimpleITK.WriteImage(volume, str(path), useCompression=True)
        # Slicer counts the index from 1 over all segments of the scene, a background included.
        label_info = [{"name": name, "idx": number} for number, name in enumerate(names, start=2)]
        answer = client.save_label(image_id, str(path), params={"label_info": label_info})
        assert answer["image"] == image_id
        return str(answer["label"])

    return send


@pytest.fixture
def kept_segments(studies_now: Callable[[], StudyStore]) -> Callable[[str], list[LesionSegment]]:
    """Read a label from the Segmentation on the disk."""

    def read(label_id: str) -> list[LesionSegment]:
        store = studies_now()
        label = store.label(label_id)
        return read_segmentation(store.retrieve_label(label_id), store.header(label.image_id))

    return read
