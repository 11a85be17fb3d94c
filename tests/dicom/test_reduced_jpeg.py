"""JPEG decoded at a half, a quarter or an eighth shows the same picture; cut streams are still refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
from dermcheck.dicom.photograph import read_photograph, read_picture
from dermcheck.errors import UnreadableImageError


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    y, x = np.mgrid[:805, :1203]
    pixels = np.stack([128 + 90 * np.sin(x / 60), 128 + 90 * np.cos(y / 45), (x + y) / 8], axis=-1)
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photo.jpg", quality=95)
    return tmp_path / "photo.jpg"


def averaged(pixels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    picture = Image.fromarray(pixels)
    return np.asarray(picture.resize((columns, rows), Image.Resampling.BOX), dtype=float)


@pytest.mark.parametrize(
    ("short_side", "shape"),
    [
        (None, (805, 1203)),
        (805, (805, 1203)),
        (403, (805, 1203)),
        (402, (403, 602)),
        (201, (202, 301)),
        (10, (101, 151)),
    ],
)
def test_at_least_what_is_needed_comes_and_shows_the_same(photo, short_side, shape):
    reduced = read_picture(photo, short_side)
    assert reduced.shape == (*shape, 3)
    assert np.abs(averaged(read_picture(photo), *shape) - reduced).mean() < 2


def test_a_turned_photo_is_reduced_upright(photo):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(photo).save(photo.with_name("turned.jpg"), exif=exif, quality=95)
    reduced = read_picture(photo.with_name("turned.jpg"), 200)
    assert reduced.shape == (301, 202, 3)
    whole = np.rot90(read_picture(photo), -1)
    assert np.abs(averaged(np.ascontiguousarray(whole), 301, 202) - reduced).mean() < 3


def test_jpeg_inside_dicom_is_reduced_too_and_the_header_keeps_its_size(photo):
    photograph = read_photograph(photo_to_dicom(photo, PhotoDetails()), short_side=200)
    assert (photograph.header.rows, photograph.header.columns) == (805, 1203)
    assert np.array_equal(photograph.pixels, read_picture(photo, 200))


@pytest.mark.parametrize("short_side", [400, 200, 100])
@pytest.mark.parametrize("ending", [b"", b"\xff\xd9"])
def test_a_cut_stream_is_refused_at_every_scale(photo, short_side, ending):
    content = photo.read_bytes()
    photo.write_bytes(content[: len(content) // 2] + ending)
    with pytest.raises(UnreadableImageError, match="cut off"):
        read_picture(photo, short_side)
