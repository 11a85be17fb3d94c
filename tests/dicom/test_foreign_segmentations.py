"""Segmentations as other programs write them, and what no reader should accept. See foreign/README.md."""

import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom_seg
import pytest
import SimpleITK as sitk  # noqa: N813 - the field's own name
from highdicom.seg import Segmentation, SegmentDescription
from pydicom import Dataset, dcmread, examples
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.sr.coding import Code
from pydicom.tag import Tag
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
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

READABLE = (
    "ohif_binary",
    "ohif_labelmap",
    "ohif_labelmap_rle",
    "dcmqi_binary",
    "dcmqi_labelmap",
    "dcmqi_deflated",
)


@pytest.fixture
def photograph() -> Dataset:
    """The photograph that all files in `foreign` outline."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.Modality = VLPhotographicImageStorage, "XC"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = (
        "2.25.1001",
        "2.25.1002",
        "2.25.1003",
    )
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
    photograph: Dataset, pixels: np.ndarray, kind: str, syntax: str = ExplicitVRLittleEndian
) -> Segmentation:
    """A Segmentation of (segments, rows, columns) as highdicom makes it of a photograph."""
    source = deepcopy(photograph)
    for keyword in ("PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "StudyDate", "StudyTime"):
        setattr(source, keyword, "")
    described = [
        SegmentDescription(number, label, TISSUE, TISSUE, "MANUAL")
        for number, label in enumerate(("Melanoma", "mole"), start=1)
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
        transfer_syntax_uid=syntax,
    )


# Files of other programs


@pytest.mark.parametrize("name", READABLE)
def test_files_of_other_programs_are_read(name: str, header: PhotographHeader) -> None:
    segments = read_segmentation(dcmread(FOLDER / f"{name}.dcm"), header)
    assert np.array_equal(masks(segments), BOTH)
    assert [segment.lesion_class.name for segment in segments if segment.lesion_class] == ["mel", "nv"]


@pytest.mark.parametrize("name", [*READABLE, "ohif_binary_rle"])
def test_files_of_other_programs_are_summarised_as_drawn_by_a_person(
    name: str, header: PhotographHeader
) -> None:
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


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        ("BINARY", ExplicitVRLittleEndian),
        ("BINARY", ImplicitVRLittleEndian),
        ("BINARY", JPEG2000Lossless),
        *(
            (kind, syntax)
            for kind in ("FRACTIONAL", "LABELMAP")
            for syntax in (ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless)
        ),
    ],
)
def test_each_kind_is_read_in_each_transfer_syntax(
    kind: str, syntax: str, photograph: Dataset, header: PhotographHeader
) -> None:
    segments = read_segmentation(made_by_highdicom(photograph, BOTH, kind, syntax), header)
    assert np.array_equal(masks(segments), BOTH)
    assert [segment.label for segment in segments] == ["Melanoma", "mole"]


@pytest.mark.parametrize("kind", ["FRACTIONAL", "LABELMAP"])
def test_each_kind_is_read_in_rle(kind: str, photograph: Dataset, header: PhotographHeader) -> None:
    written = made_by_highdicom(photograph, BOTH, kind)
    # gdcm's RLE encoder, which would be first choice, aborts the whole process at this width.
    written.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    assert np.array_equal(masks(read_segmentation(written, header)), BOTH)


def test_a_label_map_of_16_bits_is_read(photograph: Dataset, header: PhotographHeader) -> None:
    written = made_by_highdicom(photograph, BOTH, "LABELMAP")
    written.SegmentSequence[2].SegmentNumber = 400  # after background and segment 1
    values = LESION.astype("<u2") + 400 * SECOND.astype("<u2")
    written.BitsAllocated, written.BitsStored, written.HighBit = 16, 16, 15
    written.PixelData, written["PixelData"].VR = values.tobytes(), "OW"
    assert np.array_equal(masks(read_segmentation(written, header)), BOTH)


@pytest.mark.parametrize("bits", [1, 8])
def test_deflated_frames_are_read(bits: int, ours: Dataset, header: PhotographHeader) -> None:
    def deflate(mask: np.ndarray) -> bytes:
        data = np.packbits(mask, bitorder="little") if bits == 1 else mask.astype(np.uint8)
        coder = zlib.compressobj(wbits=-15)
        return coder.compress(data.tobytes()) + coder.flush()

    ours.BitsAllocated = ours.BitsStored = bits
    ours.HighBit = bits - 1
    ours.PixelData = encapsulate([deflate(mask) for mask in BOTH])
    ours["PixelData"].is_undefined_length = True
    ours.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.8.1"
    assert np.array_equal(masks(read_segmentation(ours, header)), BOTH)


@pytest.mark.parametrize(("threshold", "inside"), [(0.5, 2), (0.2, 3), (1.0, 1)])
def test_a_fraction_is_inside_from_the_threshold_on(
    threshold: float, inside: int, photograph: Dataset, header: PhotographHeader
) -> None:
    fractions = np.zeros((2, ROWS, COLUMNS), np.float32)
    fractions[0, 20, 10:14] = 1.0, 0.502, 0.2, 0.1  # stored as 255, 128, 51, 26
    written = made_by_highdicom(photograph, fractions, "FRACTIONAL")
    lesion, _ = read_segmentation(written, header, fractional_threshold=threshold)
    assert np.array_equal(np.argwhere(lesion.mask), [(20, 10 + step) for step in range(inside)])


@pytest.mark.parametrize("threshold", [0, -0.5, 1.01, float("nan")])
def test_a_threshold_out_of_range_is_refused(
    threshold: float, ours: Dataset, header: PhotographHeader
) -> None:
    with pytest.raises(ArgumentError, match="expected above 0 and at most 1"):
        read_segmentation(ours, header, fractional_threshold=threshold)


def test_ones_of_255_are_inside_where_there_is_nothing_higher(
    photograph: Dataset, header: PhotographHeader
) -> None:
    written = made_by_highdicom(photograph, BOTH, "FRACTIONAL")
    written.PixelData = BOTH.astype(np.uint8).tobytes()  # dcmjs leaves MaximumFractionalValue at 255
    assert np.array_equal(masks(read_segmentation(written, header)), BOTH)


def test_ones_of_255_are_outside_where_another_frame_is_higher(
    photograph: Dataset, header: PhotographHeader
) -> None:
    written = made_by_highdicom(photograph, BOTH, "FRACTIONAL")
    written.PixelData = np.stack([LESION, 200 * SECOND.astype(np.uint8)]).astype(np.uint8).tobytes()
    lesion, second = masks(read_segmentation(written, header))
    assert not lesion.any()
    assert np.array_equal(second, SECOND)


# Frames and segments


def test_frames_may_come_in_any_order(ours: Dataset, header: PhotographHeader) -> None:
    ours.PerFrameFunctionalGroupsSequence = list(reversed(ours.PerFrameFunctionalGroupsSequence))
    ours.PixelData = np.packbits(BOTH[::-1], bitorder="little").tobytes()
    assert np.array_equal(masks(read_segmentation(ours, header)), BOTH)


def test_segment_numbers_may_have_gaps_and_any_order(ours: Dataset, header: PhotographHeader) -> None:
    for described, group, number in zip(
        ours.SegmentSequence, ours.PerFrameFunctionalGroupsSequence, (9, 4), strict=True
    ):
        described.SegmentNumber = number
        described.SegmentLabel = f"number {number}"
        group.SegmentIdentificationSequence[0].ReferencedSegmentNumber = number
    segments = read_segmentation(ours, header)
    assert [segment.label for segment in segments] == ["number 4", "number 9"]
    assert np.array_equal(masks(segments), BOTH[::-1])


def test_a_segment_without_a_frame_is_empty(ours: Dataset, header: PhotographHeader) -> None:
    ours.NumberOfFrames = 1
    del ours.PerFrameFunctionalGroupsSequence[1]
    assert np.array_equal(masks(read_segmentation(ours, header)), [LESION, np.zeros_like(LESION)])


def test_several_frames_of_a_segment_are_united(ours: Dataset, header: PhotographHeader) -> None:
    second = ours.PerFrameFunctionalGroupsSequence[1]
    second.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 1
    assert np.array_equal(read_segmentation(ours, header)[0].mask, LESION | SECOND)


def test_a_frame_of_an_undescribed_segment_is_kept(ours: Dataset, header: PhotographHeader) -> None:
    del ours.SegmentSequence[1]
    segments = read_segmentation(ours, header)
    assert np.array_equal(masks(segments), BOTH)
    assert (segments[1].label, segments[1].lesion_class) == (None, None)


def test_a_frame_that_names_no_segment_belongs_to_the_only_one(
    photograph: Dataset, header: PhotographHeader
) -> None:
    written = write_segmentation(photograph, [LesionSegment(LESION, None)], Clinician("A"))
    del written.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence
    assert np.array_equal(masks(read_segmentation(written, header)), [LESION])


def test_a_frame_that_names_none_of_several_segments_is_refused(
    ours: Dataset, header: PhotographHeader
) -> None:
    del ours.PerFrameFunctionalGroupsSequence[1].SegmentIdentificationSequence
    with pytest.raises(
        MaskError, match=r"frame 2 .* does not say which of 2 segments .*ReferencedSegmentNumber"
    ):
        read_segmentation(ours, header)


@pytest.mark.parametrize(
    "place",
    ["modifier", "modifier beside the type", "type", "description", "type meaning"],
)
def test_the_class_is_found_wherever_it_stands(place: str, ours: Dataset, header: PhotographHeader) -> None:
    described = ours.SegmentSequence[0]
    described.SegmentLabel = "Segment_1"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "bcc", "99DERMCHECK", "x"
    if place == "modifier":
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [code]
    elif place == "modifier beside the type":
        described.SegmentedPropertyTypeModifierCodeSequence = [code]
    elif place == "type":
        described.SegmentedPropertyTypeCodeSequence = [code]
    elif place == "description":
        described.SegmentDescription = "basal cell carcinoma"
    else:
        described.SegmentedPropertyTypeCodeSequence[0].CodeMeaning = "Basalioma"
    found = read_segmentation(ours, header)[0].lesion_class
    assert found is not None
    assert found.name == "bcc"


def test_a_code_outranks_the_label(ours: Dataset, header: PhotographHeader) -> None:
    described = ours.SegmentSequence[0]
    described.SegmentLabel = "Melanoma"
    code = described.SegmentedPropertyTypeCodeSequence[0]
    code.CodeValue, code.CodingSchemeDesignator = "400096001", "SCT"
    found = read_segmentation(ours, header)[0].lesion_class
    assert found is not None
    assert found.name == "nv"


def test_a_malformed_tracking_uid_is_left_out(ours: Dataset, header: PhotographHeader) -> None:
    tag = Tag("TrackingUID")
    ours.SegmentSequence[0][tag] = RawDataElement(
        tag, "UI", 3, b"abc", 0, is_implicit_VR=False, is_little_endian=True
    )
    with pytest.warns(UserWarning, match="Invalid value for VR UI"):  # pydicom's own
        segment = read_segmentation(ours, header)[0]
    assert segment.tracking_uid is None
    assert segment.tracking_id is not None


# Cropped frames


def crop(segmentation: Dataset, rows: slice, columns: slice) -> None:
    cropped = BOTH[:, rows, columns]
    segmentation.Rows, segmentation.Columns = cropped.shape[1:]
    segmentation.PixelData = np.packbits(cropped, bitorder="little").tobytes()


@pytest.mark.parametrize("shared", [False, True], ids=["per frame", "shared"])
def test_a_cropped_frame_is_placed_by_its_position(
    shared: bool, ours: Dataset, header: PhotographHeader
) -> None:
    crop(ours, slice(2, 40), slice(10, 61))
    position = Dataset()
    position.ImagePositionPatient = [10 * 0.04, 2 * 0.05, 7]
    ours.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0.05, 0.04]
    groups = ours.SharedFunctionalGroupsSequence if shared else ours.PerFrameFunctionalGroupsSequence
    for group in groups:
        group.PlanePositionSequence = [position]
    assert np.array_equal(masks(read_segmentation(ours, header)), BOTH)


def test_a_tile_is_placed_by_its_position_in_the_whole(ours: Dataset, header: PhotographHeader) -> None:
    crop(ours, slice(2, 40), slice(10, 61))
    ours.TotalPixelMatrixRows, ours.TotalPixelMatrixColumns = ROWS, COLUMNS
    for group in ours.PerFrameFunctionalGroupsSequence:
        tile = Dataset()
        tile.RowPositionInTotalImagePixelMatrix, tile.ColumnPositionInTotalImagePixelMatrix = 3, 11
        group.PlanePositionSlideSequence = [tile]
    assert np.array_equal(masks(read_segmentation(ours, header)), BOTH)


def test_another_size_without_a_position_is_refused_with_both_sizes(
    ours: Dataset, header: PhotographHeader
) -> None:
    crop(ours, slice(2, 40), slice(10, 61))
    with pytest.raises(MaskError, match=r"is 38 × 51 pixels .* states no position; .* 2.25.1003 is 45 × 62"):
        read_segmentation(ours, header)


@pytest.mark.parametrize(
    "position",
    [[10, 8, 0], [12, 2, 0], [-1, 0, 0], [0.5, 0, 0]],
    ids=["below the edge", "right of the edge", "left of the edge", "between pixels"],
)
def test_a_position_outside_the_photograph_is_refused(
    position: list[float], ours: Dataset, header: PhotographHeader
) -> None:
    crop(ours, slice(2, 40), slice(10, 61))
    for group in ours.PerFrameFunctionalGroupsSequence:
        plane = Dataset()
        plane.ImagePositionPatient = position
        group.PlanePositionSequence = [plane]
    with pytest.raises(MaskError, match=r"38 × 51 .* 45 × 62"):
        read_segmentation(ours, header)


def test_a_larger_frame_is_refused_with_both_sizes(ours: Dataset, photograph: Dataset) -> None:
    photograph.Rows = 44
    with pytest.raises(MaskError, match=r"is 45 × 62 .* is 44 × 62"):
        read_segmentation(ours, read_header(photograph))


# References


def test_frames_of_other_photographs_are_left_out(ours: Dataset, header: PhotographHeader) -> None:
    second = ours.PerFrameFunctionalGroupsSequence[1] = deepcopy(ours.PerFrameFunctionalGroupsSequence[1])
    second.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID = "2.25.9999"
    assert np.array_equal(masks(read_segmentation(ours, header)), [LESION, np.zeros_like(LESION)])


def test_frames_that_could_be_of_several_photographs_are_refused(
    ours: Dataset, header: PhotographHeader
) -> None:
    instances = ours.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    instances.append(deepcopy(instances[0]))
    instances[1].ReferencedSOPInstanceUID = "2.25.9999"
    for group in ours.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence
    with pytest.raises(MaskError, match=r"frame 1 .* does not say which of 2 photographs"):
        read_segmentation(ours, header)


@pytest.mark.parametrize("kept", ["derivation", "source image", "referenced series", "another study"])
def test_one_reference_of_any_kind_is_enough(kept: str, ours: Dataset, header: PhotographHeader) -> None:
    if kept != "derivation":
        for group in ours.PerFrameFunctionalGroupsSequence:
            del group.DerivationImageSequence
    if kept != "source image":
        del ours.SourceImageSequence
    if kept == "another study":
        study = Dataset()
        study.StudyInstanceUID, study.ReferencedSeriesSequence = "2.25.1", ours.ReferencedSeriesSequence
        ours.StudiesContainingOtherReferencedInstancesSequence = [study]
    if kept != "referenced series":
        del ours.ReferencedSeriesSequence
    assert np.array_equal(masks(read_segmentation(ours, header)), BOTH)
    assert summarise_segmentation(ours).image_uid == header.sop_instance_uid


def test_no_reference_is_refused(ours: Dataset, header: PhotographHeader) -> None:
    del ours.ReferencedSeriesSequence, ours.SourceImageSequence, ours.PerFrameFunctionalGroupsSequence
    with pytest.raises(MaskError, match=r"refers to no image, expected the photograph 2.25.1003"):
        read_segmentation(ours, header)


def test_a_mask_that_says_it_does_not_fit_is_refused(ours: Dataset, header: PhotographHeader) -> None:
    image = ours.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    image.SpatialLocationsPreserved = "NO"
    with pytest.raises(MaskError, match="SpatialLocationsPreserved is NO"):
        read_segmentation(ours, header)


def test_what_is_no_segmentation_is_refused(header: PhotographHeader) -> None:
    with pytest.raises(MaskError, match="SOPClassUID is CT Image Storage, expected a Segmentation"):
        read_segmentation(examples.ct, header)


# Damage


def cut(segmentation: Dataset) -> None:
    segmentation.PixelData = segmentation.PixelData[:-60]


def leave_out_pixels(segmentation: Dataset) -> None:
    del segmentation.PixelData


def break_rle(segmentation: Dataset) -> None:
    segmentation.PixelData = encapsulate([b"\1\0\0\0@\0\0\0" + bytes(56) + b"\x05abc", b"x"])
    segmentation["PixelData"].is_undefined_length = True
    segmentation.file_meta.TransferSyntaxUID = RLELossless


def break_deflate(segmentation: Dataset) -> None:
    segmentation.PixelData = encapsulate([b"\xff\xff\xff", b"\xff"])
    segmentation.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.8.1"


@pytest.mark.parametrize("damage", [cut, leave_out_pixels, break_rle, break_deflate])
def test_damaged_pixels_are_refused_in_a_sentence(
    damage: Callable[[Dataset], None], ours: Dataset, header: PhotographHeader
) -> None:
    damage(ours)
    with pytest.raises(MaskError, match=r"frame \d of the Segmentation cannot be decoded \(.+\)\. Store"):
        read_segmentation(ours, header)


@pytest.mark.parametrize("count", [-1, 2_000_000_000])
def test_a_header_that_promises_absurdly_many_frames_is_refused(
    count: int, ours: Dataset, header: PhotographHeader
) -> None:
    ours.NumberOfFrames = count
    with pytest.raises(MaskError, match=f"NumberOfFrames is {count}, expected 1 to 10,000"):
        read_segmentation(ours, header)


def test_a_deflated_frame_that_would_inflate_without_end_is_cut_at_its_size(
    ours: Dataset, header: PhotographHeader
) -> None:
    coder = zlib.compressobj(wbits=-15)
    bomb = coder.compress(bytes(100_000_000)) + coder.flush()
    ours.PixelData = encapsulate([bomb, bomb])
    ours.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.8.1"
    tracemalloc.start()
    try:
        segments = read_segmentation(ours, header)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not masks(segments).any()
    assert peak < 5_000_000
