import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
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
    centre, radii = chance.uniform(0.35, 0.65, 2) * (rows, columns), chance.uniform(0.1, 0.3, 2) * (rows, columns)
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


@pytest.fixture(scope="session")
def start_batch(models: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """Start `dermcheck batch` as a real child process."""

    def start(source: Path, output: Path, *options: str, **popen: object) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "dermcheck.cli", "batch", str(source), "--output", str(output)]
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            [*command, "--models", str(models), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            **popen,
        )

    return start
