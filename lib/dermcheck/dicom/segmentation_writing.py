"""Writes outlined lesions as a DICOM Segmentation."""

from collections.abc import Sequence
from itertools import chain
from typing import Final

import numpy as np
from highdicom import AlgorithmIdentificationSequence, PixelMeasuresSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dermcheck.dicom.author import SOFTWARE_VERSION, Algorithm, Author, Clinician
from dermcheck.dicom.codes import (
    MORPHOLOGICALLY_ALTERED_STRUCTURE,
    RESEARCH_USE_ONLY,
    SKIN_LESION,
    class_code,
    coding_schemes,
    to_long_string,
)
from dermcheck.dicom.header import PhotographHeader, read_header
from dermcheck.dicom.inheritance import anatomic_regions, choose_frame, reference_header
from dermcheck.dicom.segments import LesionSegment
from dermcheck.dicom.tracking import choose_tracking
from dermcheck.errors import MaskError

__all__ = ["write_segmentation"]

_SERIES_NUMBER: Final = 9001  # above what cameras count to; each Segmentation is a series of its own
_UNCLASSIFIED: Final = "Lesion"
_NO_LESION: Final = "No lesion"
_UNCLASSIFIED_COLOUR: Final = (255, 255, 255)
_NO_SPACING: Final = (1.0, 1.0)


def write_segmentation(
    source: Dataset,
    segments: Sequence[LesionSegment],
    author: Author,
    *,
    edited_from_prediction: bool = True,
    frame: int | None = None,
) -> Dataset:
    """Make a Segmentation (PS3.3 A.51) of one photograph: BINARY, one segment and one frame a lesion.

    It is a new instance in a new series of the photograph's study, complete with file meta
    information (explicit VR little endian): ``dataset.save_as(path)`` writes a valid file.

    - Segments are numbered from 1 in the order given; they may overlap or be empty. No segments at
      all is not a legal Segmentation, so ``[]`` is written as one empty segment "No lesion".
    - The property is *Skin lesion*; the class refines it as Segmented Property Type Modifier (PS3.3
      C.8.20.2). So a reader that knows nothing of our coding scheme still knows what is outlined,
      and still shows the class by its code meaning and the segment's label.
    - A segment without tracking identifiers takes those of the photograph (Dermoscopic Photography)
      if it is the only one, else new ones: two lesions must not share one identity.
    - An `Algorithm` makes the type AUTOMATIC; a `Clinician` SEMIAUTOMATIC, or MANUAL if not
      `edited_from_prediction`, with the name as Content Creator.
    - OHIF does not load a Segmentation without Pixel Measures and Plane Orientation, which a
      photograph rarely has. Without pixel spacing they hold 1 mm and the identity, *placeholders of
      which no length may be computed*: measure by the photograph's own spacing only.

    Parameters
    ----------
    source
        The photograph's dataset; its pixel data need not be loaded. It is not altered. What highdicom
        demands and the photograph lacks is written empty.
    segments
        Masks of the photograph's own size.
    author
        Who drew the outlines.
    edited_from_prediction
        Whether a clinician started from a prediction. Without effect for an `Algorithm`.
    frame
        The frame of a multi-frame photograph that was outlined, counted from 1 (default 1).

    Raises
    ------
    MaskError
        If a mask has another size than the photograph; the message names both.
    ArgumentError
        If the photograph has no such frame, or a tracking UID is not a UID.
    NotAPhotographError, UnreadableImageError
        If `source` is not a photograph with the UIDs and sizes that it must have.
    """
    header = read_header(source)
    frame = choose_frame(header, frame)
    written = list(segments) or [_no_lesion(header)]
    _check(written, header)
    reference = reference_header(source)
    segmentation = Segmentation(
        source_images=[reference],
        pixel_array=np.zeros((1, header.rows, header.columns), np.uint8),  # see `_pack`
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _describe(
                number,
                segment,
                header,
                reference,
                author,
                edited_from_prediction,
                is_only_lesion=len(written) == 1,
            )
            for number, segment in enumerate(written, start=1)
        ],
        series_instance_uid=generate_uid(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="DermCheck",
        manufacturer_model_name="DermCheck",
        software_versions=SOFTWARE_VERSION,
        device_serial_number="0",  # type 1, but software has none
        content_label="LESION",
        content_creator_name=author.person_name if isinstance(author, Clinician) else None,
        content_description=f"Outlined skin lesions. {RESEARCH_USE_ONLY}",
        series_description=f"DermCheck outlines. {RESEARCH_USE_ONLY}",
        specific_character_set="ISO_IR 192",
        pixel_measures=PixelMeasuresSequence(header.pixel_spacing_mm or _NO_SPACING, slice_thickness=1.0),
        omit_empty_frames=False,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    segmentation.PixelData = _pack(written)
    segmentation.SegmentsOverlap = "YES" if _overlap(written) else "NO"
    segmentation.CodingSchemeIdentificationSequence = coding_schemes(source)
    _complete_functional_groups(segmentation, frame)
    return segmentation


def _no_lesion(header: PhotographHeader) -> LesionSegment:
    return LesionSegment(np.zeros((header.rows, header.columns), dtype=np.bool_), None, _NO_LESION)


def _check(segments: Sequence[LesionSegment], header: PhotographHeader) -> None:
    for number, segment in enumerate(segments, start=1):
        if segment.mask.shape != (header.rows, header.columns):
            raise MaskError(
                f"instance {header.sop_instance_uid}: the mask of segment {number} is "
                f"{' × '.join(map(str, segment.mask.shape))} pixels (rows × columns), the photograph "
                f"{header.rows} × {header.columns}. Outline the lesion on this photograph."
            )


def _overlap(segments: Sequence[LesionSegment]) -> bool:
    covered = np.zeros(segments[0].mask.shape, np.bool_)
    for segment in segments:
        if covered[segment.mask].any():
            return True
        covered |= segment.mask
    return False


def _pack(segments: Sequence[LesionSegment]) -> bytes:
    """Pack masks to bits as PS3.5 8.1.1 has it: frame after frame without gaps, the first pixel lowest.

    highdicom's own packing (0.28.2) leaves gaps between frames of fewer than 8 pixels and pads an odd
    length by the character 0; it also takes eight bytes a pixel to look for overlaps.
    """
    packed = np.packbits(np.concatenate([segment.mask.ravel() for segment in segments]), bitorder="little")
    return packed.tobytes() + bytes(packed.size % 2)


def _describe(
    number: int,
    segment: LesionSegment,
    header: PhotographHeader,
    reference: Dataset,
    author: Author,
    edited_from_prediction: bool,
    *,
    is_only_lesion: bool,
) -> SegmentDescription:
    lesion = segment.lesion_class
    tracking_id, tracking_uid = choose_tracking(
        header, segment.tracking_id, segment.tracking_uid, is_only_lesion=is_only_lesion
    )
    algorithm_type, identification = _algorithm(author, edited_from_prediction)
    description = SegmentDescription(
        segment_number=number,
        segment_label=to_long_string(segment.label or "") or (lesion.meaning if lesion else _UNCLASSIFIED),
        segmented_property_category=MORPHOLOGICALLY_ALTERED_STRUCTURE,
        segmented_property_type=SKIN_LESION,
        algorithm_type=algorithm_type,
        algorithm_identification=identification,
        tracking_id=tracking_id,
        tracking_uid=tracking_uid,
        display_color=CIELabColor.from_rgb(*(lesion.colour if lesion else _UNCLASSIFIED_COLOUR)),
    )
    if lesion is not None:
        modifier = CodedConcept.from_code(class_code(lesion))
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            modifier
        ]
    if regions := anatomic_regions(reference):
        description.AnatomicRegionSequence = regions  # type: ignore[assignment]
    return description


def _algorithm(
    author: Author, edited_from_prediction: bool
) -> tuple[SegmentAlgorithmTypeValues, AlgorithmIdentificationSequence | None]:
    """Say who drew: a model, a person with the help of this program, or a person alone (PS3.3 C.8.20.2)."""
    family = codes.DCM.ArtificialIntelligence
    if isinstance(author, Algorithm):
        return SegmentAlgorithmTypeValues.AUTOMATIC, AlgorithmIdentificationSequence(
            author.name, family, author.version, parameters={"sha256": author.model_hash}
        )
    if edited_from_prediction:
        return SegmentAlgorithmTypeValues.SEMIAUTOMATIC, AlgorithmIdentificationSequence(
            "DermCheck", family, SOFTWARE_VERSION
        )
    return SegmentAlgorithmTypeValues.MANUAL, None


def _complete_functional_groups(segmentation: Segmentation, frame: int | None) -> None:
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    if "PlaneOrientationSequence" not in shared:
        orientation = Dataset()
        orientation.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        shared.PlaneOrientationSequence = [orientation]
    if frame is None:
        return
    for group in segmentation.PerFrameFunctionalGroupsSequence:
        for image in chain.from_iterable(item.SourceImageSequence for item in group.DerivationImageSequence):
            image.ReferencedFrameNumber = frame
