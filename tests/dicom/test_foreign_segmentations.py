"""Segmentations as other programs write them, and what no reader should accept. See foreign/README.md."""

import re
import zlib
from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom_seg
import pytest
import SimpleITK as sitk  # noqa: N813 - the field's own name
from highdicom.seg import Segmentation, SegmentDescription
from pydicom import Dataset, FileMetaDataset, dcmread, examples
from pydicom.encaps import encapsulate
from pydicom.sr.coding import Code
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    VLPhotographicImageStorage,
    generate_uid,
)

from dermcheck.dicom.author import Algorithm, Clinician
from dermcheck.dicom.header import PhotographHeader, read_header
from dermcheck.dicom.segmentation import (
    LesionSegment,
    read_segmentation,
    summarise_segmentation,
    write_segmentation,
)
from dermcheck.errors import ArgumentError, MaskError

FOLDER = Path(__file__).parent / "foreign"
ROWS, COLUMNS = 45, 62
TISSUE = Code("T-D0050", "SRT", "Tissue")
LESION = np.zeros((ROWS, COLUMNS), np.bool_)
LESION[9:36, 12:18] = LESION[31:36, 12:40] = True
SECOND = np.zeros((ROWS, COLUMNS), np.bool_)
SECOND[3:8, 47:59] = True
BOTH = np.stack([LESION, SECOND])

READABLE = ("ohif_binary", "ohif_labelmap", "ohif_labelmap_rle", "dcmqi_binary", "dcmqi_labelmap", "dcmqi_deflated")


@pytest.fixture
def photograph() -> Dataset:
    """The photograph that all files in `foreign` outline."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.Modality = VLPhotographicImageStorage, "XC"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = "2.25.1001", "2.25.1002", "2.25.1003"
    dataset.PatientID, dataset.PatientName = "SYNTHETIC-1", "Synthetic^One"
    dataset.Rows, dataset.Columns = ROWS, COLUMNS
    return dataset


@pytest.fixture
def header(photograph: Dataset) -> PhotographHeader:
    return read_header(photograph)


@pytest.fixture
def ours(photograph: Dataset) -> Dataset:
    """A Segmentation of our own, to be bent."""
    lesions = [LesionSegment(mask, None) for mask in BOTH]
    return deepcopy(write_segmentation(photograph, lesions, Algorithm("UNet", "1", "ab" * 32)))


def masks(segments: Iterable[LesionSegment]) -> np.ndarray:
    return np.stack([segment.mask for segment in segments])


def made_by_highdicom(
    photograph: Dataset, pixels: np.ndarray, kind: str, labels: tuple[str, ...] = ("Melanoma", "mole")
) -> Segmentation:
    """A Segmentation of (segments, rows, columns) as highdicom makes it of a photograph, uncompressed."""
    source = deepcopy(photograph)
    for keyword in ("PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "StudyDate", "StudyTime"):
        setattr(source, keyword, "")
    described = [
        SegmentDescription(number, label, TISSUE, TISSUE, "MANUAL") for number, label in enumerate(labels, start=1)
    ]
    return Segmentation(
        [source],
        np.moveaxis(pixels, 0, -1)[None],
        kind,
        described,
        generate_uid(),
        1,
        generate_uid(),
        1,
        "Other",
        "Other",
        "1",
        "1",
        omit_empty_frames=False,
    )


# Files of other programs


@pytest.mark.parametrize("name", READABLE)
def test_files_of_other_programs_are_read(name: str, header: PhotographHeader) -> None:
    segments = read_segmentation(dcmread(FOLDER / f"{name}.dcm"), header)
    assert np.array_equal(masks(segments), BOTH)
    assert [segment.lesion_class.name for segment in segments if segment.lesion_class] == ["mel", "nv"]


@pytest.mark.parametrize("name", [*READABLE, "ohif_binary_rle"])
def test_files_of_other_programs_are_summarised_as_drawn_by_a_person(name: str, header: PhotographHeader) -> None:
    summary = summarise_segmentation(dcmread(FOLDER / f"{name}.dcm", stop_before_pixels=True))
    assert (summary.image_uid, summary.automatic) == (header.sop_instance_uid, False)
    assert summary.creator == ("Reader1" if name.startswith("dcmqi") else None)
    assert summary.created.year == 2026


@pytest.mark.parametrize("name", READABLE)
def test_what_was_read_is_written_anew_as_a_conformant_segmentation(
    name: str,
    photograph: Dataset,
    header: PhotographHeader,
    verify: Callable[[Dataset], list[str]],
) -> None:
    segments = read_segmentation(dcmread(FOLDER / f"{name}.dcm"), header)
    rebuilt = write_segmentation(photograph, segments, Clinician("Reader1"))
    assert not [line for line in verify(rebuilt) if line.startswith("Error")]
    again = read_segmentation(rebuilt, header)
    assert np.array_equal(masks(again), BOTH)
    assert [one.lesion_class for one in again] == [one.lesion_class for one in segments]


def test_bit_packed_rle_frames_are_read(header: PhotographHeader) -> None:
    lesion, second = masks(read_segmentation(dcmread(FOLDER / "ohif_binary_rle.dcm"), header))
    assert np.array_equal(lesion, LESION)
    # OHIF's encoder itself put the second segment two pixels too far left (foreign/README.md).
    assert np.array_equal(second, np.roll(SECOND, -2, axis=1))


def test_the_leanest_file_that_ohif_was_seen_to_store_is_read(header: PhotographHeader) -> None:
    stored = dcmread(FOLDER / "ohif_labelmap_rle.dcm")
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = "1", "0"  # one value where the standard has two
    stored.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = [measures]
    for instance in stored.ReferencedSeriesSequence[0].ReferencedInstanceSequence:
        del instance.ReferencedSOPClassUID
    for keyword in ("SourceImageSequence", "ContentDate", "DimensionIndexSequence"):
        stored.pop(keyword, None)
    for group in stored.PerFrameFunctionalGroupsSequence:
        group.pop("DerivationImageSequence", None)
    assert stored.FrameOfReferenceUID == ""
    assert np.array_equal(masks(read_segmentation(stored, header)), BOTH)
    assert summarise_segmentation(stored).image_uid == header.sop_instance_uid


@pytest.mark.parametrize("cropped", [False, True])
def test_a_file_of_pydicom_seg_is_read_whole_and_cropped(
    cropped: bool, photograph: Dataset, header: PhotographHeader
) -> None:
    placed = deepcopy(photograph)
    placed.ImagePositionPatient, placed.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    placed.FrameOfReferenceUID, placed.PixelSpacing = "2.25.1004", [0.07, 0.07]
    for keyword in ("PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "StudyDate", "StudyTime"):
        setattr(placed, keyword, "")
    image = sitk.GetImageFromArray((LESION + 2 * SECOND).astype(np.uint8)[None])
    image.SetSpacing((0.07, 0.07, 1.0))
    code = {"CodeValue": "T-D0050", "CodingSchemeDesignator": "SRT", "CodeMeaning": "Tissue"}
    template = pydicom_seg.template.from_dcmqi_metainfo(
        {
            "ContentCreatorName": "Reader1",
            "SeriesDescription": "Segmentation",
            "SeriesNumber": "300",
            "InstanceNumber": "1",
            "ContentLabel": "SEGMENTATION",
            "segmentAttributes": [
                [
                    {
                        "labelID": number,
                        "SegmentLabel": label,
                        "SegmentAlgorithmType": "MANUAL",
                        "SegmentedPropertyCategoryCodeSequence": code,
                        "SegmentedPropertyTypeCodeSequence": code,
                    }
                    for number, label in ((1, "Melanoma"), (2, "Mole"))
                ]
            ],
        }
    )
    written = pydicom_seg.MultiClassWriter(template, inplane_cropping=cropped).write(image, [placed])
    assert ((written.Rows, written.Columns) == (ROWS, COLUMNS)) is not cropped
    segments = read_segmentation(written, header)
    assert np.array_equal(masks(segments), BOTH)
    assert [segment.lesion_class.name for segment in segments if segment.lesion_class] == ["mel", "nv"]


# Kinds and encodings


@pytest.mark.parametrize("kind", ["FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_each_kind_is_read_in_each_transfer_syntax(
    kind: str, syntax: str, photograph: Dataset, header: PhotographHeader
) -> None:
    written = made_by_highdicom(photograph, BOTH, kind)
    if syntax == RLELossless:  # gdcm's encoder aborts the whole process on odd widths
        written.compress(syntax, encoding_plugin="pydicom", generate_instance_uid=False)
    elif syntax != ExplicitVRLittleEndian:
        written.compress(syntax, generate_instance_uid=False)
    segments = read_segmentation(written, header)
    assert np.array_equal(masks(segments), BOTH)
    assert [segment.label for segment in segments] == ["Melanoma", "mole"]


def test_binary_in_jpeg_2000_is_read(photograph: Dataset, header: PhotographHeader) -> None:
    written = made_by_highdicom(photograph, BOTH, "BINARY")
    streams = [
        made_by_highdicom(photograph, mask[None], "BINARY", ("x",)) for mask in BOTH
    ]  # one frame each, as bits are packed over frames
    frames = []
    for stream in streams:
        source = deepcopy(photograph)
        for keyword in ("PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "StudyDate", "StudyTime"):
            setattr(source, keyword, "")
        encoded = Segmentation(
            [source],
            stream.get_pixels_by_source_instance([source.SOPInstanceUID])[..., 0].astype(np.uint8),
            "BINARY",
            [SegmentDescription(1, "x", TISSUE, TISSUE, "MANUAL")],
            *(generate_uid(), 1, generate_uid(), 1, "Other", "Other", "1", "1"),
            transfer_syntax_uid=JPEG2000Lossless,
        )
        frames.append(encoded)
    assert frames
    assert written
