"""From a report to the bytes of the files that a batch writes of it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Literal, TypeAlias

from pydicom import Dataset

from dermcheck.batch.dicom_forms import DicomForms, lesion_of
from dermcheck.batch.identity import make_repeatable
from dermcheck.batch.masks_png import mask_png
from dermcheck.dicom.header import read_header
from dermcheck.dicom.report import DiagnosisFinding, write_report
from dermcheck.dicom.segmentation import write_segmentation
from dermcheck.inference.report import LesionReport

__all__ = ["ResultFiles", "ResultKind", "dicom_bytes", "dicom_forms", "dicom_results", "encode_results"]

ResultKind: TypeAlias = Literal["mask", "photo", "seg", "sr"]
ResultFiles: TypeAlias = Mapping[ResultKind, bytes]


def encode_results(
    report: LesionReport,
    dataset: Dataset | None,
    photo: bytes | None,
    *,
    masks: bool,
    dicom: bool,
    forms: DicomForms,
) -> ResultFiles:
    """Make the files of one photograph, in the order in which they are to be written.

    Parameters
    ----------
    report
        What was predicted.
    dataset
        The photograph's data set, without pixel data; needed for DICOM results.
    photo
        The DICOM file made of a photo, to which SEG and SR refer; None where it came as DICOM.
    masks, dicom
        Which files are wanted.
    forms
        What SEG and SR are made with (`dicom_forms`).
    """
    files: dict[ResultKind, bytes] = {}
    if masks:
        files["mask"] = mask_png(report.mask)
    if dicom:
        if dataset is None:
            raise ValueError("DICOM results need the data set of the photograph")
        if photo is not None:
            files["photo"] = photo
        files["seg"], files["sr"] = forms.fill(dataset, report) or map(
            dicom_bytes, dicom_results(dataset, report, forms.made_at, conditions=forms.conditions)
        )
    return files


def dicom_bytes(dataset: Dataset) -> bytes:
    """Encode a data set as a DICOM file."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def dicom_forms(made_at: datetime, conditions: str = "") -> DicomForms:
    """Give what makes the SEG and SR of many photographs quickly."""
    return DicomForms(partial(dicom_results, conditions=conditions), made_at, conditions)


def dicom_results(
    photograph: Dataset, report: LesionReport, made_at: datetime, *, conditions: str = ""
) -> tuple[Dataset, Dataset]:
    """Make SEG and SR of one photograph; both carry the same tracking identifiers.

    Parameters
    ----------
    made_at
        The time that stands in them; their UIDs follow from photograph and models.
    conditions
        On what else these UIDs depend (`identity.result_uid`).
    """
    header = read_header(photograph)
    segment = lesion_of(header, report.mask, report)
    segmentation = write_segmentation(photograph, [segment], report.outliner)
    finding = DiagnosisFinding.from_mask(
        report.mask, report.probabilities, report.decision, report.uncertainty, report.classifier
    )
    lesion = segmentation.SegmentSequence[0]
    structured_report = write_report(
        photograph, finding, tracking_id=lesion.TrackingID, tracking_uid=lesion.TrackingUID
    )
    models = (report.classifier, report.outliner)
    make_repeatable(
        segmentation, header.sop_instance_uid, "seg", *models, made_at=made_at, conditions=conditions
    )
    make_repeatable(
        structured_report, header.sop_instance_uid, "sr", *models, made_at=made_at, conditions=conditions
    )
    return segmentation, structured_report
