from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, examples
from pydicom.uid import (
    BasicTextSRStorage,
    CTImageStorage,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    MediaStorageDirectoryStorage,
    RTStructureSetStorage,
    SegmentationStorage,
    UltrasoundImageStorage,
    VideoPhotographicImageStorage,
    VLPhotographicImageStorage,
)

from dermcheck.batch.sources import FileKind, kind_of, read_photo, skipped_class


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.dcm", b"text", FileKind.DICOM),
        ("a", b"\0" * 128 + b"DICM", FileKind.DICOM),
        ("a.jpg", b"\0" * 128 + b"DICM", FileKind.DICOM),
        ("IMG0001", b"\x08\0\x05\0CS\x0a\0ISO_IR 192", FileKind.DICOM),
        ("a.JPG", b"", FileKind.PHOTO),
        ("photo", b"\xff\xd8\xff\xe0", FileKind.PHOTO),
        ("a.dcm", b"\xff\xd8\xff\xe0", FileKind.PHOTO),
        ("photo", b"II*\0", FileKind.PHOTO),
        ("photo.tif", b"II*\0", FileKind.PHOTO),
        ("photo.HEIC", b"\0\0\0\x18ftypheic", FileKind.PHOTO),
        ("photo.nef", b"II*\0", FileKind.PHOTO),
        ("notes.txt", b"text", FileKind.OTHER),
        ("labels.csv", b"", FileKind.OTHER),
        ("Thumbs.db", b"\xd0\xcf\x11\xe0", FileKind.OTHER),
        ("lens.lut", b"II*\0", FileKind.OTHER),
    ],
)
def test_content_decides_before_the_suffix(name, content, kind):
    assert kind_of(content, Path(name).suffix) is kind


@pytest.mark.parametrize(
    "sop_class",
    [
        SegmentationStorage,
        BasicTextSRStorage,
        EncapsulatedPDFStorage,
        GrayscaleSoftcopyPresentationStateStorage,
        KeyObjectSelectionDocumentStorage,
        RTStructureSetStorage,
        MediaStorageDirectoryStorage,
    ],
)
def test_objects_that_are_no_images_are_skipped_by_name(sop_class):
    header = Dataset()
    header.SOPClassUID = sop_class
    assert skipped_class(header) == sop_class.name


def test_label_map_segmentations_are_skipped_although_pydicom_does_not_know_them():
    header = Dataset()
    header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.7"
    header.Rows = 512
    assert skipped_class(header) == "Label Map Segmentation Storage"


@pytest.mark.parametrize(
    "sop_class",
    [VLPhotographicImageStorage, CTImageStorage, UltrasoundImageStorage, VideoPhotographicImageStorage],
)
def test_images_of_every_kind_are_read(sop_class):
    header = Dataset()
    header.SOPClassUID = sop_class
    assert skipped_class(header) is None


def test_a_data_set_without_sop_class_is_read_and_so_refused_in_words():
    assert skipped_class(Dataset()) is None


@pytest.mark.parametrize(("rows", "skipped"), [(None, "unknown DICOM object"), (512, None)])
def test_a_private_object_is_skipped_unless_it_is_an_image(rows, skipped):
    header = Dataset()
    header.SOPClassUID = "1.2.840.113619.4.30"
    if rows:
        header.Rows = rows
    assert skipped_class(header) == skipped


def test_a_directory_of_a_disc_is_skipped():
    header = Dataset()
    header.file_meta = examples.ct.file_meta.copy()
    header.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    assert skipped_class(header) == "Media Storage Directory Storage"


def test_a_wrapped_photo_has_the_size_of_its_pixels(tmp_path, draw_photo):
    photo = draw_photo(tmp_path / "a.jpg", rows=50, columns=70)
    source = read_photo(photo, photo.read_bytes(), as_dicom=True)
    assert source.wrapped
    assert (source.dataset.Rows, source.dataset.Columns) == (50, 70) == source.size == source.pixels.shape[:2]


def test_a_turned_photo_and_its_dicom_form_lie_alike(tmp_path, draw_photo):
    from PIL import Image

    from dermcheck.dicom.photograph import read_photograph

    upright = Image.open(draw_photo(tmp_path / "upright.png", rows=50, columns=70))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    upright.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    source = read_photo(tmp_path / "turned.jpg", (tmp_path / "turned.jpg").read_bytes(), as_dicom=True)
    wrapped = read_photograph(source.dataset).pixels
    assert wrapped.shape == source.pixels.shape == (70, 50, 3)
    assert np.abs(wrapped.astype(int) - source.pixels).mean() < 3
