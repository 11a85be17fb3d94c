"""Shared by all tests: programs that come from Debian packages, and Hypothesis' settings."""

import errno
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import requests
from hypothesis import settings
from PIL import Image, ImageDraw

# Two busy cores make any deadline a matter of luck; pytest-timeout ends what really hangs.
settings.register_profile("dermcheck", parent=settings(), deadline=None)
settings.load_profile("dermcheck")

_ORTHANC_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported, see dermcheck.cli
# Exporting a network takes seconds, and most tests make their own; tests of back ends name theirs.
os.environ.setdefault("DERMCHECK_BACKEND", "torch")


@pytest.fixture(scope="session", autouse=True)
def no_registry_of_the_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Predict with the models that DermCheck comes with, whatever this account has trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DERMCHECK_MODELS", str(tmp_path_factory.mktemp("no registry") / "none"))
        yield


@pytest.fixture(scope="session")
def require_program() -> Callable[[str, str], str]:
    """Give the path of a program by name and Debian package; without it the test is skipped, in CI it fails.

    >>> dciodvfy = require_program("dciodvfy", "dicom3tools")  # doctest: +SKIP
    """

    def require(program: str, package: str) -> str:
        path = shutil.which(program)
        if path is None:
            reason = f"needs {program}: apt install {package}"
            if os.environ.get("CI"):
                pytest.fail(f"{reason} (.ci/run installs it)")
            pytest.skip(reason)
        return path

    return require


@pytest.fixture
def fill_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Callable[[], None]]:
    """Let the disk be full for a file or folder of this name; what is returned makes room again."""

    def fill(name: str) -> Callable[[], None]:
        flush = os.fsync

        def refuse(descriptor: int) -> None:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if any(part.endswith(f"-{name}") for part in path.parts[-2:]):  # hidden until it is whole
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            flush(descriptor)

        monkeypatch.setattr(os, "fsync", refuse)
        return lambda: monkeypatch.setattr(os, "fsync", flush)

    return fill


@pytest.fixture(scope="session")
def draw_lesion() -> Callable[[int, int], tuple[Image.Image, np.ndarray]]:
    """Draw a photograph of 64 x 64 with a lesion whose colour tells its class, and its mask."""

    def draw(label: int, seed: int) -> tuple[Image.Image, np.ndarray]:
        chance = np.random.default_rng(seed)
        skin = chance.normal((214, 168, 150), 6, (64, 64, 3)).clip(0, 255).astype(np.uint8)
        photo, mask = Image.fromarray(skin), Image.new("1", (64, 64))
        x, y = chance.uniform(24, 40, 2)
        radius = chance.uniform(8, 20)
        box = (x - radius, y - radius, x + radius, y + radius)
        ImageDraw.Draw(photo).ellipse(box, fill=(label * 30, 120 - label * 15, label * 20))
        ImageDraw.Draw(mask).ellipse(box, fill=1)
        return photo, np.array(mask)

    return draw


@pytest.fixture(scope="session")
def make_data_set(draw_lesion) -> Callable[..., Path]:
    """Make a data set of drawn photographs in a folder: folds of 7 photographs, one of each class."""

    def make(folder: Path, per_fold: int = 7) -> Path:
        from dermcheck.lesions import CLASSES

        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        lines = ["image_id,lesion_id,dx,fold"]
        for number in range(10 * per_fold):
            photo, mask = draw_lesion(number % 7, number)
            name = f"drawn_{number:04}"
            photo.save(folder / f"images/{name}.png")
            Image.fromarray(mask).save(folder / f"masks/{name}_segmentation.png")
            lines.append(f"{name},lesion_{number:04},{CLASSES[number % 7]},{number // per_fold}")
        (folder / "labels.csv").write_text("\n".join(lines) + "\n")
        return folder

    return make


@pytest.fixture(scope="session")
def make_corrections(draw_lesion) -> Callable[..., Path]:
    """Make studies in a folder with drawn photographs that a clinician has corrected, one patient each."""

    def make(folder: Path, count: int, *, start: int = 0) -> Path:
        from dermcheck.dicom.author import Clinician
        from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
        from dermcheck.dicom.segmentation import LesionSegment, write_segmentation
        from dermcheck.lesions import LESION_CLASSES

        folder.mkdir(parents=True, exist_ok=True)
        for number in range(start, start + count):
            photo, mask = draw_lesion(number % 7, 1000 + number)
            path = folder / f"{number:04}.png"
            photo.save(path)
            photograph = photo_to_dicom(path, PhotoDetails(patient_id=f"TEST-{number}"))
            path.unlink()
            photograph.save_as(folder / f"{number:04}.dcm", enforce_file_format=True)
            segment = LesionSegment(mask, LESION_CLASSES[number % 7])
            label = write_segmentation(photograph, [segment], Clinician("Test^Doctor"))
            label.save_as(folder / f"{number:04}.seg.dcm", enforce_file_format=True)
        return folder

    return make


@pytest.fixture(scope="session")
def save_random_models() -> Callable[..., Path]:
    """Save a classifier and an outliner with random weights in a folder, other ones for each seed."""

    def save(folder: Path, classifier: str, outliner: str, seed: int = 0) -> Path:
        import torch

        from dermcheck.lesions import CLASSES
        from dermcheck.networks import Calibration, InputSpec, ModelCard, build_network, save_model

        torch.manual_seed(seed)
        half = (0.5, 0.5, 0.5)
        for name, task, architecture, classes, geometry, calibration in (
            ("classifier", "classification", classifier, CLASSES, "centre_square", Calibration.identity()),
            ("outliner", "segmentation", outliner, ("lesion",), "short_side", None),
        ):
            network = build_network(architecture, task)
            network(torch.rand(4, 3, 64, 64) * 2 - 1)  # batch normalisation gathers statistics
            card = ModelCard(
                name=f"Test {name}",
                version="1.0",
                task=task,
                architecture=architecture,
                classes=classes,
                input=InputSpec(side=64, mean=half, std=half, geometry=geometry),
                calibration=calibration,
                data="none, random weights",
                licence="CC0",
                command="pytest",
            )
            save_model(folder / name, network, card)
        return folder

    return save


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Find a port that nobody listens on."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


@pytest.fixture(scope="session")
def orthanc(
    require_program: Callable[[str, str], str],
    tmp_path_factory: pytest.TempPathFactory,
    free_port: Callable[[], int],
) -> Iterator[str]:
    """A real archive on this machine only; its address without DICOMweb's part."""
    program = require_program("Orthanc", "orthanc")
    if not _ORTHANC_PLUGIN.exists():
        require_program(_ORTHANC_PLUGIN.name, "orthanc-dicomweb")
    folder, port = tmp_path_factory.mktemp("orthanc"), free_port()
    configuration = {
        "Name": "tests",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "DicomServerEnabled": False,
        "OverwriteInstances": False,
        "Plugins": [str(_ORTHANC_PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    log = (folder / "log").open("wb")
    server = subprocess.Popen([program, folder / "orthanc.json"], stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    for _ in range(300):
        with suppress(requests.ConnectionError):
            if requests.get(f"{address}/system", timeout=5).ok:
                break
        assert server.poll() is None, (folder / "log").read_text()
        time.sleep(0.1)
    yield address
    server.terminate()
    server.wait(30)
    log.close()
