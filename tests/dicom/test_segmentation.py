"""What is written as a Segmentation, and that it comes back unchanged."""

import io
import re
import tracemalloc
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime
from pathlib import Path

import highdicom
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom import Dataset, dcmread, examples
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import (
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    VLPhotographicImageStorage,
)

from dermcheck.dicom.author import Algorithm, Author, Clinician
from dermcheck.dicom.codes import class_from_text
from dermcheck.dicom.header import read_header
from dermcheck.dicom.segmentation import (
    LesionSegment,
    read_segmentation,
    summarise_segmentation,
    write_segmentation,
)
from dermcheck.dicom.sop_classes import PHOTOGRAPH_SOP_CLASSES
from dermcheck.errors import ArgumentError, MaskError, NotAPhotographError
from dermcheck.lesions import LESION_CLASSES, lesion_class

MODEL = Algorithm("UNet", "1.3.0", "0123456789abcdef" * 4)
CLINICIAN = Clinician("Lovelace^Ada")
MELANOMA = lesion_class("mel")

PLACED = {
    "PixelSpacing": [0.05, 0.04],
    "FrameOfReferenceUID": "2.25.77",
    "ImagePositionPatient": [1, 2, 3],
    "ImageOrientationPatient": [0, 1, 0, 1, 0, 0],
}
GEOMETRIES = {
    "no geometry": {},
    "spacing only": {"PixelSpacing": [0.05, 0.04]},
    "frame of reference only": {"FrameOfReferenceUID": "2.25.77"},
    "spacing and frame of reference": {"PixelSpacing": [0.05, 0.04], "FrameOfReferenceUID": "2.25.77"},
    "placed in the patient": PLACED,
    "an impossible orientation": {**PLACED, "ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
    "half a geometry": {"FrameOfReferenceUID": "", "ImagePositionPatient": [1, 2, 3]},
}

EXPLAINED_WARNINGS = (
    "Unrecognized defined term = <99DERMCHECK>",  # a private scheme, declared as the standard asks
    r"CodingSchemeUID.*Unrecognized defined term = <2\.25\.",  # the same, its UID
    "Missing attribute or value that would be needed to build DICOMDIR",  # the photograph lacks it too
)


@pytest.fixture
def photograph(make_photograph: Callable[..., Dataset]) -> Dataset:
    return make_photograph(np.zeros((23, 31, 3), np.uint8))


@pytest.fixture
def segment(l_shape: Callable[[int, int], np.ndarray]) -> LesionSegment:
    return LesionSegment(l_shape(23, 31), MELANOMA)


def stored(dataset: Dataset) -> Dataset:
    """Send a dataset through the bytes of a file."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return dcmread(io.BytesIO(buffer.getvalue()))


def unexplained(found: list[str]) -> list[str]:
    return [line for line in found if not any(re.search(known, line) for known in EXPLAINED_WARNINGS)]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("sop_class", PHOTOGRAPH_SOP_CLASSES, ids=PHOTOGRAPH_SOP_CLASSES.get)
def test_a_segmentation_of_any_photograph_is_valid_for_dciodvfy_and_highdicom(
    sop_class: str,
    geometry: str,
    make_photograph: Callable[..., Dataset],
    l_shape: Callable[[int, int], np.ndarray],
    verify: Callable[[Dataset], list[str]],
    tmp_path: Path,
) -> None:
    source = make_photograph(np.zeros((23, 31, 3), np.uint8), SOPClassUID=sop_class, **GEOMETRIES[geometry])
    lesions = [LesionSegment(l_shape(23, 31), MELANOMA), LesionSegment(l_shape(23, 31), None)]
    written = write_segmentation(source, lesions, MODEL)
    assert unexplained(verify(written)) == []
    assert highdicom.seg.segread(tmp_path / "verified.dcm").number_of_segments == 2
    back = read_segmentation(stored(written), read_header(source))
    assert all(np.array_equal(one.mask, l_shape(23, 31)) for one in back)


@pytest.mark.parametrize(
    ("author", "edited"),
    [(MODEL, True), (CLINICIAN, True), (CLINICIAN, False)],
    ids=["model", "edited", "manual"],
)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_any_author_and_number_of_lesions_is_valid(
    count: int,
    author: Author,
    edited: bool,
    photograph: Dataset,
    segment: LesionSegment,
    verify: Callable[[Dataset], list[str]],
) -> None:
    written = write_segmentation(photograph, [segment] * count, author, edited_from_prediction=edited)
    assert unexplained(verify(written)) == []


@settings(max_examples=60)
@given(
    masks=st.tuples(st.integers(1, 4), st.integers(1, 13), st.integers(1, 13)).flatmap(
        lambda shape: arrays(np.bool_, shape)
    ),
    data=st.data(),
)
def test_masks_and_classes_come_back_identical(
    masks: np.ndarray, data: st.DataObject, make_photograph: Callable[..., Dataset]
) -> None:
    source = make_photograph(np.zeros((*masks.shape[1:], 3), np.uint8))
    classes = data.draw(
        st.lists(st.sampled_from([None, *LESION_CLASSES]), min_size=len(masks), max_size=len(masks))
    )
    lesions = [LesionSegment(mask, lesion) for mask, lesion in zip(masks, classes, strict=True)]
    back = read_segmentation(stored(write_segmentation(source, lesions, MODEL)), read_header(source))
    np.testing.assert_array_equal([one.mask for one in back], masks)
    assert [one.lesion_class for one in back] == classes


@pytest.mark.parametrize(("shift", "overlap"), [(0, "YES"), (12, "NO")])
def test_it_says_whether_segments_overlap(
    shift: int, overlap: str, make_photograph: Callable[..., Dataset]
) -> None:
    source = make_photograph(np.zeros((3, 20, 3), np.uint8))
    first = np.zeros((3, 20), np.bool_)
    first[1, 2:5] = True
    lesions = [LesionSegment(mask, None) for mask in (first, np.roll(first, shift, axis=1))]
    assert write_segmentation(source, lesions, MODEL).SegmentsOverlap == overlap


def test_frames_are_packed_without_gaps_and_padded_with_zero(make_photograph: Callable[..., Dataset]) -> None:
    source = make_photograph(np.zeros((1, 3, 3), np.uint8))
    lesions = [LesionSegment(np.ones((1, 3), np.bool_), None)] * 2
    assert write_segmentation(source, lesions, MODEL).PixelData == b"\x3f\0"  # six bits, lowest first


def test_label_and_tracking_come_back(photograph: Dataset, segment: LesionSegment) -> None:
    written = LesionSegment(segment.mask, MELANOMA, "left one", "L-7", "2.25.4711")
    (back,) = read_segmentation(
        stored(write_segmentation(photograph, [written], MODEL)), read_header(photograph)
    )
    assert (back.label, back.tracking_id, back.tracking_uid) == ("left one", "L-7", "2.25.4711")


def test_an_emptied_mask_comes_back_with_0_pixels(photograph: Dataset, segment: LesionSegment) -> None:
    emptied = LesionSegment(np.zeros_like(segment.mask), MELANOMA)
    written = stored(write_segmentation(photograph, [emptied, segment], CLINICIAN))
    back = read_segmentation(written, read_header(photograph))
    assert [int(one.mask.sum()) for one in back] == [0, int(segment.mask.sum())]
    assert back[0].lesion_class is MELANOMA


def test_no_lesion_is_one_empty_segment(photograph: Dataset) -> None:
    (back,) = read_segmentation(stored(write_segmentation(photograph, [], MODEL)), read_header(photograph))
    assert (back.label, back.lesion_class, int(back.mask.sum())) == ("No lesion", None, 0)
    assert back.mask.shape == (23, 31)


def test_the_photograph_is_not_altered(photograph: Dataset, segment: LesionSegment) -> None:
    photograph.AnatomicRegionSequence = [Dataset()]
    photograph.AnatomicRegionSequence[0].CodeValue = "86381001"
    before = deepcopy(photograph)
    write_segmentation(photograph, [segment], MODEL)
    assert photograph == before
    assert photograph.file_meta == before.file_meta


def test_the_pixels_of_the_photograph_are_not_needed(photograph: Dataset, segment: LesionSegment) -> None:
    del photograph.PixelData
    assert write_segmentation(photograph, [segment], MODEL).NumberOfFrames == 1


def test_it_is_a_new_series_of_the_same_study_and_patient(
    photograph: Dataset, segment: LesionSegment
) -> None:
    photograph.IssuerOfPatientID, photograph.StudyDescription = "Clinic", "Mole check"
    first, second = (write_segmentation(photograph, [segment], MODEL) for _ in range(2))
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "IssuerOfPatientID", "StudyDescription"):
        assert first[keyword].value == photograph[keyword].value
    series = {photograph.SeriesInstanceUID, first.SeriesInstanceUID, second.SeriesInstanceUID}
    instances = {photograph.SOPInstanceUID, first.SOPInstanceUID, second.SOPInstanceUID}
    assert len(series) == len(instances) == 3


def test_it_refers_to_the_photograph_as_viewers_look_it_up(
    photograph: Dataset, segment: LesionSegment
) -> None:
    written = write_segmentation(photograph, [segment], MODEL)
    (series,) = written.ReferencedSeriesSequence
    (instance,) = series.ReferencedInstanceSequence
    (frame,) = written.PerFrameFunctionalGroupsSequence
    (source,) = frame.DerivationImageSequence[0].SourceImageSequence
    assert series.SeriesInstanceUID == photograph.SeriesInstanceUID
    for reference in (instance, source):
        assert reference.ReferencedSOPClassUID == photograph.SOPClassUID
        assert reference.ReferencedSOPInstanceUID == photograph.SOPInstanceUID
        assert "ReferencedFrameNumber" not in reference


@pytest.mark.parametrize(
    ("attributes", "spacing", "orientation"),
    [({}, [1, 1], [1, 0, 0, 0, 1, 0]), (PLACED, [0.05, 0.04], PLACED["ImageOrientationPatient"])],
    ids=["placeholder", "the photograph's"],
)
def test_ohif_finds_the_spacing_and_orientation_without_which_it_shows_nothing(
    attributes: dict[str, list[float]],
    spacing: list[float],
    orientation: list[float],
    photograph: Dataset,
    segment: LesionSegment,
) -> None:
    for keyword, value in attributes.items():
        setattr(photograph, keyword, value)
    (shared,) = write_segmentation(photograph, [segment], MODEL).SharedFunctionalGroupsSequence
    assert shared.PixelMeasuresSequence[0].PixelSpacing == spacing
    assert shared.PixelMeasuresSequence[0].SliceThickness == 1
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == orientation


def test_the_class_refines_the_property_in_a_declared_coding_scheme(
    photograph: Dataset, segment: LesionSegment
) -> None:
    written = write_segmentation(photograph, [segment], MODEL)
    (described,) = written.SegmentSequence
    (category,) = described.SegmentedPropertyCategoryCodeSequence
    (kind,) = described.SegmentedPropertyTypeCodeSequence
    (modifier,) = kind.SegmentedPropertyTypeModifierCodeSequence
    found = [(code.CodeValue, code.CodingSchemeDesignator) for code in (category, kind, modifier)]
    assert found == [("49755003", "SCT"), ("95324001", "SCT"), ("mel", "99DERMCHECK")]
    assert described.SegmentLabel == modifier.CodeMeaning == "Melanoma"
    declared = [item.CodingSchemeDesignator for item in written.CodingSchemeIdentificationSequence]
    assert declared == ["99DERMCHECK"]


@pytest.mark.parametrize("lesion", LESION_CLASSES, ids=lambda lesion: lesion.name)
def test_the_display_colour_is_that_of_the_class(
    lesion: object, photograph: Dataset, segment: LesionSegment
) -> None:
    written = write_segmentation(photograph, [LesionSegment(segment.mask, lesion)], MODEL)
    value = written.SegmentSequence[0].RecommendedDisplayCIELabValue
    shown = highdicom.color.CIELabColor.from_dicom_value(value).to_rgb()
    np.testing.assert_allclose(shown, lesion.colour, atol=1)


def test_a_model_is_named_with_version_and_hash(photograph: Dataset, segment: LesionSegment) -> None:
    written = write_segmentation(photograph, [segment], MODEL)
    (described,) = written.SegmentSequence
    (identification,) = described.SegmentationAlgorithmIdentificationSequence
    assert described.SegmentAlgorithmType == "AUTOMATIC"
    assert (identification.AlgorithmName, identification.AlgorithmVersion) == ("UNet", "1.3.0")
    assert identification.AlgorithmParameters == f"sha256={MODEL.model_hash}"
    assert not written.get("ContentCreatorName")


@pytest.mark.parametrize(("edited", "kind"), [(True, "SEMIAUTOMATIC"), (False, "MANUAL")])
def test_a_clinician_is_the_creator(
    edited: bool, kind: str, photograph: Dataset, segment: LesionSegment
) -> None:
    written = write_segmentation(photograph, [segment], CLINICIAN, edited_from_prediction=edited)
    assert written.SegmentSequence[0].SegmentAlgorithmType == kind
    assert written.ContentCreatorName == "Lovelace^Ada"


def test_it_says_research_use_only(photograph: Dataset, segment: LesionSegment) -> None:
    written = write_segmentation(photograph, [segment], MODEL)
    assert "Research use only" in written.SeriesDescription
    assert "Research use only" in written.ContentDescription


def test_the_anatomic_region_is_that_of_the_photograph(photograph: Dataset, segment: LesionSegment) -> None:
    region, side = Dataset(), Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "86381001", "SCT", "Skin of trunk"
    side.CodeValue, side.CodingSchemeDesignator, side.CodeMeaning = "7771000", "SCT", "Left"
    region.AnatomicRegionModifierSequence = [side]
    photograph.AnatomicRegionSequence = [region, Dataset()]  # the second is no code
    written = write_segmentation(photograph, [segment, segment], MODEL)
    for described in written.SegmentSequence:
        assert list(described.AnatomicRegionSequence) == [region]


def test_foreign_coding_schemes_of_copied_codes_stay_declared(
    photograph: Dataset, segment: LesionSegment
) -> None:
    scheme = Dataset()
    scheme.CodingSchemeDesignator, scheme.CodingSchemeUID = "99CLINIC", "2.25.5"
    photograph.CodingSchemeIdentificationSequence = [scheme]
    written = write_segmentation(photograph, [segment], MODEL)
    declared = [item.CodingSchemeDesignator for item in written.CodingSchemeIdentificationSequence]
    assert declared == ["99DERMCHECK", "99CLINIC"]


def test_lossy_compression_of_the_photograph_stays_declared(
    photograph: Dataset, segment: LesionSegment
) -> None:
    photograph.LossyImageCompression, photograph.LossyImageCompressionRatio = "01", 12
    photograph.LossyImageCompressionMethod = "ISO_10918_1"
    written = write_segmentation(photograph, [segment], MODEL)
    assert (written.LossyImageCompression, written.LossyImageCompressionRatio) == ("01", 12)


def test_malformed_values_are_not_inherited(
    photograph: Dataset, segment: LesionSegment, verify: Callable[[Dataset], list[str]]
) -> None:
    for keyword, vr, value in (
        ("PatientBirthDate", "DA", b"1970"),
        ("StudyTime", "TM", b"25:00"),
        ("PatientAge", "AS", b"forty"),
        ("PatientSex", "CS", b"female"),
    ):
        tag = Tag(keyword)
        photograph[tag] = RawDataElement(
            tag, vr, len(value), value, 0, is_implicit_VR=False, is_little_endian=True
        )
    photograph.StudyDate = "20260102"
    written = write_segmentation(photograph, [segment], MODEL)
    assert (written.PatientBirthDate, written.StudyTime, written.PatientSex) == ("", "", "")
    assert "PatientAge" not in written
    assert written.StudyDate == "20260102"
    assert unexplained(verify(written)) == []


def test_a_position_on_a_glass_slide_is_left_out(photograph: Dataset, segment: LesionSegment) -> None:
    photograph.FrameOfReferenceUID, photograph.ImageCenterPointCoordinatesSequence = "2.25.6", [Dataset()]
    assert write_segmentation(photograph, [segment], MODEL).FrameOfReferenceUID == "2.25.6"


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Zoë"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
    ],
)
def test_names_survive_in_any_script(
    character_set: str, name: str, photograph: Dataset, segment: LesionSegment
) -> None:
    photograph.SpecificCharacterSet, photograph.PatientName = character_set, name
    author = Clinician("Ångström^Søren")
    written = stored(write_segmentation(stored(photograph), [segment], author))
    assert str(written.PatientName) == name
    assert str(written.ContentCreatorName) == "Ångström^Søren"


def test_the_only_lesion_takes_the_tracking_of_its_photograph(
    photograph: Dataset, segment: LesionSegment
) -> None:
    photograph.TrackingID, photograph.TrackingUID = "Mole 3", "2.25.33"
    (described,) = write_segmentation(photograph, [segment], MODEL).SegmentSequence
    assert (described.TrackingID, described.TrackingUID) == ("Mole 3", "2.25.33")


def test_two_lesions_do_not_share_the_tracking_of_their_photograph(
    photograph: Dataset, segment: LesionSegment
) -> None:
    photograph.TrackingID, photograph.TrackingUID = "Mole 3", "2.25.33"
    described = write_segmentation(photograph, [segment, segment], MODEL).SegmentSequence
    uids = {item.TrackingUID for item in described}
    assert len(uids) == 2
    assert "2.25.33" not in uids


def test_the_same_name_of_the_same_patient_is_the_same_lesion_at_each_visit(
    make_photograph: Callable[..., Dataset], segment: LesionSegment
) -> None:
    def tracking_uid(patient_id: str, tracking_id: str) -> str:
        source = make_photograph(
            np.zeros((23, 31, 3), np.uint8), PatientID=patient_id, TrackingID=tracking_id
        )
        return write_segmentation(source, [segment], MODEL).SegmentSequence[0].TrackingUID

    assert tracking_uid("A", "Mole 3") == tracking_uid("A", "Mole 3")
    assert len({tracking_uid("A", "Mole 3"), tracking_uid("B", "Mole 3"), tracking_uid("A", "Mole 4")}) == 3


def test_a_tracking_uid_that_is_none_is_refused(photograph: Dataset, segment: LesionSegment) -> None:
    with pytest.raises(ArgumentError, match="the tracking UID of a lesion is 'abc', expected a DICOM UID"):
        write_segmentation(photograph, [LesionSegment(segment.mask, None, tracking_uid="abc")], MODEL)


def test_a_mask_of_another_size_is_refused_with_both_sizes(
    photograph: Dataset, segment: LesionSegment
) -> None:
    wrong = LesionSegment(segment.mask.T, MELANOMA)
    with pytest.raises(MaskError, match=r"segment 2 is 31 × 23 .* the photograph 23 × 31") as refusal:
        write_segmentation(photograph, [segment, wrong], MODEL)
    assert photograph.SOPInstanceUID in str(refusal.value)
    assert "Synthetic" not in str(refusal.value)


def test_a_ct_image_is_refused(segment: LesionSegment) -> None:
    with pytest.raises(NotAPhotographError, match="CT Image Storage"):
        write_segmentation(examples.ct, [segment], MODEL)


def test_labels_are_made_to_fit(
    photograph: Dataset, segment: LesionSegment, verify: Callable[[Dataset], list[str]]
) -> None:
    label = "left\\upper\n" + "very " * 20
    written = write_segmentation(photograph, [LesionSegment(segment.mask, MELANOMA, label)], MODEL)
    assert written.SegmentSequence[0].SegmentLabel == ("left upper " + "very " * 20)[:64].strip()
    assert unexplained(verify(written)) == []


@pytest.mark.parametrize("name", ["", "  ", "a\\b", "a\nb", "a" * 64])
def test_a_name_that_dicom_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match="the clinician's name is"):
        Clinician(name)


@pytest.mark.parametrize("field", ["name", "version", "model_hash"])
def test_an_algorithm_needs_all_its_fields(field: str) -> None:
    with pytest.raises(ArgumentError, match=f"the algorithm's {field} is"):
        Algorithm(**{"name": "UNet", "version": "1", "model_hash": "ab", field: ""})


@pytest.fixture
def multi_frame(make_photograph: Callable[..., Dataset]) -> Dataset:
    return make_photograph(
        np.zeros((3, 23, 31, 3), np.uint8), SOPClassUID=MultiFrameTrueColorSecondaryCaptureImageStorage
    )


def test_a_frame_of_a_multi_frame_photograph_is_referred_to(
    multi_frame: Dataset, segment: LesionSegment, verify: Callable[[Dataset], list[str]]
) -> None:
    written = write_segmentation(multi_frame, [segment], MODEL, frame=2)
    (group,) = written.PerFrameFunctionalGroupsSequence
    assert group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber == 2
    assert unexplained(verify(written)) == []


def test_frame_1_is_meant_where_none_is_named(multi_frame: Dataset, segment: LesionSegment) -> None:
    (group,) = write_segmentation(multi_frame, [segment], MODEL).PerFrameFunctionalGroupsSequence
    assert group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber == 1


@pytest.mark.parametrize("frame", [0, -1, 4])
def test_a_frame_that_does_not_exist_is_refused(
    frame: int, multi_frame: Dataset, segment: LesionSegment
) -> None:
    with pytest.raises(ArgumentError, match=f"frame {frame} was asked for, expected 1 to 3"):
        write_segmentation(multi_frame, [segment], MODEL, frame=frame)


def test_only_the_outline_of_the_asked_frame_is_read(multi_frame: Dataset, segment: LesionSegment) -> None:
    written = stored(write_segmentation(multi_frame, [segment], MODEL, frame=2))
    header = read_header(multi_frame)
    assert [int(one.mask.sum()) for one in read_segmentation(written, header, frame=1)] == [0]
    assert np.array_equal(read_segmentation(written, header, frame=2)[0].mask, segment.mask)
    assert np.array_equal(read_segmentation(written, header)[0].mask, segment.mask)


def test_outlines_of_several_frames_need_a_choice(multi_frame: Dataset, segment: LesionSegment) -> None:
    other = LesionSegment(~segment.mask, MELANOMA)
    written = stored(write_segmentation(multi_frame, [segment, other], MODEL))
    second = written.PerFrameFunctionalGroupsSequence[1].DerivationImageSequence[0].SourceImageSequence[0]
    second.ReferencedFrameNumber = 3
    with pytest.raises(MaskError, match="outlines frames 1, 3 of the photograph"):
        read_segmentation(stored(written), read_header(multi_frame))
    masks = [one.mask for one in read_segmentation(stored(written), read_header(multi_frame), frame=3)]
    assert not masks[0].any()
    assert np.array_equal(masks[1], other.mask)


@pytest.mark.parametrize("overlapping", [False, True])
def test_24_megapixels_take_bounded_memory(
    overlapping: bool, make_photograph: Callable[..., Dataset], tmp_path: Path
) -> None:
    rows, columns = 4000, 6000
    source = make_photograph(np.zeros((1, 1, 3), np.uint8))
    source.Rows, source.Columns = rows, columns
    masks = np.zeros((3, rows, columns), np.bool_)
    for number, mask in enumerate(masks):
        mask[500:3000, 1000 * number : 1000 * number + (1500 if overlapping else 900)] = True
    lesions = [LesionSegment(mask, lesion) for mask, lesion in zip(masks, LESION_CLASSES, strict=False)]
    tracemalloc.start()
    try:
        write_segmentation(source, lesions, MODEL).save_as(tmp_path / "large.dcm")
        back = read_segmentation(dcmread(tmp_path / "large.dcm"), read_header(source))
        peak_mb = tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
    assert all(np.array_equal(one.mask, mask) for one, mask in zip(back, masks, strict=True))
    assert peak_mb < (600 if overlapping else 250)  # one mask is 23 MB


@pytest.mark.parametrize(
    ("author", "automatic", "creator"),
    [(MODEL, True, None), (CLINICIAN, False, "Lovelace^Ada"), (Clinician("Dr. Ada"), False, "Dr. Ada")],
    ids=["model", "person name", "as typed"],
)
def test_the_summary_says_who_drew(
    author: Author, automatic: bool, creator: str | None, photograph: Dataset, segment: LesionSegment
) -> None:
    written = stored(write_segmentation(photograph, [segment, segment], author))
    summary = summarise_segmentation(written)
    assert (summary.automatic, summary.creator) == (automatic, creator)


def test_the_summary_needs_no_pixel_data(photograph: Dataset, segment: LesionSegment, tmp_path: Path) -> None:
    before = datetime.now()
    written = write_segmentation(photograph, [segment], MODEL)
    written.save_as(tmp_path / "seg.dcm")
    summary = summarise_segmentation(dcmread(tmp_path / "seg.dcm", stop_before_pixels=True))
    assert summary.sop_instance_uid == written.SOPInstanceUID
    assert summary.image_uid == photograph.SOPInstanceUID
    assert before <= summary.created <= datetime.now()


def test_a_hand_in_one_segment_makes_the_whole_not_automatic(
    photograph: Dataset, segment: LesionSegment
) -> None:
    written = write_segmentation(photograph, [segment, segment], MODEL)
    written.SegmentSequence[1].SegmentAlgorithmType = "SEMIAUTOMATIC"
    assert not summarise_segmentation(written).automatic


def test_the_date_of_the_summary_falls_back(photograph: Dataset, segment: LesionSegment) -> None:
    written = write_segmentation(photograph, [segment], MODEL)
    written.InstanceCreationDate, written.InstanceCreationTime = "20250203", "101112.5"
    written.ContentDate = ""
    assert summarise_segmentation(written).created == datetime(2025, 2, 3, 10, 11, 12, 500000)
    for keyword in ("ContentDate", "InstanceCreationDate", "StudyDate"):
        delattr(written, keyword)
    assert summarise_segmentation(written).created == datetime.min


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID"])
def test_no_summary_without_identity(keyword: str, photograph: Dataset, segment: LesionSegment) -> None:
    written = write_segmentation(photograph, [segment], MODEL)
    delattr(written, keyword)
    with pytest.raises(
        MaskError, match="not a Segmentation" if keyword == "SOPClassUID" else "SOPInstanceUID"
    ):
        summarise_segmentation(written)


def test_no_summary_without_a_reference(photograph: Dataset, segment: LesionSegment) -> None:
    written = write_segmentation(photograph, [segment], MODEL)
    for keyword in ("ReferencedSeriesSequence", "SourceImageSequence", "PerFrameFunctionalGroupsSequence"):
        delattr(written, keyword)
    with pytest.raises(MaskError, match="refers to no image, expected the SOPInstanceUID of a photograph"):
        summarise_segmentation(written)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("MEL", "mel"),
        ("melanoma 0.71", "mel"),
        ("Melanoma_1", "mel"),
        ("Seborrheic keratosis", "bkl"),
        ("Bowen's disease", "akiec"),
        ("nevus", "nv"),
        ("Melanocytic naevus", "nv"),
        ("Haemangioma", "vasc"),
        ("Dermatofibroma", "df"),
        ("basal cell carcinoma", "bcc"),
        ("no melanoma", None),
        ("Segment_1", None),
        ("Lesion", None),
        ("1", None),
        ("", None),
    ],
)
def test_a_class_is_recognised_by_its_names_only(text: str, name: str | None) -> None:
    found = class_from_text(text)
    assert (found.name if found else None) == name


def test_secondary_capture_with_a_broken_modality_is_written(
    make_photograph: Callable[..., Dataset], segment: LesionSegment, verify: Callable[[Dataset], list[str]]
) -> None:
    source = make_photograph(
        np.zeros((23, 31, 3), np.uint8),
        SOPClassUID=SecondaryCaptureImageStorage,
        Modality=None,
        PatientID=None,
    )
    assert unexplained(verify(write_segmentation(source, [segment], MODEL))) == []


def test_a_mask_of_another_photograph_is_refused_naming_both(
    photograph: Dataset, make_photograph: Callable[..., Dataset], segment: LesionSegment
) -> None:
    other = make_photograph(np.zeros((23, 31, 3), np.uint8), SOPClassUID=VLPhotographicImageStorage)
    written = write_segmentation(photograph, [segment], MODEL)
    with pytest.raises(MaskError) as refusal:
        read_segmentation(written, read_header(other))
    assert photograph.SOPInstanceUID in str(refusal.value)
    assert other.SOPInstanceUID in str(refusal.value)
