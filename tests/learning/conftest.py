"""Drawn data, a registry of its own, and the smallest network that can learn from it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from dermcheck.learning.order import TrainingOrder
from dermcheck.networks import architectures
from dermcheck.registry import Registry


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Busy cores make several threads wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photographs are decoded and number formats timed once for all tests, never in the account's cache."""
    monkeypatch.setenv("DERMCHECK_CACHE", str(shared_cache))


class Tiny(nn.Module):
    """(N, 3, H, W) to (N, 7)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, 4, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten()
        )
        self.out = nn.Linear(16, 7)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.out(self.features(pixels))


@pytest.fixture(autouse=True)
def tiny_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = architectures.Architecture("classification", Tiny, head="out")
    monkeypatch.setitem(architectures.ARCHITECTURES, "tiny", entry)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


@pytest.fixture(scope="session")
def drawn_data(make_data_set, tmp_path_factory) -> Path:
    """140 photographs, two of each class in each fold: 7 steps of 16 an epoch."""
    return make_data_set(tmp_path_factory.mktemp("data") / "drawn", 14)


@pytest.fixture(scope="session")
def enough_data(make_data_set, tmp_path_factory) -> Path:
    """700 photographs: enough of each class in fold 8 to calibrate, in fold 9 for the gate."""
    return make_data_set(tmp_path_factory.mktemp("data") / "drawn", 70)


@pytest.fixture(scope="session")
def corrected_studies(make_corrections, tmp_path_factory) -> Path:
    """24 corrections: some in each part."""
    return make_corrections(tmp_path_factory.mktemp("studies") / "corrected", 24)


@pytest.fixture
def order(drawn_data: Path) -> Callable[..., TrainingOrder]:
    """Ask for a short training of the tiny network from scratch."""

    def make(**changes: object) -> TrainingOrder:
        values = {
            "task": "classification",
            "data": (drawn_data,),
            "architecture": "tiny",
            "side": 32,
            "epochs": 2,
            "batch": 16,
            "rate": 2e-2,
            "who": "tester",
        }
        return TrainingOrder(**(values | changes))

    return make
