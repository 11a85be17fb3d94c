"""Writes the diagnosis of a photograph as a DICOM Structured Report (PS3.16 TID 1500)."""

from collections.abc import Sequence
from typing import Final, TypedDict

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    GraphicTypeValues,
    ImageRegion,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dermcheck.dicom.author import SOFTWARE_VERSION, Algorithm
from dermcheck.dicom.codes import (
    DECISION,
    LATERALITY,
    MASK_AREA,
    MORPHOLOGICALLY_ALTERED_STRUCTURE,
    NO_UNITS,
    PIXELS,
    RESEARCH_USE_ONLY,
    SKIN_LESION,
    UNCERTAINTY,
    class_code,
    coding_schemes,
    probability_code,
)
from dermcheck.dicom.finding import DiagnosisFinding
from dermcheck.dicom.header import PhotographHeader, read_header
from dermcheck.dicom.inheritance import anatomic_regions, choose_frame, reference_header
from dermcheck.dicom.tracking import choose_tracking
from dermcheck.lesions import LESION_CLASSES

__all__ = ["write_report"]

_SERIES_NUMBER: Final = 9002
_NOTICE: Final = f"{RESEARCH_USE_ONLY}: made by software that is not a medical device."


HASH_PREFIX: Final = "sha256="
"""What stands before the hash of the weights among the algorithm's parameters."""


class _Group(TypedDict):
    """What a measurement group holds, whether or not it has a region."""

    tracking_identifier: TrackingIdentifier
    finding_type: Code
    finding_category: Code
    algorithm_id: AlgorithmIdentification
    finding_sites: Sequence[FindingSite]
    measurements: Sequence[Measurement]
    qualitative_evaluations: Sequence[QualitativeEvaluation]


def write_report(
    source: Dataset,
    finding: DiagnosisFinding,
    *,
    tracking_id: str | None = None,
    tracking_uid: str | None = None,
    frame: int | None = None,
) -> Dataset:
    """Make a Comprehensive SR (PS3.3 A.35.3) with a measurement report (PS3.16 TID 1500) of one photograph.

    It is a new instance in a new series of the photograph's study, preliminary and unverified, complete
    with file meta information. One measurement group (TID 1410) is about the outlined region of the
    image, or about the whole image (TID 1501) if nothing is outlined. It holds

    - the seven probabilities, their uncertainty and the outlined area as measurements,
    - the decision as qualitative evaluation,
    - the classifier's name, version and SHA-256 (TID 4019), tracking identifiers, and as finding site the
      photograph's anatomic region with its side,
    - the text "Research use only".

    Parameters
    ----------
    source
        The photograph's dataset; its pixel data need not be loaded. It is not altered.
    finding
        What to report.
    tracking_id, tracking_uid
        Of the lesion; see `choose_tracking`. Give those of its segment to tie both objects together.
    frame
        The frame of a multi-frame photograph, counted from 1 (default 1).

    Raises
    ------
    ArgumentError
        If the photograph has no such frame, or the tracking UID is not a UID.
    NotAPhotographError, UnreadableImageError
        If `source` is not a photograph with the UIDs and sizes that it must have.
    """
    header = read_header(source)
    frame = choose_frame(header, frame)
    reference = reference_header(source)
    tracking = choose_tracking(header, tracking_id, tracking_uid, is_only_lesion=True)
    report = ComprehensiveSR(
        evidence=[reference],
        content=_measurement_report(header, reference, finding, tracking, frame),
        series_instance_uid=generate_uid(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="DermCheck",
        manufacturer_model_name="DermCheck",
        software_versions=SOFTWARE_VERSION,
        device_serial_number="0",
        series_description=f"DermCheck diagnosis. {RESEARCH_USE_ONLY}",
        specific_character_set="ISO_IR 192",
        is_complete=True,
        is_final=False,
        is_verified=False,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    report.CodingSchemeIdentificationSequence = coding_schemes(source)
    return report


def _measurement_report(
    header: PhotographHeader,
    reference: Dataset,
    finding: DiagnosisFinding,
    tracking: tuple[str, str],
    frame: int | None,
) -> MeasurementReport:
    algorithm = finding.algorithm
    observer = DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=[algorithm.name, algorithm.version, algorithm.model_hash]),
        name=algorithm.name,
        manufacturer_name="DermCheck",
        model_name=algorithm.version,
    )
    return MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(codes.DCM.Device, observer)
        ),
        procedure_reported=Code("363679005", "SCT", "Imaging"),
        imaging_measurements=[_measurement_group(header, reference, finding, tracking, frame)],
    )


def _measurement_group(
    header: PhotographHeader,
    reference: Dataset,
    finding: DiagnosisFinding,
    tracking: tuple[str, str],
    frame: int | None,
) -> PlanarROIMeasurementsAndQualitativeEvaluations | MeasurementsAndQualitativeEvaluations:
    frames = [frame] if frame else None
    tracking_id, tracking_uid = tracking
    common = _Group(
        tracking_identifier=TrackingIdentifier(tracking_uid, tracking_id),
        finding_type=SKIN_LESION,
        finding_category=MORPHOLOGICALLY_ALTERED_STRUCTURE,
        algorithm_id=_algorithm(finding.algorithm),
        finding_sites=_finding_sites(header, reference),
        measurements=_measurements(finding),
        qualitative_evaluations=[QualitativeEvaluation(DECISION, class_code(finding.decision))],
    )
    group: PlanarROIMeasurementsAndQualitativeEvaluations | MeasurementsAndQualitativeEvaluations
    if finding.outline:
        image = SourceImageForRegion(header.sop_class_uid, header.sop_instance_uid, frames)
        region = ImageRegion(GraphicTypeValues.POLYLINE, np.array(finding.outline), image)
        group = PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **common)
    else:
        images = [SourceImageForMeasurementGroup(header.sop_class_uid, header.sop_instance_uid, frames)]
        group = MeasurementsAndQualitativeEvaluations(source_images=images, **common)
    # TID 1410 and 1501 are extensible; a comment is what every viewer shows.
    notice = TextContentItem(codes.DCM.Comment, _NOTICE, RelationshipTypeValues.CONTAINS)
    group[0].ContentSequence.append(notice)
    return group


def _algorithm(algorithm: Algorithm) -> AlgorithmIdentification:
    return AlgorithmIdentification(
        algorithm.name,
        algorithm.version,
        parameters=[f"{HASH_PREFIX}{algorithm.model_hash}"],
        family=codes.DCM.ArtificialIntelligence,
        manufacturer="DermCheck",
    )


def _finding_sites(header: PhotographHeader, reference: Dataset) -> list[FindingSite]:
    side = LATERALITY.get(header.laterality or "")
    return [
        FindingSite(Code(region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning), side)
        for region in anatomic_regions(reference)
    ]


def _measurements(finding: DiagnosisFinding) -> list[Measurement]:
    probabilities = [
        Measurement(probability_code(lesion), float(finding.probabilities[lesion.name]), NO_UNITS)
        for lesion in LESION_CLASSES
    ]
    return [
        *probabilities,
        Measurement(UNCERTAINTY, float(finding.uncertainty), NO_UNITS),
        Measurement(MASK_AREA, finding.mask_area_px, PIXELS),
    ]
