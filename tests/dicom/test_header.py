"""What is read of a photograph's header, and what is refused."""

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    ColorSoftcopyPresentationStateStorage,
    CTImageStorage,
    EncapsulatedPDFStorage,
    MRImageStorage,
    MultiFrameSingleBitSecondaryCaptureImageStorage,
    SegmentationStorage,
    VideoPhotographicImageStorage,
    VLWholeSlideMicroscopyImageStorage,
    generate_uid,
)

from dermcheck.dicom.header import read_header
from dermcheck.dicom.limits import MAX_PIXELS
from dermcheck.dicom.photograph import read_dataset
from dermcheck.dicom.sop_classes import PHOTOGRAPH_SOP_CLASSES, is_photograph
from dermcheck.errors import NotAPhotographError, UnreadableImageError

OTHER_CLASSES = (
    BasicTextSRStorage,
    CTImageStorage,
    ColorSoftcopyPresentationStateStorage,
    EncapsulatedPDFStorage,
    MRImageStorage,
    MultiFrameSingleBitSecondaryCaptureImageStorage,
    SegmentationStorage,
    VLWholeSlideMicroscopyImageStorage,
    VideoPhotographicImageStorage,
)


@pytest.fixture
def photograph(make_photograph) -> Dataset:
    return make_photograph(np.zeros((4, 6, 3), np.uint8))


def code(value: str, meaning: str, scheme: str = "SCT") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def test_identity_and_size_are_those_of_the_dataset(photograph):
    header = read_header(photograph)
    assert header.sop_class_uid == photograph.SOPClassUID
    assert header.sop_instance_uid == photograph.SOPInstanceUID
    assert header.series_instance_uid == photograph.SeriesInstanceUID
    assert header.study_instance_uid == photograph.StudyInstanceUID
    assert (header.rows, header.columns, header.number_of_frames) == (4, 6, 1)
    assert header.modality == "DMS"


def test_what_only_describes_is_none_where_it_is_absent(photograph):
    header = read_header(photograph)
    assert header.pixel_spacing_mm is None
    assert header.laterality is None
    assert header.anatomic_site is None
    assert header.tracking_id is None
    assert header.tracking_uid is None
    assert header.acquired is None


def test_a_header_needs_no_pixels(photograph, save):
    dataset = read_dataset(save(photograph), stop_before_pixels=True)
    assert "PixelData" not in dataset
    assert read_header(dataset) == read_header(photograph)


@pytest.mark.parametrize("sop_class", PHOTOGRAPH_SOP_CLASSES, ids=lambda value: value.keyword)
def test_photographs_are_told_by_their_sop_class(sop_class, photograph):
    photograph.SOPClassUID = sop_class
    assert is_photograph(photograph)
    assert read_header(photograph).sop_class_uid == sop_class


@pytest.mark.parametrize("sop_class", OTHER_CLASSES, ids=lambda value: value.keyword)
def test_other_objects_are_refused_by_name(sop_class, photograph):
    photograph.SOPClassUID = sop_class
    assert not is_photograph(photograph)
    with pytest.raises(NotAPhotographError) as refusal:
        read_header(photograph)
    assert f"instance {photograph.SOPInstanceUID}: SOPClassUID is {UID(sop_class).name}" in str(refusal.value)


def test_a_private_sop_class_is_refused_by_its_uid(photograph):
    photograph.SOPClassUID = "1.2.3.4"
    with pytest.raises(NotAPhotographError, match=r"SOPClassUID is 1\.2\.3\.4, expected a photograph"):
        read_header(photograph)


def test_the_index_of_a_medium_is_no_photograph(shipped_with_pydicom):
    dataset = read_dataset(shipped_with_pydicom("DICOMDIR"))
    assert not is_photograph(dataset)
    with pytest.raises(NotAPhotographError, match="SOPClassUID is Media Storage Directory Storage"):
        read_header(dataset)


@pytest.mark.filterwarnings("ignore:.*nvalid value for VR UI")  # that is the point
@pytest.mark.parametrize(
    "keyword", ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"]
)
@pytest.mark.parametrize("value", [None, "", "../../etc/passwd", "1.2 3", "1." * 40])
def test_a_uid_that_is_missing_or_no_uid_is_refused_by_name(keyword, value, photograph):
    if value is None:
        del photograph[keyword]
    else:
        photograph[keyword].value = value
    with pytest.raises(UnreadableImageError, match=rf"{keyword} is .*, expected a DICOM UID"):
        read_header(photograph)


@pytest.mark.parametrize(
    ("rows", "columns"), [(0, 6), (4, 0), (0, 0), (65535, 65535), (MAX_PIXELS // 10_000 + 1, 10_000)]
)
def test_absurd_sizes_are_refused_with_the_size_found(rows, columns, photograph):
    photograph.Rows, photograph.Columns = rows, columns
    with pytest.raises(
        UnreadableImageError, match=f"Rows and Columns: the size is {rows} × {columns} pixels"
    ):
        read_header(photograph)


@pytest.mark.parametrize("keyword", ["Rows", "Columns"])
def test_a_size_that_is_missing_is_refused_by_name(keyword, photograph):
    del photograph[keyword]
    with pytest.raises(UnreadableImageError, match=f"{keyword} is missing, expected one whole number"):
        read_header(photograph)


@pytest.mark.filterwarnings("ignore:Invalid value for VR IS")
def test_a_damaged_number_of_frames_is_refused(shipped_with_pydicom, photograph):
    damaged = read_dataset(shipped_with_pydicom("badVR.dcm"))  # "1A"
    for keyword in ("SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(damaged, keyword, photograph[keyword].value)
    with pytest.raises(UnreadableImageError, match="NumberOfFrames is no single number"):
        read_header(damaged)


def test_zero_frames_are_refused(photograph):
    photograph.NumberOfFrames = 0
    with pytest.raises(UnreadableImageError, match="NumberOfFrames is 0, expected at least 1"):
        read_header(photograph)


def test_the_patient_key_is_equal_for_one_patient_only(make_photograph):
    pixels = np.zeros((1, 1, 3), np.uint8)

    def key(**attributes):
        return read_header(make_photograph(pixels, **attributes)).patient_key

    assert key(PatientID="A1") == key(PatientID="A1 ", PatientName="Other^Spelling")
    assert key(PatientID="A1") != key(PatientID="A2")
    assert key(PatientID="A1", IssuerOfPatientID="X") != key(PatientID="A1", IssuerOfPatientID="Y")
    assert key(PatientID="1A", IssuerOfPatientID="X") != key(PatientID="A", IssuerOfPatientID="X1")


def test_the_patient_key_shows_neither_name_nor_number(photograph):
    key = read_header(photograph).patient_key
    assert len(key) == 16
    assert set(key) <= set("0123456789abcdef")


@pytest.mark.parametrize("absent", [None, ""])
def test_without_a_patient_id_the_study_stands_for_the_patient(absent, make_photograph):
    pixels, study = np.zeros((1, 1, 3), np.uint8), generate_uid()
    same = [read_header(make_photograph(pixels, PatientID=absent, StudyInstanceUID=study)) for _ in range(2)]
    other = read_header(make_photograph(pixels, PatientID=absent))
    assert same[0].patient_key == same[1].patient_key != other.patient_key


@given(row=st.floats(1e-4, 10), column=st.floats(1e-4, 10))
def test_pixel_spacing_is_row_then_column(make_photograph, row, column):
    spacing = [f"{row:.6f}", f"{column:.6f}"]
    header = read_header(make_photograph(np.zeros((1, 1, 3), np.uint8), PixelSpacing=spacing))
    assert header.pixel_spacing_mm == (float(spacing[0]), float(spacing[1]))


@pytest.mark.parametrize("spacing", [[], ["0.1"], ["0", "0.1"], ["-1", "1"], ["0.1", "0.1", "0.1"]])
def test_an_unusable_pixel_spacing_is_none(spacing, photograph):
    photograph.PixelSpacing = spacing
    assert read_header(photograph).pixel_spacing_mm is None


def test_magnification_alone_gives_no_spacing(photograph):
    photograph.OpticalMagnificationFactor = 10
    photograph.ImagerPixelSpacing = ["0.005", "0.005"]
    photograph.NominalScannedPixelSpacing = ["0.1", "0.1"]
    assert read_header(photograph).pixel_spacing_mm is None


def test_the_site_is_the_meaning_of_the_anatomic_region(photograph):
    photograph.AnatomicRegionSequence = [code("66643007", "Skin of back")]
    photograph.BodyPartExamined = "TRUNK"
    assert read_header(photograph).anatomic_site == "Skin of back"


def test_without_a_region_the_body_part_is_the_site(photograph):
    photograph.BodyPartExamined = "HAND"
    assert read_header(photograph).anatomic_site == "HAND"


def test_the_side_is_image_laterality_then_laterality_then_the_regions_modifier(photograph):
    region = code("36141000", "Skin of cheek")
    region.AnatomicRegionModifierSequence = [code("24028007", "Right")]
    photograph.AnatomicRegionSequence = [region]
    assert read_header(photograph).laterality == "R"
    photograph.Laterality = "L"
    assert read_header(photograph).laterality == "L"
    photograph.ImageLaterality = "B"
    assert read_header(photograph).laterality == "B"


def test_the_anatomy_shared_by_all_frames_is_read(photograph):
    frame_anatomy, shared = Dataset(), Dataset()
    frame_anatomy.AnatomicRegionSequence = [code("43067004", "Skin of scalp")]
    shared.FrameAnatomySequence = [frame_anatomy]
    photograph.SharedFunctionalGroupsSequence = [shared]
    assert read_header(photograph).anatomic_site == "Skin of scalp"


def test_the_tracked_lesion_is_read(photograph):
    photograph.TrackingID, photograph.TrackingUID = "back 3", "1.2.3"
    header = read_header(photograph)
    assert (header.tracking_id, header.tracking_uid) == ("back 3", "1.2.3")


MOMENTS = (
    ({"StudyDate": "20240105", "StudyTime": "101112"}, datetime(2024, 1, 5, 10, 11, 12)),
    ({"SeriesDate": "20240104"}, datetime(2024, 1, 4)),
    ({"ContentDate": "20240103", "ContentTime": "0910"}, datetime(2024, 1, 3, 9, 10)),
    ({"AcquisitionDate": "20240102", "AcquisitionTime": "080000.5"}, datetime(2024, 1, 2, 8, 0, 0, 500000)),
    ({"AcquisitionDateTime": "20240101070000+0100"}, datetime(2024, 1, 1, 7)),
)


def test_the_moment_of_acquisition_is_the_most_precise_that_is_known(photograph):
    for attributes, expected in MOMENTS:  # each outranks those before
        for keyword, value in attributes.items():
            setattr(photograph, keyword, value)
        assert read_header(photograph).acquired == expected


def test_a_clock_that_was_never_set_counts_as_absent(photograph, save):
    photograph.StudyDate = "20240105"
    photograph.AcquisitionDate, photograph.AcquisitionTime = "20240102", "080000"
    content = save(photograph).read_bytes().replace(b"20240102", b"00000000")
    assert read_header(read_dataset(content)).acquired == datetime(2024, 1, 5)


def test_no_message_holds_the_patients_name(photograph):
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "Rows"):
        damaged = Dataset()
        damaged.update(photograph)
        del damaged[keyword]
        with pytest.raises(UnreadableImageError) as refusal:
            read_header(damaged)
        assert "Synthetic" not in str(refusal.value)
