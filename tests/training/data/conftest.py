"""Drawn pictures in folders, and studies with corrections."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DermoscopicPhotographyImageStorage, ExplicitVRLittleEndian, generate_uid

from dermcheck.datastore import StudyStore
from dermcheck.dicom.author import Algorithm, Author, Clinician
from dermcheck.dicom.segmentation import LesionSegment, write_segmentation
from dermcheck.lesions import lesion_class

DOCTOR = Clinician("Doe^Jane")
MODEL = Algorithm("outliner", "1", "0" * 64)


def draw(seed: int, rows: int = 48, columns: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Draw skin with a dark disc in the middle: (rows, columns, 3) uint8 and its mask."""
    chance = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    mask = (y - rows / 2) ** 2 + (x - columns / 2) ** 2 < (rows / 4) ** 2
    pixels = np.full((rows, columns, 3), (224, 172, 148), np.uint8)
    pixels[mask] = chance.integers(20, 120, 3)
    pixels[:4, :4] = chance.integers(0, 256, (4, 4, 3))
    return pixels, mask


def save_mask(mask: np.ndarray, path: Path) -> None:
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)


def write_table(path: Path, *rows: dict[str, Any], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def draw_pictures(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder with pictures and masks, each different; tables are up to the test."""

    def make(
        names: list[str], *, folder: str = "drawn", pictures: str = "images", masks: str | None = "masks"
    ) -> Path:
        root = tmp_path / folder
        (root / pictures).mkdir(parents=True, exist_ok=True)
        if masks is not None:
            (root / masks).mkdir(parents=True, exist_ok=True)
        for name in names:
            pixels, mask = draw(sum(map(ord, name)) * 1000 + len(list((root / pictures).iterdir())))
            Image.fromarray(pixels).save(root / pictures / f"{name}.png")
            if masks is not None:
                save_mask(mask, root / masks / f"{name}_segmentation.png")
        return root

    return make


@pytest.fixture
def drawn(draw_pictures) -> Path:
    """Twelve photographs of six lesions and seven classes, with masks and without folds."""
    names = [f"p{number:02}" for number in range(12)]
    root = draw_pictures(names)
    classes = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    rows = [
        {"image_id": name, "lesion_id": f"lesion{i // 2}", "dx": classes[i // 2 % 7]}
        for i, name in enumerate(names)
    ]
    write_table(root / "labels.csv", *rows)
    return root


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    folder = tmp_path / "studies"
    folder.mkdir()
    return folder


@pytest.fixture
def open_store(studies: Path, tmp_path: Path) -> Iterator[Callable[[], StudyStore]]:
    opened: list[StudyStore] = []

    def open_store() -> StudyStore:
        opened.append(StudyStore.open(studies, tmp_path / "index", watch=False))
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def add_photograph(studies: Path) -> Callable[..., Dataset]:
    """Store a drawn dermoscopic photograph in the studies."""

    def add(seed: int = 0, *, patient: str = "P1", **attributes: Any) -> Dataset:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = DermoscopicPhotographyImageStorage
        dataset.Modality = "DMS"
        for level in ("Study", "Series", "SOP"):
            setattr(dataset, f"{level}InstanceUID", generate_uid())
        dataset.PatientID, dataset.PatientName = patient, "DRAWN^Patient"
        for keyword in ("PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber"):
            setattr(dataset, keyword, "")
        dataset.StudyDate = dataset.ContentDate = "20240102"
        dataset.StudyTime = dataset.ContentTime = "101112"
        dataset.set_pixel_data(draw(seed)[0], "RGB", bits_stored=8)
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        dataset.save_as(studies / f"{dataset.SOPInstanceUID}.dcm", enforce_file_format=True)
        return dataset

    return add


@pytest.fixture
def add_label(studies: Path) -> Callable[..., Dataset]:
    """Store a Segmentation: each lesion a pair of mask (None: no pixels) and class name (None: unknown)."""

    def add(
        photograph: Dataset,
        *lesions: tuple[np.ndarray | None, str | None],
        author: Author = DOCTOR,
        **attributes: Any,
    ) -> Dataset:
        empty = np.zeros((photograph.Rows, photograph.Columns), np.bool_)
        segments = [
            LesionSegment(empty if mask is None else mask, lesion_class(name) if name else None)
            for mask, name in lesions
        ]
        label = write_segmentation(photograph, segments, author)
        for keyword, value in attributes.items():
            setattr(label, keyword, value)
        label.save_as(studies / f"{label.SOPInstanceUID}.dcm", enforce_file_format=True)
        return label

    return add
