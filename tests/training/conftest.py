"""Drawn photographs as arrays, and the smallest networks that can learn from them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dermcheck.lesions import CLASSES
from dermcheck.networks import Calibration, InputSpec, ModelCard
from dermcheck.training.data.picture_cache import Photographs

SIDE = 64


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Busy cores make several threads wait for each other."""
    torch.set_num_threads(1)


def draw_discs(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw discs whose colour tells their class: images, masks, classes."""
    chance = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    images = np.full((count, SIDE, SIDE, 3), (224, 172, 148), np.uint8)
    masks = np.zeros((count, SIDE, SIDE), np.uint8)
    classes = np.arange(count) % len(CLASSES)
    for i, label in enumerate(classes):
        centre, radius = chance.uniform(24, 40, 2), chance.uniform(10, 20)
        inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
        images[i][inside] = (label * 30, 120 - label * 15, label * 20)
        masks[i] = inside
    return images, masks, classes


@pytest.fixture(scope="session")
def make_photographs() -> Callable[..., Photographs]:
    """Make decoded photographs of one source or several: a dict from source to count."""

    def make(counts: dict[str, int], seed: int = 0) -> Photographs:
        source = np.repeat(list(counts), list(counts.values()))
        number = np.concatenate([np.arange(count) for count in counts.values()])
        parts = [draw_discs(count, seed + i) for i, count in enumerate(counts.values())]
        image_id = np.array([f"{name}_{i:04}" for name, i in zip(source, number, strict=True)])
        return Photographs(
            image_id=image_id,
            lesion_id=image_id,
            group=image_id,
            source=source,
            diagnosis=np.concatenate([part[2] for part in parts]).astype(np.int64),
            fold=number // 7 % 10,
            has_mask=np.ones(len(image_id), bool),
            images=np.concatenate([part[0] for part in parts]),
            masks=np.concatenate([part[1] for part in parts]),
            content=image_id,
            age=np.full(len(image_id), np.nan),
            sex=np.full(len(image_id), ""),
            site=np.full(len(image_id), ""),
            device=np.full(len(image_id), ""),
            fingerprint=f"drawn {counts} {seed}",
        )

    return make


@pytest.fixture(scope="session")
def photographs(make_photographs) -> Photographs:
    """210 of each class alike, and 20 of another source."""
    return make_photographs({"ham": 210, "task": 20})


class ColourClassifier(nn.Module):
    """The smallest network that can tell the drawn classes apart."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, 4, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten()
        )
        self.head = nn.Linear(16, 7)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(pixels))


@pytest.fixture
def make_classifier() -> Callable[[], nn.Module]:
    """Make it with the same weights each time."""

    def make() -> nn.Module:
        torch.manual_seed(0)
        return ColourClassifier()

    return make


@pytest.fixture(scope="session")
def make_card() -> Callable[..., ModelCard]:
    """Make the card of a classifier for the drawn photographs."""

    def make(**changes: Any) -> ModelCard:
        values: dict[str, Any] = {
            "name": "Test classifier",
            "version": "1",
            "task": "classification",
            "architecture": "densenet121",
            "classes": CLASSES,
            "input": InputSpec(
                side=SIDE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), geometry="centre_square"
            ),
            "calibration": Calibration.identity(),
            "data": "drawn",
            "licence": "CC0",
            "command": "pytest",
        }
        return ModelCard(**(values | changes))

    return make
