from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dermcheck.inference import Predictor
from dermcheck.lesions import CLASSES
from dermcheck.networks import (
    ARCHITECTURES,
    Architecture,
    Calibration,
    InputSpec,
    ModelCard,
    build_network,
    save_model,
)

HALF = (0.5, 0.5, 0.5)


class BrightnessOutliner(nn.Module):
    """Logit of a pixel = its mean colour minus the mid-grey: what is bright is lesion."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.zeros(()))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mean(1, keepdim=True) - self.threshold


class ColourClassifier(nn.Module):
    """Logits of akiec, bcc and bkl = mean red, green and blue; of the others 0."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.eye(len(CLASSES), 3) * 4)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mean((2, 3)) @ self.gain.T


def card(task: str, architecture: str, side: int) -> ModelCard:
    classifies = task == "classification"
    values: dict[str, Any] = {
        "name": "Test classifier" if classifies else "Test outliner",
        "version": "1.0",
        "task": task,
        "architecture": architecture,
        "classes": CLASSES if classifies else ("lesion",),
        "input": InputSpec(
            side=side, mean=HALF, std=HALF, geometry="centre_square" if classifies else "short_side"
        ),
        "calibration": Calibration.identity() if classifies else None,
        "data": "none",
        "licence": "CC0",
        "command": "pytest",
    }
    return ModelCard(**values)


@torch.no_grad()
def balance(outliner: nn.Module) -> None:
    """Shift the last bias so that about half of all logits are above 0."""
    pixels = nn.functional.interpolate(torch.rand(4, 3, 9, 9) * 2 - 1, (192, 192), mode="bilinear")
    logits = outliner.eval()(pixels)
    biases = [p for name, p in outliner.named_parameters() if name.endswith("bias") and p.numel() == 1]
    biases[-1] -= logits.median()


@pytest.fixture
def plain_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two models whose answers can be seen in the photograph: brightness and mean colour."""
    brightness, colour = (
        Architecture("segmentation", BrightnessOutliner),
        Architecture("classification", ColourClassifier),
    )
    monkeypatch.setitem(ARCHITECTURES, "brightness", brightness)
    monkeypatch.setitem(ARCHITECTURES, "colour", colour)
    save_model(tmp_path / "outliner", BrightnessOutliner(), card("segmentation", "brightness", 192))
    save_model(tmp_path / "classifier", ColourClassifier(), card("classification", "colour", 128))
    return tmp_path


@pytest.fixture
def plain_predictor(plain_models: Path) -> Predictor:
    return Predictor.load(plain_models)


@pytest.fixture(scope="session")
def random_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the two real networks, of random weights that give a mask with both values."""
    folder = tmp_path_factory.mktemp("models")
    for name, task, architecture, side in (
        ("classifier", "classification", "densenet121", 128),
        ("outliner", "segmentation", "unet", 192),
    ):
        torch.manual_seed(0)
        network = build_network(architecture, task)
        network(torch.rand(8, 3, 64, 64) * 2 - 1)  # batch normalisation gathers statistics
        if task == "segmentation":
            balance(network)
        save_model(folder / name, network, card(task, architecture, side))
    return folder


@pytest.fixture(scope="session")
def random_predictor(random_models: Path) -> Predictor:
    return Predictor.load(random_models)


@pytest.fixture
def noise() -> Callable[[int, int, int], np.ndarray]:
    """A colourful smooth photograph of any size."""

    def photograph(rows: int, columns: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 9, 9)))
        smooth = nn.functional.interpolate(coarse, (rows, columns), mode="bilinear")
        return smooth[0].permute(1, 2, 0).byte().contiguous().numpy()

    return photograph
