import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, VLPhotographicImageStorage, generate_uid

from dermcheck.datastore import StudyStore
from dermcheck.dicom.author import Algorithm, Author, Clinician
from dermcheck.dicom.segmentation import LesionSegment, write_segmentation
from dermcheck.lesions import lesion_class

MakePhotograph = Callable[..., Dataset]
MakeLabel = Callable[..., Dataset]
OpenStudies = Callable[..., StudyStore]
MODEL = Algorithm("outliner", "1", "0" * 64)
DOCTOR = Clinician("Doe^Jane")


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    folder = tmp_path / "studies"
    folder.mkdir()
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def open_studies(studies: Path, cache: Path) -> Iterator[OpenStudies]:
    """Open the folder; stores are closed after the test."""
    opened: list[StudyStore] = []

    def open_studies(folder: Path = studies, *, watch: bool = False) -> StudyStore:
        opened.append(StudyStore.open(folder, cache, watch=watch))
        return opened[-1]

    yield open_studies
    for store in opened:
        store.close()


@pytest.fixture
def make_photograph() -> MakePhotograph:
    def make(
        path: Path | None = None,
        *,
        sop_class: UID = VLPhotographicImageStorage,
        size: tuple[int, int] = (6, 8),
        seed: int = 0,
        **attributes: Any,
    ) -> Dataset:
        """A small colour photograph of noise; saved if a path is given."""
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = sop_class
        dataset.Modality = "XC"
        for level in ("Study", "Series", "SOP"):
            setattr(dataset, f"{level}InstanceUID", generate_uid())
        dataset.PatientID, dataset.PatientName = "SYNTHETIC-1", "SYNTHETIC^Patient"
        for keyword in ("PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber"):
            setattr(dataset, keyword, "")
        dataset.StudyDate = dataset.ContentDate = "20240102"
        dataset.StudyTime = dataset.ContentTime = "101112"
        rgb = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        dataset.set_pixel_data(rgb, "RGB", bits_stored=8)
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        if path:
            dataset.save_as(path, enforce_file_format=True)
        return dataset

    return make


@pytest.fixture
def make_label() -> MakeLabel:
    def make(
        photograph: Dataset,
        path: Path | None = None,
        *,
        author: Author = DOCTOR,
        name: str = "mel",
        **attributes: Any,
    ) -> Dataset:
        """A segmentation of the photograph's upper left pixel; saved if a path is given."""
        mask = np.zeros((photograph.Rows, photograph.Columns), np.bool_)
        mask[0, 0] = True
        label = write_segmentation(photograph, [LesionSegment(mask, lesion_class(name))], author)
        for keyword, value in attributes.items():
            setattr(label, keyword, value)
        if path:
            label.save_as(path, enforce_file_format=True)
        return label

    return make


@pytest.fixture
def without_rights(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[], AbstractContextManager[Path]]]:
    """A folder to take permissions from, and a user whom permissions stop.

    They do not stop the administrator, who runs the tests in many containers: then the test goes on as
    the user "nobody", in a folder that this user can reach.
    """
    is_root = os.geteuid() == 0
    nobody = 65534
    folder = tmp_path_factory.mktemp("rights")
    if is_root:
        for parent in (folder, *folder.parents):
            if parent.stat().st_uid == 0 and parent.stat().st_mode & 0o011 != 0o011:
                parent.chmod(parent.stat().st_mode | 0o011)
        os.chown(folder, nobody, nobody)

    @contextmanager
    def drop() -> Iterator[Path]:
        if is_root:
            os.seteuid(nobody)
        try:
            yield folder
        finally:
            if is_root:
                os.seteuid(0)

    yield drop
    for below, _, _ in os.walk(folder):
        Path(below).chmod(0o700)
