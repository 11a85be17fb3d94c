"""What is written as a Structured Report, and that it comes back to the last bit."""

import io
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace

import highdicom
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the field's own name
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom import Dataset, dcmread, examples
from pydicom.uid import (
    ImplicitVRLittleEndian,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
)

from dermcheck.dicom.author import Algorithm
from dermcheck.dicom.outline import MOST_POINTS, trace_outline
from dermcheck.dicom.report import DiagnosisFinding, read_report, write_report
from dermcheck.dicom.sop_classes import PHOTOGRAPH_SOP_CLASSES
from dermcheck.errors import ArgumentError, NotAPhotographError, UnreadableImageError
from dermcheck.lesions import CLASSES, LESION_CLASSES, lesion_class

MODEL = Algorithm("DenseNet121", "1.3.0", "0123456789abcdef" * 4)
PROBABILITIES = dict(zip(CLASSES, (0.01, 0.02, 1 / 3, 1e-9, 0.5, 0.1, 0.03), strict=True))

EXPLAINED_WARNINGS = (
    "Unrecognized defined term = <99DERMCHECK>",  # a private scheme, declared as the standard asks
    r"CodingSchemeUID.*Unrecognized defined term = <2\.25\.",  # the same, its UID
    "Missing attribute or value that would be needed to build DICOMDIR",  # the photograph lacks it too
)


@pytest.fixture
def photograph(make_photograph: Callable[..., Dataset]) -> Dataset:
    return make_photograph(np.zeros((23, 31, 3), np.uint8))


@pytest.fixture
def finding(l_shape: Callable[[int, int], np.ndarray]) -> DiagnosisFinding:
    return DiagnosisFinding.from_mask(l_shape(23, 31), PROBABILITIES, lesion_class("mel"), 0.625, MODEL)


@pytest.fixture
def nothing_found(finding: DiagnosisFinding) -> DiagnosisFinding:
    return replace(finding, mask_area_px=0, outline=())


def stored(dataset: Dataset) -> Dataset:
    """Send a dataset through the bytes of a file."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return dcmread(io.BytesIO(buffer.getvalue()))


def content(dataset: Dataset) -> Iterator[Dataset]:
    for item in dataset.get("ContentSequence", []):
        yield item
        yield from content(item)


def items(report: Dataset, value_type: str) -> list[Dataset]:
    return [item for item in content(report) if item.ValueType == value_type]


def unexplained(found: list[str]) -> list[str]:
    return [line for line in found if not any(re.search(known, line) for known in EXPLAINED_WARNINGS)]


@pytest.mark.parametrize("sop_class", PHOTOGRAPH_SOP_CLASSES, ids=PHOTOGRAPH_SOP_CLASSES.get)
@pytest.mark.parametrize("outlined", [True, False], ids=["outlined", "nothing found"])
def test_a_report_on_any_photograph_is_valid_for_dciodvfy_and_highdicom(
    sop_class: str,
    outlined: bool,
    make_photograph: Callable[..., Dataset],
    finding: DiagnosisFinding,
    nothing_found: DiagnosisFinding,
    verify: Callable[[Dataset], list[str]],
) -> None:
    source = make_photograph(np.zeros((23, 31, 3), np.uint8), SOPClassUID=sop_class)
    report = write_report(source, finding if outlined else nothing_found)
    assert unexplained(verify(report)) == []
    parsed = highdicom.sr.ComprehensiveSR.from_dataset(stored(report)).content
    planar = parsed.get_planar_roi_measurement_groups()
    assert len(planar) == (1 if outlined else 0)
    groups = planar or parsed.get_image_measurement_groups()
    assert len(groups[0].get_measurements()) == 9


@settings(max_examples=20)
@given(
    shares=st.lists(st.floats(1e-6, 1), min_size=7, max_size=7),
    uncertainty=st.floats(0, 1),
    decision=st.sampled_from(LESION_CLASSES),
    mask=arrays(np.bool_, (6, 7)),
)
def test_a_finding_comes_back_to_the_last_bit(
    shares: list[float],
    uncertainty: float,
    decision: object,
    mask: np.ndarray,
    make_photograph: Callable[..., Dataset],
) -> None:
    probabilities = {name: share / sum(shares) for name, share in zip(CLASSES, shares, strict=True)}
    finding = DiagnosisFinding.from_mask(mask, probabilities, decision, uncertainty, MODEL)
    source = make_photograph(np.zeros((6, 7, 3), np.uint8))
    assert read_report(stored(write_report(source, finding))) == finding


def test_numpy_numbers_are_written(photograph: Dataset, finding: DiagnosisFinding) -> None:
    narrow = {name: np.float32(value) for name, value in PROBABILITIES.items()}
    back = read_report(
        write_report(photograph, replace(finding, probabilities=narrow, uncertainty=np.float32(0.5)))
    )
    assert back.probabilities == {name: float(value) for name, value in narrow.items()}


def test_numbers_are_read_where_only_the_rounded_text_was_kept(
    photograph: Dataset, finding: DiagnosisFinding
) -> None:
    report = stored(write_report(photograph, finding))
    for item in items(report, "NUM"):
        item.MeasuredValueSequence[0].pop("FloatingPointValue", None)
    assert read_report(report).probabilities == pytest.approx(PROBABILITIES, abs=1e-6)


def test_a_report_survives_re_encoding(photograph: Dataset, finding: DiagnosisFinding) -> None:
    report = stored(write_report(photograph, finding))
    report.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    buffer = io.BytesIO()
    report.save_as(buffer, implicit_vr=True, little_endian=True)
    assert read_report(dcmread(io.BytesIO(buffer.getvalue()))) == finding


def test_the_region_refers_to_the_photograph(photograph: Dataset, finding: DiagnosisFinding) -> None:
    (region,) = items(write_report(photograph, finding), "SCOORD")
    assert region.GraphicType == "POLYLINE"
    assert region.GraphicData[:2] == region.GraphicData[-2:]
    (image,) = region.ContentSequence
    assert image.ReferencedSOPSequence[0].ReferencedSOPClassUID == photograph.SOPClassUID
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == photograph.SOPInstanceUID


def test_where_nothing_is_outlined_the_whole_image_is_meant(
    photograph: Dataset, nothing_found: DiagnosisFinding
) -> None:
    report = write_report(photograph, nothing_found)
    assert items(report, "SCOORD") == []
    assert photograph.SOPInstanceUID in {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in items(report, "IMAGE")
    }


def test_a_frame_of_a_multi_frame_photograph_is_referred_to(
    make_photograph: Callable[..., Dataset],
    finding: DiagnosisFinding,
    nothing_found: DiagnosisFinding,
    verify: Callable[[Dataset], list[str]],
) -> None:
    source = make_photograph(
        np.zeros((3, 23, 31, 3), np.uint8), SOPClassUID=MultiFrameTrueColorSecondaryCaptureImageStorage
    )
    for one in (finding, nothing_found):
        report = write_report(source, one, frame=3)
        frames = {
            item.ReferencedSOPSequence[0].get("ReferencedFrameNumber") for item in items(report, "IMAGE")
        }
        assert frames == {3}
        assert unexplained(verify(report)) == []
    with pytest.raises(ArgumentError, match="frame 4 was asked for, expected 1 to 3"):
        write_report(source, finding, frame=4)


def test_it_says_research_use_only(photograph: Dataset, finding: DiagnosisFinding) -> None:
    report = write_report(photograph, finding)
    assert "Research use only" in report.SeriesDescription
    assert any(item.TextValue.startswith("Research use only") for item in items(report, "TEXT"))


def test_the_finding_site_is_the_region_and_side_of_the_photograph(
    photograph: Dataset, finding: DiagnosisFinding, verify: Callable[[Dataset], list[str]]
) -> None:
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "86381001", "SCT", "Skin of trunk"
    photograph.AnatomicRegionSequence, photograph.ImageLaterality = [region], "L"
    report = write_report(photograph, finding)
    codes = {item.ConceptCodeSequence[0].CodeMeaning for item in items(report, "CODE")}
    assert {"Skin of trunk", "Left"} <= codes
    assert unexplained(verify(report)) == []


def test_the_tracking_is_that_given_else_that_of_the_photograph(
    photograph: Dataset, finding: DiagnosisFinding
) -> None:
    photograph.TrackingID, photograph.TrackingUID = "Mole 3", "2.25.33"
    own = write_report(photograph, finding)
    given_one = write_report(photograph, finding, tracking_id="Mole 4", tracking_uid="2.25.44")
    assert "2.25.33" in {item.UID for item in items(own, "UIDREF")}
    assert "2.25.44" in {item.UID for item in items(given_one, "UIDREF")}


def test_it_is_a_preliminary_new_series_of_the_same_study_and_patient(
    photograph: Dataset, finding: DiagnosisFinding
) -> None:
    before = deepcopy(photograph)
    first, second = (write_report(photograph, finding) for _ in range(2))
    assert photograph == before
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName"):
        assert first[keyword].value == photograph[keyword].value
    assert len({photograph.SeriesInstanceUID, first.SeriesInstanceUID, second.SeriesInstanceUID}) == 3
    assert (first.PreliminaryFlag, first.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    assert [item.CodingSchemeDesignator for item in first.CodingSchemeIdentificationSequence] == [
        "99DERMCHECK"
    ]


def test_a_ct_image_is_refused(finding: DiagnosisFinding) -> None:
    with pytest.raises(NotAPhotographError, match="CT Image Storage"):
        write_report(examples.ct, finding)


def remove(code_value: str) -> Callable[[Dataset], None]:
    def change(report: Dataset) -> None:
        for item in [report, *content(report)]:
            if "ContentSequence" in item:
                item.ContentSequence = [
                    child
                    for child in item.ContentSequence
                    if "ConceptNameCodeSequence" not in child
                    or child.ConceptNameCodeSequence[0].CodeValue != code_value
                ]

    return change


def make_foreign_decision(report: Dataset) -> None:
    for item in items(report, "CODE"):
        if item.ConceptNameCodeSequence[0].CodeValue == "decision":
            item.ConceptCodeSequence[0].CodeValue = "wart"


def make_impossible_probability(report: Dataset) -> None:
    for item in items(report, "NUM"):
        if item.ConceptNameCodeSequence[0].CodeValue == "p-mel":
            item.MeasuredValueSequence[0].FloatingPointValue = 1.5


def empty_uncertainty(report: Dataset) -> None:
    for item in items(report, "NUM"):
        if item.ConceptNameCodeSequence[0].CodeValue == "uncertainty":
            item.MeasuredValueSequence = []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (remove("p-df"), "Probability: Dermatofibroma is missing"),
        (remove("decision"), "Decision of the classifier is missing"),
        (remove("111001"), "Algorithm Name is missing"),
        (make_foreign_decision, "the decision is none of the seven classes"),
        (make_impossible_probability, "the probabilities are"),
        (empty_uncertainty, "Normalised entropy of the class probabilities has no value"),
    ],
)
def test_a_report_that_is_not_ours_is_refused_with_the_reason(
    change: Callable[[Dataset], None], reason: str, photograph: Dataset, finding: DiagnosisFinding
) -> None:
    report = stored(write_report(photograph, finding))
    change(report)
    with pytest.raises(UnreadableImageError, match=f"not a report of a DermCheck diagnosis \\({reason}"):
        read_report(report)


def test_an_image_is_no_report() -> None:
    with pytest.raises(UnreadableImageError, match="not a report of a DermCheck diagnosis"):
        read_report(examples.ct)


@pytest.mark.parametrize(
    "change",
    [
        {"probabilities": {**PROBABILITIES, "mel": 1.2}},
        {"probabilities": {**PROBABILITIES, "mel": float("nan")}},
        {"probabilities": {"mel": 1.0}},
        {"uncertainty": -0.1},
        {"uncertainty": float("nan")},
        {"mask_area_px": -1},
    ],
    ids=str,
)
def test_a_finding_of_impossible_numbers_is_refused(
    change: dict[str, object], finding: DiagnosisFinding
) -> None:
    with pytest.raises(ArgumentError, match="expected"):
        replace(finding, **change)


# The outline


def enclosed_pixels(outline: tuple[tuple[float, float], ...]) -> float:
    """Area of a polygon by the shoelace formula; positive if it runs clockwise on the screen."""
    columns, rows = np.array(outline).T
    return float(np.sum(columns[:-1] * rows[1:] - columns[1:] * rows[:-1]) / 2)


@given(mask=arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_the_outline_encloses_the_largest_part_and_its_holes(mask: np.ndarray) -> None:
    outline = trace_outline(mask)
    if not mask.any():
        assert outline == ()
        return
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8))))
    part = np.pad(sitk.GetArrayFromImage(parts) == 1, 1).astype(np.uint8)
    filled = sitk.BinaryFillhole(sitk.GetImageFromArray(part), fullyConnected=True)
    assert enclosed_pixels(outline) == sitk.GetArrayFromImage(filled).sum()
    assert outline[0] == outline[-1]


def test_the_outline_of_an_l_is_its_six_corners() -> None:
    mask = np.zeros((5, 6), np.bool_)
    mask[1:4, 1] = mask[3, 1:5] = True
    assert trace_outline(mask) == ((1, 1), (2, 1), (2, 3), (5, 3), (5, 4), (1, 4), (1, 1))


def test_a_very_long_outline_still_fits_into_an_explicit_vr_file(
    make_photograph: Callable[..., Dataset], verify: Callable[[Dataset], list[str]]
) -> None:
    comb = np.zeros((1000, 1400), np.bool_)
    comb[0], comb[:, ::2] = True, True
    source = make_photograph(np.zeros((1, 1, 3), np.uint8))
    source.Rows, source.Columns = comb.shape
    finding = DiagnosisFinding.from_mask(comb, PROBABILITIES, lesion_class("mel"), 0.5, MODEL)
    assert len(finding.outline) <= MOST_POINTS
    report = write_report(source, finding)
    assert unexplained(verify(report)) == []
    assert read_report(stored(report)) == finding


def test_an_outline_with_many_corners_is_thinned() -> None:
    comb = np.zeros((3, 9001), np.bool_)
    comb[0], comb[:, ::2] = True, True
    assert 1000 < len(trace_outline(comb)) <= MOST_POINTS
