"""Tiny models that see one thing only, the colour of a photograph, and photographs in seven colours."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dermcheck.lesions import CLASSES
from dermcheck.networks import Calibration, InputSpec, ModelCard, save_model
from dermcheck.networks.architectures import ARCHITECTURES, Architecture
from dermcheck.networks.cards import UsedFolds
from dermcheck.registry import Registry
from dermcheck.training.data import DataSet, LabelledPhotograph

COLOURS = np.array([[c >> 2 & 1, c >> 1 & 1, c & 1] for c in range(7)]) * 200 + 20
"""(7, 3) uint8: the colour of each class."""
MELANOMA = CLASSES.index("mel")


class ColourClassifier(nn.Module):
    """Decides for the class whose colour is nearest, unless it is blind for that class."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.mean((2, 3)))


class BrightnessOutliner(nn.Module):
    """Outlines what is brighter than a threshold."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(1, keepdim=True) - self.threshold


@pytest.fixture(autouse=True)
def tiny_architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "colours", Architecture("classification", ColourClassifier))
    monkeypatch.setitem(ARCHITECTURES, "brightness", Architecture("segmentation", BrightnessOutliner))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.open(tmp_path / "registry")


@pytest.fixture
def make_classifier(tmp_path: Path) -> Callable[..., Path]:
    """Save a classifier as a training would; `blind` lists the classes that it never decides for."""
    made = 0

    def make(
        *,
        blind: tuple[str, ...] = (),
        used_folds: dict[str, UsedFolds] | None = None,
        closer_look: bool = False,
    ) -> Path:
        nonlocal made
        made += 1
        network = ColourClassifier()
        centres = torch.tensor(COLOURS / 127.5 - 1, dtype=torch.float32)
        with torch.no_grad():
            network.linear.weight.copy_(2 * centres)
            network.linear.bias.copy_(-(centres**2).sum(1))
            for name in blind:
                network.linear.bias[CLASSES.index(name)] = -100
        card = _card("Test classifier", "classification", "colours", CLASSES)
        spec = replace(card.input, quarter_turns=closer_look, closer_look=closer_look)
        card = replace(card, input=spec)
        folder = tmp_path / "candidates" / f"{made}"
        save_model(folder, network, replace(card, used_folds=used_folds or {}))
        return folder

    return make


@pytest.fixture
def make_outliner(tmp_path: Path) -> Callable[[float], Path]:
    """Save an outliner of what is brighter than a threshold in [-1, 1]."""

    def make(threshold: float) -> Path:
        network = BrightnessOutliner()
        with torch.no_grad():
            network.threshold.fill_(threshold)
        folder = tmp_path / "candidates" / f"outliner {threshold}"
        save_model(folder, network, _card("Test outliner", "segmentation", "brightness", ("lesion",)))
        return folder

    return make


def _card(name: str, task: str, architecture: str, classes: tuple[str, ...]) -> ModelCard:
    classifies = task == "classification"
    return ModelCard(
        name=name,
        version="candidate",
        task=task,
        architecture=architecture,
        classes=classes,
        input=InputSpec(
            side=16,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            geometry="centre_square" if classifies else "short_side",
        ),
        calibration=Calibration.identity() if classifies else None,
        data="none",
        licence="CC0",
        command="pytest",
    )


@dataclass(frozen=True)
class Picture:
    """Pixels in memory, in place of a file."""

    pixels: np.ndarray

    def revision(self) -> str:
        return str(self.pixels.tobytes())

    def read(self) -> np.ndarray:
        return self.pixels


@pytest.fixture
def photographs() -> Callable[..., DataSet]:
    """Make a data set whose fold 9 has so many lesions of each class, two photographs each."""

    def make(lesions: int = 12, source: str = "test") -> DataSet:
        found = []
        for diagnosis, colour in enumerate(COLOURS):
            for number in range(2 * lesions):
                pixels = np.full((16, 16, 3), colour, np.uint8)
                mask = np.zeros((16, 16), bool)
                mask[4:12, 4:12] = True
                pixels[0, 0] = number, diagnosis, 0  # no two photographs are equal
                name = f"{CLASSES[diagnosis]}-{number}"
                found.append(
                    LabelledPhotograph(
                        image_id=name,
                        source=source,
                        picture=Picture(pixels),
                        mask=Picture(mask),
                        diagnosis=diagnosis,
                        fold=9,
                        lesion_id=f"{CLASSES[diagnosis]}-{number // 2}",
                    )
                )
        return DataSet(source, tuple(found))

    return make
