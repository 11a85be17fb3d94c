"""Small studies to serve."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmwrite

from dermcheck.datastore import StudyStore
from dermcheck.dicom.author import Clinician
from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
from dermcheck.dicom.segmentation import LesionSegment, write_segmentation
from dermcheck.lesions import lesion_class

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def sample_studies() -> Path:
    return REPOSITORY / "sample_studies"


@pytest.fixture
def photographs(tmp_path) -> list[Dataset]:
    """Three photographs of two patients: JPEG, PNG, JPEG."""
    made = []
    for number, (suffix, patient) in enumerate([("jpg", "A-1"), ("png", "A-1"), ("jpg", "B-2")]):
        pixels = np.random.default_rng(number).integers(0, 256, (30 + number, 40, 3), dtype=np.uint8)
        path = tmp_path / f"{number}.{suffix}"
        Image.fromarray(pixels).save(path)
        made.append(photo_to_dicom(path, PhotoDetails(patient_id=patient, patient_name=f"Test^{patient}")))
    return made


@pytest.fixture
def studies(tmp_path, photographs) -> Path:
    folder = tmp_path / "studies"
    folder.mkdir()
    for number, photograph in enumerate(photographs):
        photograph.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


@pytest.fixture
def store(studies, tmp_path) -> Iterator[StudyStore]:
    with StudyStore.open(studies, tmp_path / "cache", watch=False) as opened:
        yield opened


@pytest.fixture
def outline() -> Callable[..., Dataset]:
    """Outline one corner of a photograph."""

    def draw(photograph: Dataset, name: str = "mel") -> Dataset:
        mask = np.zeros((photograph.Rows, photograph.Columns), np.bool_)
        mask[3:9, 5:25] = True
        return write_segmentation(
            photograph, [LesionSegment(mask, lesion_class(name))], Clinician("Doe^Jane")
        )

    return draw


@pytest.fixture(scope="session")
def part_10() -> Callable[[Dataset], bytes]:
    def write(dataset: Dataset) -> bytes:
        content = io.BytesIO()
        dcmwrite(content, dataset, enforce_file_format=True)
        return content.getvalue()

    return write
