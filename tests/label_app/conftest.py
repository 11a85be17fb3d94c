"""Small real studies and models."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydicom import Dataset

from dermcheck.datastore import StudyStore
from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
from dermcheck.lesions import CLASSES
from dermcheck.networks import Calibration, InputSpec, ModelCard, build_network, save_model

HALF = (0.5, 0.5, 0.5)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Busy cores make several threads wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMCHECK_CACHE", str(tmp_path / "cache of its own"))


@pytest.fixture(scope="session")
def pixels() -> Callable[..., np.ndarray]:
    """Draw any (rows, columns, 3) picture; another for each seed."""

    def draw(rows: int = 30, columns: int = 40, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8)

    return draw


@pytest.fixture
def make_photograph(tmp_path: Path, pixels: Callable[..., np.ndarray]) -> Callable[..., Dataset]:
    """Make a DICOM photograph of such a picture."""

    def make(seed: int = 0, **size: int) -> Dataset:
        path = tmp_path / f"photo {seed}.png"
        Image.fromarray(pixels(seed=seed, **size)).save(path)
        return photo_to_dicom(path, PhotoDetails(patient_id=f"TEST-{seed}"))

    return make


@pytest.fixture
def studies(tmp_path: Path, make_photograph: Callable[..., Dataset]) -> Path:
    """A folder with three photographs."""
    folder = tmp_path / "studies"
    folder.mkdir()
    for seed in range(3):
        make_photograph(seed).save_as(folder / f"{seed}.dcm", enforce_file_format=True)
    return folder


@pytest.fixture
def store(studies: Path, tmp_path: Path) -> Iterator[StudyStore]:
    with StudyStore.open(studies, tmp_path / "cache of the store", watch=False) as opened:
        yield opened


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two real networks with random weights."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    for name, task, architecture in (
        ("classifier", "classification", "densenet121"),
        ("outliner", "segmentation", "unet"),
    ):
        classifies = task == "classification"
        network = build_network(architecture, task)
        network(torch.rand(4, 3, 64, 64) * 2 - 1)  # batch normalisation gathers statistics
        values: dict[str, Any] = {
            "name": f"Test {name}",
            "version": "1.0",
            "task": task,
            "architecture": architecture,
            "classes": CLASSES if classifies else ("lesion",),
            "input": InputSpec(
                side=64, mean=HALF, std=HALF, geometry="centre_square" if classifies else "short_side"
            ),
            "calibration": Calibration.identity() if classifies else None,
            "data": "none, random weights",
            "licence": "CC0",
            "command": "pytest",
        }
        save_model(folder / name, network, ModelCard(**values))
    return folder
