"""Small real studies and models."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydicom import Dataset

from dermcheck.datastore import StudyStore
from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom


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
def models(tmp_path_factory: pytest.TempPathFactory, save_random_models: Callable[..., Path]) -> Path:
    """The two real networks with random weights."""
    return save_random_models(tmp_path_factory.mktemp("models"), "densenet121", "unet")
