import numpy as np
import pytest
import SimpleITK

from dermcheck.errors import NotAPhotographError, UnreadableImageError
from dermcheck.label_app.source_image import read_upload


def write_volume(array: np.ndarray, path, is_vector: bool) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, isVector=is_vector), str(path))


@pytest.mark.parametrize("extension", [".nrrd", ".nii", ".nii.gz"])
def test_a_colour_volume_gives_its_pixels(extension, pixels, tmp_path):
    write_volume(pixels()[None], tmp_path / f"volume{extension}", is_vector=True)
    np.testing.assert_array_equal(read_upload(tmp_path / f"volume{extension}").pixels, pixels())


def test_alpha_is_dropped(pixels, tmp_path):
    rgba = np.concatenate([pixels(), np.full((30, 40, 1), 7, np.uint8)], axis=2)
    write_volume(rgba[None], tmp_path / "volume.nrrd", is_vector=True)
    np.testing.assert_array_equal(read_upload(tmp_path / "volume.nrrd").pixels, pixels())


def test_grey_becomes_three_equal_colours(pixels, tmp_path):
    write_volume(pixels()[None, ..., 0], tmp_path / "volume.nrrd", is_vector=False)
    source = read_upload(tmp_path / "volume.nrrd")
    assert source.pixels.shape == (30, 40, 3)
    assert (source.pixels == pixels()[..., :1]).all()


def test_the_pixels_outlive_the_volume(pixels, tmp_path):
    write_volume(pixels()[None], tmp_path / "volume.nii.gz", is_vector=True)
    kept = read_upload(tmp_path / "volume.nii.gz").pixels
    assert kept.flags.owndata
    assert kept.flags.writeable


@pytest.mark.parametrize(
    ("array", "is_vector", "found"),
    [
        (np.zeros((9, 8, 7), np.uint8), False, "7 × 8 × 9"),
        (np.zeros((1, 8, 7), np.int16), False, "16-bit signed integer"),
        (np.zeros((1, 8, 7, 2), np.uint8), True, "2 components"),
        (np.zeros((1, 8, 7, 3), np.float32), True, "32-bit float"),
    ],
)
def test_a_volume_that_is_no_photograph_is_refused_by_what_it_is(array, is_vector, found, tmp_path):
    write_volume(array, tmp_path / "volume.nrrd", is_vector)
    with pytest.raises(UnreadableImageError, match=rf"^volume.nrrd: .*{found}.*expected one slice"):
        read_upload(tmp_path / "volume.nrrd")


def test_a_stated_size_beyond_the_limit_is_refused_before_anything_is_read(tmp_path):
    header = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 65535 65535 1\nencoding: raw\n\n"
    (tmp_path / "bomb.nrrd").write_text(header)
    with pytest.raises(UnreadableImageError, match="65535 × 65535"):
        read_upload(tmp_path / "bomb.nrrd")


@pytest.mark.parametrize("field", ["data file: /etc/passwd", "Data File: LIST\n/etc/passwd", "datafile: x"])
def test_a_header_that_names_another_file_is_refused(field, tmp_path):
    header = f"NRRD0004\r\ntype: uint8\r\ndimension: 2\r\nsizes: 4 4\r\nencoding: raw\r\n{field}\r\n"
    (tmp_path / "detached.nrrd").write_text(header, newline="")
    with pytest.raises(UnreadableImageError, match="in another file"):
        read_upload(tmp_path / "detached.nrrd")


def test_dicom_is_known_by_its_content_whatever_its_name(make_photograph, pixels, tmp_path):
    make_photograph().save_as(tmp_path / "IM0001", enforce_file_format=True)
    source = read_upload(tmp_path / "IM0001")
    np.testing.assert_array_equal(source.pixels, pixels())
    assert source.dataset is not None


def test_the_message_does_not_tell_where_the_upload_lies(tmp_path):
    for name in ("text.png", "text.nrrd", "text.dcm"):
        (tmp_path / name).write_text("no picture at all, only text\n" * 9)
        with pytest.raises(UnreadableImageError) as caught:
            read_upload(tmp_path / name)
        assert str(tmp_path) not in str(caught.value)


def test_dicom_of_another_kind_is_refused_as_such(make_photograph, tmp_path):
    other = make_photograph()
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"  # CT
    other.save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    with pytest.raises(NotAPhotographError):
        read_upload(tmp_path / "ct.dcm")
