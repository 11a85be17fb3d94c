"""SEG and SR from forms are those that highdicom builds, to the byte."""

from datetime import datetime, timezone

import numpy as np
import pytest
from pydicom import Dataset

from dermcheck.batch.dicom_forms import DicomForms
from dermcheck.batch.encoding import dicom_bytes, dicom_forms, dicom_results
from dermcheck.dicom.author import Algorithm
from dermcheck.inference import LesionReport
from dermcheck.lesions import CLASSES, LESION_CLASSES

MADE_AT = datetime(2026, 11, 28, 12, 30, tzinfo=timezone.utc)
CLASSIFIER, OUTLINER = Algorithm("Classifier", "1", "a" * 64), Algorithm("Outliner", "1", "b" * 64)


def answer(seed: int, photograph: Dataset, *, empty: bool = False) -> LesionReport:
    chance = np.random.default_rng(seed)
    mask = np.zeros((photograph.Rows, photograph.Columns), np.bool_)
    if not empty:
        top, left = chance.integers(1, 20, 2)
        mask[top : top + chance.integers(3, 30), left : left + chance.integers(3, 30)] = True
    shares = chance.dirichlet(np.ones(7)).tolist()
    return LesionReport(
        mask=mask,
        probabilities=dict(zip(CLASSES, shares, strict=True)),
        decision=LESION_CLASSES[seed % 2],
        uncertainty=float(chance.random()),
        classifier=CLASSIFIER,
        outliner=OUTLINER,
    )


def followed(photograph: Dataset) -> None:
    photograph.TrackingID, photograph.TrackingUID = "back 3", "1.2.3.4"


def measured(photograph: Dataset) -> None:
    photograph.PixelSpacing = [0.05, 0.05]


def named(photograph: Dataset) -> None:
    photograph.PatientName, photograph.PatientSex = "Größe^Ünal=山田^太郎", "F"
    photograph.StudyDescription, photograph.AccessionNumber = "Screening", "A 17"


@pytest.mark.parametrize("change", [lambda photograph: None, followed, measured, named])
def test_every_photograph_s_results_are_the_built_ones(draw_dicom, tmp_path, change):
    forms = dicom_forms(MADE_AT)
    learnt = []
    for seed in range(4):
        photograph = draw_dicom(tmp_path / f"{seed}.dcm", seed, change, rows=60 + seed, columns=80)
        del photograph.PixelData
        report = answer(seed, photograph)
        found = forms.fill(photograph, report)
        learnt.append(found is not None)
        assert found == tuple(map(dicom_bytes, dicom_results(photograph, report, MADE_AT)))
    assert all(learnt)


def test_a_photograph_without_a_lesion_is_a_kind_of_its_own(draw_dicom, tmp_path):
    forms = dicom_forms(MADE_AT)
    photograph = draw_dicom(tmp_path / "a.dcm", 0)
    del photograph.PixelData
    for empty in (False, True, False):
        report = answer(0, photograph, empty=empty)
        built = tuple(map(dicom_bytes, dicom_results(photograph, report, MADE_AT)))
        assert forms.fill(photograph, report) == built


def test_what_differs_for_no_known_reason_is_built_each_time(draw_dicom, tmp_path):
    calls = []

    def make(photograph: Dataset, report: LesionReport, made_at: datetime) -> tuple[Dataset, Dataset]:
        calls.append(photograph)
        segmentation, report_ = dicom_results(photograph, report, made_at)
        segmentation.SeriesDescription = f"number {len(calls)}"
        return segmentation, report_

    photograph = draw_dicom(tmp_path / "a.dcm", 0)
    del photograph.PixelData
    assert DicomForms(make, MADE_AT).fill(photograph, answer(0, photograph)) is None
