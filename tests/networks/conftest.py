from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from dermcheck.lesions import CLASSES
from dermcheck.networks import ARCHITECTURES, Architecture, Calibration, InputSpec, ModelCard

HALF = (0.5, 0.5, 0.5)


class TinyClassifier(nn.Module):
    """Mean colour, normalised per batch as real networks do, to seven logits."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.out = nn.Linear(3, len(CLASSES))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(pixels).mean((2, 3)))


@pytest.fixture
def tiny_architecture(monkeypatch: pytest.MonkeyPatch) -> Callable[[], nn.Module]:
    """Register a network of a few numbers under the name `tiny`, which the card fixture names."""
    monkeypatch.setitem(ARCHITECTURES, "tiny", Architecture("classification", TinyClassifier, head="out"))
    return TinyClassifier


@pytest.fixture
def classifier_card() -> Callable[..., ModelCard]:
    def card(**changes: Any) -> ModelCard:
        values: dict[str, Any] = {
            "name": "Test classifier",
            "version": "1.0",
            "task": "classification",
            "architecture": "tiny",
            "classes": CLASSES,
            "input": InputSpec(side=32, mean=HALF, std=HALF, geometry="centre_square"),
            "calibration": Calibration.identity(),
            "data": "none, random weights",
            "licence": "CC0",
            "command": "pytest",
        }
        return ModelCard(**(values | changes))

    return card


@pytest.fixture
def outliner_card() -> Callable[..., ModelCard]:
    def card(**changes: Any) -> ModelCard:
        values: dict[str, Any] = {
            "name": "Test outliner",
            "version": "1.0",
            "task": "segmentation",
            "architecture": "unet",
            "classes": ("lesion",),
            "input": InputSpec(side=32, mean=HALF, std=HALF, geometry="short_side"),
            "data": "none, random weights",
            "licence": "CC0",
            "command": "pytest",
        }
        return ModelCard(**(values | changes))

    return card
