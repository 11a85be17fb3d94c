"""Photographs are read from files, bytes and datasets, as tolerantly as is safe."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dermcheck.dicom.photograph import read_dataset, read_photograph, read_picture


def test_file_bytes_and_dataset_give_the_same_photograph(fields, make_photograph, save):
    path = save(make_photograph(fields))
    photographs = [read_photograph(source) for source in (path, path.read_bytes(), read_dataset(path))]
    for photograph in photographs:
        assert photograph.header == photographs[0].header
        np.testing.assert_array_equal(photograph.pixels, fields)


def test_a_dataset_that_is_read_is_not_altered(fields, make_photograph):
    dataset = make_photograph(fields)
    before = dataset.to_json()
    read_photograph(dataset)
    assert dataset.to_json() == before


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=lambda uid: uid.keyword
)
def test_a_file_without_preamble_and_meta_information_is_read(syntax, fields, make_photograph, tmp_path):
    dataset = make_photograph(fields)
    del dataset.file_meta
    path = tmp_path / "bare"
    dataset.save_as(path, implicit_vr=syntax.is_implicit_VR, little_endian=True)
    photograph = read_photograph(path)
    np.testing.assert_array_equal(photograph.pixels, fields)
    assert photograph.dataset.file_meta.TransferSyntaxUID == syntax


@pytest.mark.parametrize(
    "name", ["Muttermal Rücken.dcm", "黒子.dcm", "родинка", "a b'c\".dcm", "photo%20.dcm"]
)
def test_file_names_in_any_script_are_read(name, fields, make_photograph, save):
    np.testing.assert_array_equal(read_photograph(save(make_photograph(fields), name)).pixels, fields)


def test_a_file_name_that_is_no_text_is_read(fields, make_photograph, save, tmp_path):
    path = save(make_photograph(fields)).rename(Path(str(tmp_path).encode().decode() + "/caf\udce9.dcm"))
    np.testing.assert_array_equal(read_photograph(path).pixels, fields)


class TestPhotos:
    """JPEG, PNG and TIFF photos outside DICOM."""

    @pytest.mark.parametrize("name", ["photo.png", "photo.tif", "PHOTO.PNG", "photo"])
    def test_lossless_photos_are_read_unchanged(self, name, fields, tmp_path):
        Image.fromarray(fields).save(tmp_path / name, "TIFF" if name.endswith("tif") else "PNG")
        np.testing.assert_array_equal(read_picture(tmp_path / name), fields)

    @pytest.mark.parametrize("keywords", [{}, {"progressive": True}, {"keep_rgb": True}, {"subsampling": 0}])
    def test_jpeg_photos_are_read(self, keywords, fields, field_centres, to_jpeg, tmp_path):
        (tmp_path / "photo.jpg").write_bytes(to_jpeg(fields, **keywords))
        pixels = read_picture(tmp_path / "photo.jpg")
        np.testing.assert_allclose(field_centres(pixels), field_centres(fields), rtol=0, atol=4)

    def test_pillow_reads_the_same_pixels(self, fields, to_jpeg, tmp_path):
        (tmp_path / "photo.jpg").write_bytes(to_jpeg(fields))
        np.testing.assert_array_equal(
            read_picture(tmp_path / "photo.jpg"), Image.open(tmp_path / "photo.jpg")
        )

    @pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK", "I;16"])
    def test_other_modes_become_rgb(self, mode, fields, tmp_path):
        if mode == "I;16":
            picture = Image.fromarray(fields[..., 0].astype(np.uint16) * 257)
        else:
            picture = Image.fromarray(fields).convert(mode)
        picture.save(tmp_path / "photo.tif")
        expected = Image.fromarray(fields[..., 0]) if mode == "I;16" else picture
        np.testing.assert_array_equal(read_picture(tmp_path / "photo.tif"), expected.convert("RGB"))

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
    def test_exif_orientation_is_honoured(self, orientation, suffix, fields, tmp_path):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        path = tmp_path / f"photo.{suffix}"
        Image.fromarray(fields).save(path, exif=exif)
        expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
        np.testing.assert_array_equal(read_picture(path), expected)

    def test_an_orientation_that_does_not_exist_counts_as_upright(self, fields, tmp_path):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 9
        Image.fromarray(fields).save(tmp_path / "photo.png", exif=exif)
        np.testing.assert_array_equal(read_picture(tmp_path / "photo.png"), fields)

    def test_of_a_multi_picture_jpeg_the_first_is_read(self, fields, tmp_path):
        first, second = (Image.fromarray(np.ascontiguousarray(picture)) for picture in (fields, fields[::-1]))
        first.save(tmp_path / "photo.jpg", "MPO", save_all=True, append_images=[second], quality=95)
        np.testing.assert_allclose(read_picture(tmp_path / "photo.jpg")[8, 8], fields[8, 8], atol=4)

    def test_a_photo_that_ends_in_plain_grey_is_whole(self, to_jpeg, tmp_path):
        picture = np.full((64, 64, 3), 128, np.uint8)
        (tmp_path / "photo.jpg").write_bytes(to_jpeg(picture))
        np.testing.assert_array_equal(read_picture(tmp_path / "photo.jpg"), picture)


def test_24_megapixels_take_a_small_multiple_of_one_decoded_copy(to_jpeg, encapsulated, save):
    shape = (4000, 6000, 3)
    rows, columns = np.arange(4000, dtype=np.uint16)[:, None], np.arange(6000, dtype=np.uint16)[None]
    picture = np.empty(shape, np.uint8)
    for channel in range(3):
        picture[..., channel] = (rows // (3 + channel) + columns // 5) % 256
    path = save(encapsulated(to_jpeg(picture), shape=shape))
    program = (
        "import pathlib, sys\n"
        "from dermcheck.dicom import read_photograph\n"
        "def peak():\n"
        "    status = pathlib.Path('/proc/self/status').read_text()\n"
        "    return int(status.partition('VmHWM:')[2].split()[0]) * 1024\n"
        "before = peak()\n"
        "pixels = read_photograph(pathlib.Path(sys.argv[1])).pixels\n"
        "print(pixels.nbytes, peak() - before)\n"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of a process's memory is measured by /proc, which only Linux has")
    answer = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    decoded, peak = map(int, answer.stdout.split())
    assert decoded == picture.nbytes
    # The array itself, Pillow's four bytes a pixel, the stream: 2.4 copies.
    assert peak < 3 * decoded
