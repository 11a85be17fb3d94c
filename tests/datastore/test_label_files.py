"""What viewers submit, and what they get to see."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the field's own name
from hypothesis import given
from hypothesis import strategies as st

from dermcheck.datastore.label_files import UNCLASSIFIED_VALUE, read_label_file, write_label_file
from dermcheck.dicom.author import Clinician
from dermcheck.dicom.header import PhotographHeader, read_header
from dermcheck.dicom.segmentation import LesionSegment, write_segmentation
from dermcheck.dicom.viewer_masks import write_label_map
from dermcheck.errors import MaskError
from dermcheck.lesions import LESION_CLASSES, lesion_class

NAMES = [lesion.meaning for lesion in LESION_CLASSES] + ["Skin lesion"]
AS_SLICER_SENDS = {
    "label_info": [{"name": name, "idx": number} for number, name in enumerate(NAMES, start=1)]
}


@pytest.fixture
def header(make_photograph):
    return read_header(make_photograph(size=(6, 9)))


@pytest.fixture
def submit(tmp_path, header):
    """Write a label map as Slicer does and read it as a submission."""

    def submit(label_map, info, name="label.nii.gz"):
        write_label_map(np.asarray(label_map, np.uint8), None, tmp_path / name)
        return read_label_file(tmp_path / name, header, info)

    return submit


def drawing(**values: tuple[slice, slice]) -> np.ndarray:
    label_map = np.zeros((6, 9), np.uint8)
    for value, place in values.items():
        label_map[place] = int(value.removeprefix("v"))
    return label_map


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_an_l_shaped_mask_arrives_neither_turned_nor_mirrored(submit, suffix):
    label_map = np.zeros((6, 9), np.uint8)
    label_map[0:5, 1] = label_map[4, 1:4] = 5
    (segment,) = submit(label_map, AS_SLICER_SENDS, f"label{suffix}")
    np.testing.assert_array_equal(segment.mask, label_map == 5)


@pytest.mark.parametrize("lesion", LESION_CLASSES, ids=lambda lesion: lesion.name)
def test_the_segment_that_is_filled_is_the_diagnosis(submit, lesion):
    (segment,) = submit(drawing(**{f"v{lesion.label_value}": np.s_[1:3, 1:3]}), AS_SLICER_SENDS)
    assert segment.lesion_class is lesion


def test_several_diagnoses_are_several_segments(submit):
    found = submit(drawing(v5=np.s_[0:2, 0:2], v6=np.s_[3:5, 5:8]), AS_SLICER_SENDS)
    assert [segment.lesion_class.name for segment in found] == ["mel", "nv"]


def test_two_spots_of_one_segment_stay_one_segment(submit):
    (segment,) = submit(drawing(v1=np.s_[::5, ::8]), AS_SLICER_SENDS)
    assert segment.mask.sum() == 4


def test_an_empty_label_map_is_an_answer(submit):
    assert submit(drawing(), AS_SLICER_SENDS) == []
    assert submit(drawing(), {}) == []


def test_the_order_of_the_names_counts_where_idx_counts_hidden_segments_too(submit):
    sent = {"label_info": [{"name": "Melanoma", "idx": 2}, {"name": "Naevus", "idx": 4}]}
    first, second = submit(drawing(v1=np.s_[0, 0], v2=np.s_[5, 5]), sent)
    assert (first.lesion_class.name, second.lesion_class.name) == ("mel", "nv")


def test_idx_counts_where_the_values_do_not_fit_the_order(submit):
    sent = {"label_info": [{"name": "mel", "idx": 5}, {"name": "nv", "idx": 6}]}
    assert [segment.lesion_class.name for segment in submit(drawing(v6=np.s_[0, 0]), sent)] == ["nv"]


@pytest.mark.parametrize("sent", [{"label_names": {"mel": 3}}, {"params": {"label_names": {"mel": 3}}}])
def test_names_by_value_are_understood(submit, sent):
    assert [segment.lesion_class.name for segment in submit(drawing(v3=np.s_[0, 0]), sent)] == ["mel"]


@pytest.mark.parametrize("name", ["Melanoma", "MEL", "mel", "melanoma_2", "Malignant melanoma"])
def test_a_class_is_recognised_by_any_of_its_names(submit, name):
    (segment,) = submit(drawing(v1=np.s_[0, 0]), {"label_info": [{"name": name, "idx": 1}]})
    assert segment.lesion_class.name == "mel"
    assert segment.label is None


@pytest.mark.parametrize("name", ["Skin lesion", "something else", "no melanoma"])
def test_another_name_is_a_lesion_without_diagnosis_and_is_kept(submit, name):
    (segment,) = submit(drawing(v1=np.s_[0, 0]), {"label_info": [{"name": name, "idx": 1}]})
    assert (segment.lesion_class, segment.label) == (None, name)


@pytest.mark.parametrize("sent", [{}, {"label_info": []}, {"label_info": "nonsense"}, {"params": None}])
def test_without_names_every_value_is_a_lesion_without_diagnosis(submit, sent):
    found = submit(drawing(v1=np.s_[0, 0], v5=np.s_[5, 5]), sent)
    assert [(segment.lesion_class, segment.label) for segment in found] == [(None, None)] * 2


def test_a_value_without_a_name_beside_named_ones_is_refused(submit):
    with pytest.raises(
        MaskError, match=r"holds the value 9, expected only those with a name \(1 mel, 2 nv\)"
    ):
        submit(drawing(v9=np.s_[0, 0]), {"label_info": [{"name": "mel", "idx": 1}, {"name": "nv", "idx": 2}]})


def test_slicers_background_and_scribbles_are_left_out(submit):
    sent = {"label_info": [{"name": "background"}, {"name": "foreground_scribbles"}, {"name": "bcc"}]}
    (segment,) = submit(drawing(v1=np.s_[0, 0], v2=np.s_[1, 1], v3=np.s_[2, 2]), sent)
    assert segment.lesion_class.name == "bcc"


def test_a_mask_of_another_size_names_both(tmp_path, header):
    write_label_map(np.ones((9, 6), np.uint8), None, tmp_path / "turned.nii.gz")
    with pytest.raises(MaskError, match=r"9.*6.*6.*9|6.*9.*9.*6"):
        read_label_file(tmp_path / "turned.nii.gz", header, AS_SLICER_SENDS)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.seg.nrrd", "a.txt"])
def test_a_file_that_is_no_label_map_is_a_sentence(tmp_path, header, name):
    (tmp_path / name).write_bytes(b"not a label map")
    with pytest.raises(MaskError, match=name):
        read_label_file(tmp_path / name, header, AS_SLICER_SENDS)


def test_segment_names_in_the_file_come_before_those_sent(tmp_path, header):
    image = sitk.GetImageFromArray(drawing(v1=np.s_[0, 0], v2=np.s_[5, 5])[None])
    for number, name in enumerate(["Naevus", "Melanoma"]):
        for field, text in {
            "ID": f"S{number}",
            "Name": name,
            "LabelValue": f"{number + 1}",
            "Layer": "0",
        }.items():
            image.SetMetaData(f"Segment{number}_{field}", text)
    sitk.WriteImage(image, str(tmp_path / "a.seg.nrrd"))
    found = read_label_file(
        tmp_path / "a.seg.nrrd", header, {"label_info": [{"name": "bcc"}, {"name": "df"}]}
    )
    assert [segment.lesion_class.name for segment in found] == ["nv", "mel"]


def test_a_dicom_segmentation_is_taken_as_it_is(tmp_path, make_photograph, make_label):
    photograph = make_photograph()
    make_label(photograph, tmp_path / "a.dcm", name="bcc")
    (segment,) = read_label_file(tmp_path / "a.dcm", read_header(photograph), {})
    assert segment.lesion_class.name == "bcc"
    assert segment.mask.sum() == 1
    with pytest.raises(MaskError, match="refers to"):
        read_label_file(tmp_path / "a.dcm", read_header(make_photograph()), {})


def test_a_viewer_sees_the_class_as_the_value(tmp_path, header):
    places = {"mel": np.s_[0, 0], "nv": np.s_[1, 1], None: np.s_[2, 2]}
    segments = []
    for name, place in places.items():
        mask = np.zeros((6, 9), bool)
        mask[place] = True
        segments.append(LesionSegment(mask, lesion_class(name) if name else None))
    write_label_file(segments, header, tmp_path / "a.nii.gz")
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nii.gz")))[0]
    np.testing.assert_array_equal(values, drawing(v5=places["mel"], v6=places["nv"], v8=places[None]))
    assert UNCLASSIFIED_VALUE not in {lesion.label_value for lesion in LESION_CLASSES}


@given(values=st.lists(st.integers(0, 8), min_size=54, max_size=54))
def test_what_is_shown_and_submitted_unchanged_is_the_same_again(tmp_path_factory, values):
    label_map = np.array(values, np.uint8).reshape(6, 9)
    segments = [
        LesionSegment(label_map == value, LESION_CLASSES[value - 1] if value < 8 else None)
        for value in range(1, 9)
        if (label_map == value).any()
    ]
    header = _header()
    path = tmp_path_factory.mktemp("label") / "a.nii.gz"
    write_label_file(segments, header, path)
    found = read_label_file(path, header, AS_SLICER_SENDS)
    assert [segment.lesion_class for segment in found] == [segment.lesion_class for segment in segments]
    for one, other in zip(found, segments, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)


def _header():
    return PhotographHeader(
        sop_class_uid="1",
        sop_instance_uid="2",
        series_instance_uid="3",
        study_instance_uid="4",
        modality="XC",
        patient_key="0",
        rows=6,
        columns=9,
        number_of_frames=1,
        pixel_spacing_mm=None,
        laterality=None,
        anatomic_site=None,
        tracking_id=None,
        tracking_uid=None,
        acquired=None,
    )


def test_overlapping_segments_survive_in_dicom_and_the_later_one_is_shown(tmp_path, make_photograph):
    photograph = make_photograph(size=(6, 9))
    header = read_header(photograph)
    lower, upper = np.zeros((6, 9), bool), np.zeros((6, 9), bool)
    lower[0:4, 0:4] = upper[2:6, 2:6] = True
    segments = [LesionSegment(lower, lesion_class("nv")), LesionSegment(upper, lesion_class("mel"))]
    write_segmentation(photograph, segments, Clinician("Doe")).save_as(tmp_path / "a.dcm")
    first, second = read_label_file(tmp_path / "a.dcm", header, {})
    np.testing.assert_array_equal(first.mask, lower)
    np.testing.assert_array_equal(second.mask, upper)
    write_label_file([first, second], header, tmp_path / "a.nii.gz")
    shown = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nii.gz")))[0]
    assert shown[3, 3] == lesion_class("mel").label_value
