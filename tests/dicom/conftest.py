"""Photographs drawn in code: no picture here comes from a data set."""

import io
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DermoscopicPhotographyImageStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    generate_uid,
)

COLOURS = ((200, 30, 40), (30, 160, 60), (20, 50, 190), (128, 128, 128), (224, 172, 140), (60, 35, 25))
"""Red, green, blue, grey, skin, mole: one field of 16 × 16 pixels each, in two rows of three."""


@pytest.fixture(scope="session")
def fields() -> np.ndarray:
    """A picture of 32 × 48 pixels in six known colours; not to be altered."""
    picture = np.array(COLOURS, np.uint8).reshape(2, 3, 3).repeat(16, axis=0).repeat(16, axis=1)
    picture.setflags(write=False)
    return picture


@pytest.fixture(scope="session")
def field_centres() -> Callable[[np.ndarray], np.ndarray]:
    """Return the colours at the middle of the six fields, where lossy coding changes least."""

    def centres(picture: np.ndarray) -> np.ndarray:
        return picture[8::16, 8::16].reshape(-1, *picture.shape[2:])

    return centres


@pytest.fixture(scope="session")
def make_photograph() -> Callable[..., Dataset]:
    """Return a function that makes a photograph's dataset, uncompressed, of an array of samples.

    Keywords: the photometric interpretation, BitsStored (by default all bits), and any attributes
    to set or, with None, to leave out.
    """

    def make(
        samples: np.ndarray, photometric: str = "RGB", bits_stored: int | None = None, **attributes: Any
    ) -> Dataset:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = DermoscopicPhotographyImageStorage
        dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID = (
            generate_uid() for _ in range(3)
        )
        dataset.Modality = "DMS"
        dataset.PatientID = "DRAWN-1"
        dataset.PatientName = "Synthetic^Patient"
        stored = bits_stored or 8 * samples.dtype.itemsize
        dataset.set_pixel_data(samples, photometric, stored, generate_instance_uid=False)
        for keyword, value in attributes.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        return dataset

    return make


@pytest.fixture(scope="session")
def encapsulated(make_photograph: Callable[..., Dataset]) -> Callable[..., Dataset]:
    """Return a function that makes a photograph of one compressed stream, whatever it holds."""

    def make(
        stream: bytes,
        transfer_syntax: str = JPEGBaseline8Bit,
        photometric: str = "YBR_FULL_422",
        shape: tuple[int, ...] = (32, 48, 3),
        bits: int = 8,
        **attributes: Any,
    ) -> Dataset:
        samples = np.zeros(shape, np.uint8 if bits == 8 else np.uint16)
        label = photometric if len(shape) == 2 else "RGB"
        dataset = make_photograph(samples, label, bits, **attributes)
        dataset.PhotometricInterpretation = photometric
        dataset.PixelData = encapsulate([stream])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = transfer_syntax
        return dataset

    return make


@pytest.fixture(scope="session")
def to_jpeg() -> Callable[..., bytes]:
    """Return a function that makes a JPEG stream of an array, with Pillow's keywords."""

    def encode(picture: np.ndarray, **keywords: Any) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", **{"quality": 95, **keywords})
        return buffer.getvalue()

    return encode


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a dataset as a DICOM file and gives its path."""

    def write(dataset: Dataset, name: str = "photograph.dcm") -> Path:
        path = tmp_path / name
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture(scope="session")
def shipped_with_pydicom() -> Callable[[str], Path]:
    """Return a function that finds a file of other makers which pydicom's package brings along."""

    def find(name: str) -> Path:
        path = get_testdata_file(name, download=False)
        assert isinstance(path, str), f"{name} is not in pydicom's package"
        return Path(path)

    return find


@pytest.fixture(scope="session")
def l_shape() -> Callable[[int, int], np.ndarray]:
    """Return a function that draws an L into a mask: mirrored, turned or transposed it is another one."""

    def draw(rows: int, columns: int) -> np.ndarray:
        mask = np.zeros((rows, columns), np.bool_)
        mask[rows // 5 : rows - 2, columns // 5 : columns // 3] = True
        mask[rows - 5 : rows - 2, columns // 5 : 2 * columns // 3] = True
        return mask

    return draw


@pytest.fixture
def verify(
    save: Callable[..., Path], require_program: Callable[[str, str], str]
) -> Callable[[Dataset], list[str]]:
    """Return a function that has dciodvfy check a dataset and gives its errors and warnings."""
    program = require_program("dciodvfy", "dicom3tools")

    def check(dataset: Dataset) -> list[str]:
        path = save(dataset, "verified.dcm")
        done = subprocess.run([program, "-new", str(path)], capture_output=True, text=True, check=False)
        found = [line for line in (done.stdout + done.stderr).splitlines() if re.match("Error|Warning", line)]
        assert dataset.SOPClassUID.name.replace(" Storage", "")[:5] in done.stdout + done.stderr, (
            "it did not run"
        )
        return found

    return check
