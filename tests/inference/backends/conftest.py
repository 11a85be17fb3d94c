"""Networks small enough to be exported in a moment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dermcheck.inference.backends import ExportCache, RunnableModel
from dermcheck.lesions import CLASSES
from dermcheck.networks import ARCHITECTURES, Architecture, Calibration, InputSpec, ModelCard

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.5)


class TinyClassifier(nn.Module):
    """A convolution, and a head that reads five features."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 5, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.out = nn.Linear(5, len(CLASSES))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.norm(self.convolution(pixels))).mean((2, 3)))


class TinyOutliner(nn.Module):
    """Two convolutions; dark is lesion."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(pixels))) - pixels.mean(1, keepdim=True)


@pytest.fixture
def tiny_card(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModelCard]:
    """Make a card for one of both networks, whose architectures are then known."""
    classifier = Architecture("classification", TinyClassifier, head="out")
    monkeypatch.setitem(ARCHITECTURES, "tiny_classifier", classifier)
    monkeypatch.setitem(ARCHITECTURES, "tiny_outliner", Architecture("segmentation", TinyOutliner))

    def make(task: str) -> ModelCard:
        classifies = task == "classification"
        geometry = "centre_square" if classifies else "short_side"
        values: dict[str, Any] = {
            "name": "Tiny classifier" if classifies else "Tiny outliner",
            "version": "1",
            "task": task,
            "architecture": "tiny_classifier" if classifies else "tiny_outliner",
            "classes": CLASSES if classifies else ("lesion",),
            "input": InputSpec(side=32, mean=MEAN, std=STD, geometry=geometry, multiple=8),
            "calibration": Calibration.identity() if classifies else None,
            "data": "none",
            "licence": "CC0",
            "command": "pytest",
        }
        return ModelCard(**values)

    return make


@pytest.fixture
def tiny_model(tiny_card: Callable[[str], ModelCard]) -> Callable[..., RunnableModel]:
    """Make a network in memory with random weights, and its card."""

    def make(task: str, seed: int = 0) -> RunnableModel:
        torch.manual_seed(seed)
        network = TinyClassifier() if task == "classification" else TinyOutliner()
        return RunnableModel.of((network.eval(), tiny_card(task)))

    return make


@pytest.fixture
def export_cache(tmp_path: Path) -> ExportCache:
    return ExportCache(tmp_path / "networks")


@pytest.fixture
def pictures() -> Callable[..., list[np.ndarray]]:
    """Draw random pictures of the given sizes."""

    def make(*shapes: tuple[int, int]) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        return [rng.random((*shape, 3), np.float32) for shape in shapes]

    return make
