"""The drawing code of scripts/ and the committed sample studies."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_color_lut, pixel_array

_ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(_ROOT / "scripts"))

from sample_drawing import SAMPLE_PHOTOGRAPHS, DrawnPhotograph, SamplePhotograph, draw_sample  # noqa: E402


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `sample` once for each sample photograph."""
    if "sample" in metafunc.fixturenames:
        metafunc.parametrize("sample", SAMPLE_PHOTOGRAPHS, ids=lambda sample: sample.path.stem)


@pytest.fixture(scope="session")
def root() -> Path:
    return _ROOT


@pytest.fixture(scope="session")
def studies() -> Path:
    return _ROOT / "sample_studies"


@pytest.fixture(scope="session")
def headers(studies: Path) -> dict[str, Dataset]:
    """Every committed DICOM file without its pixels, by path below the studies folder."""
    return {
        path.relative_to(studies).as_posix(): dcmread(path, stop_before_pixels=True)
        for path in sorted(studies.rglob("*.dcm"))
    }


@pytest.fixture(scope="session")
def drawn() -> dict[str, list[DrawnPhotograph]]:
    """All samples drawn in this process, by path."""
    return {str(sample.path): draw_sample(sample) for sample in SAMPLE_PHOTOGRAPHS}


@pytest.fixture
def frames(sample: SamplePhotograph, drawn: dict[str, list[DrawnPhotograph]]) -> list[DrawnPhotograph]:
    """The drawn frames of the sample at hand."""
    return drawn[str(sample.path)]


@pytest.fixture
def committed(sample: SamplePhotograph, studies: Path) -> Dataset:
    """The committed instance of the sample at hand."""
    return dcmread(studies / sample.path)


@pytest.fixture
def decoded(committed: Dataset) -> npt.NDArray[np.uint8]:
    """Its pixels as pydicom decodes them: (frames, rows, columns, 3), grey spread over the channels."""
    pixels = pixel_array(committed)
    if committed.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, committed) // 257
    if committed.PhotometricInterpretation == "MONOCHROME2":
        pixels = pixels[..., np.newaxis].repeat(3, axis=-1)
    return pixels.reshape(-1, committed.Rows, committed.Columns, 3).astype(np.uint8)


@pytest.fixture(scope="session")
def dciodvfy() -> str:
    """Find the validator's path; outside CI a test without it is skipped, in CI it fails."""
    program = shutil.which("dciodvfy")
    if program is None:
        reason = "dciodvfy is not installed (Debian and Ubuntu: apt install dicom3tools)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return program
