"""Small real studies, tiny real models, and scores as they might be."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydicom import Dataset

from dermcheck.active_learning.score_cache import ScoreRow
from dermcheck.active_learning.scoring import PhotographScores
from dermcheck.datastore import StudyStore
from dermcheck.dicom.author import Clinician
from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
from dermcheck.dicom.segmentation import LesionSegment, write_segmentation
from dermcheck.lesions import LESION_CLASSES


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMCHECK_CACHE", str(tmp_path / "cache of its own"))


@pytest.fixture(scope="session")
def save_models(save_random_models: Callable[..., Path]) -> Callable[..., Path]:
    """Save both small networks with random weights, other ones for each seed."""
    torch.set_num_threads(1)

    def save(folder: Path, seed: int = 0) -> Path:
        return save_random_models(folder, "efficientnet_lite0", "efficientnet_lite0_unet", seed)

    return save


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, save_models: Callable[..., Path]) -> Path:
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def photographs(
    tmp_path_factory: pytest.TempPathFactory, draw_lesion: Callable[..., Any]
) -> Callable[..., Dataset]:
    """Make drawn photographs of 64 x 64: each number another one."""
    folder = tmp_path_factory.mktemp("photographs")

    def make(number: int, **details: Any) -> Dataset:
        photo, _ = draw_lesion(number % 7, number)
        path = folder / f"{number}.png"
        photo.save(path)
        return photo_to_dicom(path, PhotoDetails(**{"patient_id": f"TEST-{number}", **details}))

    return make


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "studies"
    folder.mkdir()
    return folder


@pytest.fixture
def store(studies: Path, tmp_path: Path) -> Iterator[StudyStore]:
    with StudyStore.open(studies, tmp_path / "cache of the store", watch=False) as opened:
        yield opened


@pytest.fixture
def add(store: StudyStore, photographs: Callable[..., Dataset]) -> Callable[..., list[str]]:
    """Add photographs to the studies; returns their ids."""

    def add_some(count: int, start: int = 0, **details: Any) -> list[str]:
        added = []
        for number in range(start, start + count):
            photograph = photographs(number, **details)
            store.store(photograph)
            added.append(str(photograph.SOPInstanceUID))
        return added

    return add_some


@pytest.fixture
def label(store: StudyStore) -> Callable[..., str]:
    """Label a photograph with a class by its index (-1: an outline alone); returns the label's UID."""

    def make(image: str, lesion_class: int, reader: str = "Test^Doctor") -> str:
        header = store.header(image)
        mask = np.ones((header.rows, header.columns), np.bool_)
        segment = LesionSegment(mask, LESION_CLASSES[lesion_class] if lesion_class >= 0 else None)
        segmentation = write_segmentation(store.retrieve(image), [segment], Clinician(reader))
        store.store(segmentation)
        return str(segmentation.SOPInstanceUID)

    return make


@pytest.fixture(scope="session")
def scores() -> Callable[..., PhotographScores]:
    """Make scores with a certain decision; the rest is drawn from the seed."""

    def make(seed: int = 0, decision: int = 5, confidence: float = 0.5, **values: Any) -> PhotographScores:
        chance = np.random.default_rng(seed)
        made: dict[str, Any] = {
            "probabilities": chance.dirichlet(np.ones(7)),
            "entropy": chance.uniform(),
            "margin": chance.uniform(),
            "class_disagreement": chance.uniform(),
            "outline_disagreement": chance.uniform(),
            "not_a_lesion": 0.0,
            "decision": decision,
            "confidence": confidence,
            "embedding": chance.normal(size=64).astype(np.float32),
        }
        return PhotographScores(**{**made, **values})

    return make


@pytest.fixture(scope="session")
def row(scores: Callable[..., PhotographScores]) -> Callable[..., ScoreRow]:
    """Make a row of the cache."""

    def make(image: str, seed: int = 0, revision: str = "1", **values: Any) -> ScoreRow:
        return ScoreRow(image, revision, datetime(2026, 1, 2).timestamp(), scores(seed, **values))

    return make
