"""Reads outlined lesions from DICOM Segmentations, also from those that other programs wrote."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID, SegmentationStorage

from dermcheck.dicom.codes import class_from_code, class_from_text
from dermcheck.dicom.functional_groups import FunctionalGroups
from dermcheck.dicom.header import PhotographHeader
from dermcheck.dicom.inheritance import choose_frame
from dermcheck.dicom.references import is_uid, items, referenced_images
from dermcheck.dicom.segmentation_frames import StoredValues, decode_frame, frame_count
from dermcheck.dicom.segmentation_placement import place_frame
from dermcheck.dicom.segments import LesionMask, LesionSegment
from dermcheck.errors import ArgumentError, MaskError
from dermcheck.lesions import LesionClass

__all__ = ["LABEL_MAP_SEGMENTATION_STORAGE", "is_segmentation", "read_segmentation", "segment_classes"]

LABEL_MAP_SEGMENTATION_STORAGE: Final = UID("1.2.840.10008.5.1.4.1.1.66.7")
"""Label Map Segmentation Storage (Supplement 243), younger than pydicom 3.0's table."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """One frame that outlines something on the photograph."""

    index: int
    """Position in the pixel data, from 0."""
    segment_number: int | None
    """None in a label map, whose pixels are the segment numbers."""
    place: tuple[int, int]
    """Row and column of the photograph where its upper left pixel lies."""


def is_segmentation(dataset: Dataset) -> bool:
    """Tell by the SOP class whether the instance is a Segmentation (BINARY, FRACTIONAL) or label map."""
    return str(dataset.get("SOPClassUID", "")) in (SegmentationStorage, LABEL_MAP_SEGMENTATION_STORAGE)


def segment_classes(segmentation: Dataset) -> list[LesionClass | None]:
    """Tell the diagnosis of each described segment, ordered by segment number; needs no pixel data."""
    described = sorted(
        items(segmentation, "SegmentSequence"), key=lambda item: int(item.get("SegmentNumber") or 0)
    )
    return [_lesion_class(item, str(item.get("SegmentLabel") or "").strip() or None) for item in described]


def read_segmentation(
    segmentation: Dataset,
    photograph: PhotographHeader,
    *,
    fractional_threshold: float = 0.5,
    frame: int | None = None,
) -> list[LesionSegment]:
    """Read the lesions that a Segmentation outlines on a photograph, ordered by segment number.

    Each described segment gives one `LesionSegment`; one without frames or pixels has an empty mask.
    The class is taken from the property's modifier, the property type, or the label, in this order.

    Tolerated, since other programs write it:

    - BINARY, FRACTIONAL and LABELMAP, uncompressed or in any transfer syntax that an installed decoder
      knows, bit-packed RLE and deflated frames included.
    - A FRACTIONAL pixel is inside from `fractional_threshold` × Maximum Fractional Value on. Where all
      its frames hold nothing but 0 and 1, 1 is inside whatever the maximum: older OHIF wrote that.
    - Frames in any order, several of one segment (united), none of a segment (empty); segment numbers
      in any order and with gaps; pixels of segments that are not described (no class, no label).
    - Frames of the photograph's size wherever they claim to lie; smaller ones if their position tells
      where; see `place_frame`.
    - Frames that say they outline other photographs of the series: left out.
    - What OHIF, dcmqi, pydicom-seg and 3D Slicer leave out or break: no SOP class of the referenced
      instance, an empty frame of reference, pixel spacing of one value, foreign codes, no tracking.

    Parameters
    ----------
    segmentation
        With pixel data and file meta information.
    photograph
        The photograph that the outlines are meant for.
    fractional_threshold
        Above 0 and at most 1.
    frame
        The frame of a multi-frame photograph, counted from 1. Needed only if the Segmentation outlines
        several of them.

    Raises
    ------
    MaskError
        If it is not a Segmentation, refers to another photograph or none (both are named), has another
        size that no position explains (both sizes are named), outlines several frames of which none
        was chosen, or cannot be decoded.
    ArgumentError
        If the threshold is out of range.
    """
    if not 0 < fractional_threshold <= 1:
        raise ArgumentError(f"the threshold is {fractional_threshold}, expected above 0 and at most 1.")
    _check_reference(segmentation, photograph)
    frames = list(_frames(segmentation, photograph, frame))
    lowest = _lowest_value_inside(segmentation, frames, fractional_threshold)
    masks: dict[int, LesionMask] = {}
    for found in frames:
        values = decode_frame(segmentation, found.index)
        (row, column), (rows, columns) = found.place, values.shape
        for number, inside in _split(values, found.segment_number, lowest):
            mask = masks.setdefault(number, _empty(photograph))
            mask[row : row + rows, column : column + columns] |= inside
    described = {int(item.get("SegmentNumber") or 0): item for item in items(segmentation, "SegmentSequence")}
    numbers = sorted((described.keys() | masks.keys()) - {0})  # 0 is the background of a label map
    return [
        _segment(described.get(number, Dataset()), masks[number] if number in masks else _empty(photograph))
        for number in numbers
    ]


def _check_reference(segmentation: Dataset, photograph: PhotographHeader) -> None:
    name = f"instance {segmentation.get('SOPInstanceUID')}"
    if not is_segmentation(segmentation):
        found = UID(str(segmentation.get("SOPClassUID", ""))).name or "missing"
        raise MaskError(f"{name}: SOPClassUID is {found}, expected a Segmentation. Choose an outline.")
    referenced = referenced_images(segmentation)
    if photograph.sop_instance_uid not in referenced:
        found = " and ".join(referenced[:3]) or "no image"
        raise MaskError(
            f"{name}: the Segmentation refers to {found}, expected the photograph "
            f"{photograph.sop_instance_uid}. Open the photograph it was drawn on, or outline this one."
        )


def _lowest_value_inside(segmentation: Dataset, frames: list[_Frame], threshold: float) -> float:
    """Return the stored value from which a pixel is inside; in a label map any but 0 is."""
    highest = int(segmentation.get("MaximumFractionalValue") or 1)
    if segmentation.get("SegmentationType") != "FRACTIONAL" or highest == 1:
        return 1
    is_zero_one = all(decode_frame(segmentation, frame.index).max() <= 1 for frame in frames)
    return 1 if is_zero_one else threshold * highest


def _frames(segmentation: Dataset, photograph: PhotographHeader, frame: int | None) -> Iterator[_Frame]:
    """Find the frames that outline something on the photograph, and there on its chosen frame."""
    groups = FunctionalGroups(segmentation)
    sources = _sources(segmentation, groups, photograph)
    if frame is None:
        _check_one_source_frame(segmentation, photograph, sources)
    else:
        frame = choose_frame(photograph, frame)
    for index, images in sources.items():
        numbers = _frame_numbers(images)
        if numbers and frame is not None and frame not in numbers:
            continue
        if any(image.get("SpatialLocationsPreserved") == "NO" for image in images):
            raise MaskError(
                f"{_frame_name(segmentation, index)} says that it does not lie pixel on pixel on the "
                "photograph (SpatialLocationsPreserved is NO). Outline the lesion on the photograph itself."
            )
        place = place_frame(segmentation, groups, index, photograph)
        yield _Frame(index, _segment_number(segmentation, groups, index), place)


def _sources(
    segmentation: Dataset, groups: FunctionalGroups, photograph: PhotographHeader
) -> dict[int, list[Dataset]]:
    """Map the index of each frame of this photograph to its references to it, if it states any."""
    others = len(referenced_images(segmentation)) - 1
    found = {}
    for index in range(frame_count(segmentation)):
        derivations = groups.macro(index, "DerivationImageSequence")
        images = [image for derivation in derivations for image in items(derivation, "SourceImageSequence")]
        if not images and others:
            raise MaskError(
                f"{_frame_name(segmentation, index)} does not say which of {others + 1} photographs it "
                "outlines. Outline one photograph at a time."
            )
        own = [
            image for image in images if image.get("ReferencedSOPInstanceUID") == photograph.sop_instance_uid
        ]
        if own or not images:
            found[index] = own
    return found


def _check_one_source_frame(
    segmentation: Dataset, photograph: PhotographHeader, sources: dict[int, list[Dataset]]
) -> None:
    numbers = sorted(set().union(*map(_frame_numbers, sources.values())))
    if photograph.number_of_frames > 1 and len(numbers) > 1:
        listed = ", ".join(map(str, numbers))
        raise MaskError(
            f"instance {segmentation.SOPInstanceUID}: the Segmentation outlines frames {listed} of the "
            f"photograph {photograph.sop_instance_uid}. Choose one of them."
        )


def _frame_numbers(images: list[Dataset]) -> set[int]:
    values = [image.get("ReferencedFrameNumber") for image in images]
    return {
        int(number)
        for value in values
        if value not in (None, "")
        for number in (value if isinstance(value, MultiValue) else [value])
    }


def _segment_number(segmentation: Dataset, groups: FunctionalGroups, index: int) -> int | None:
    if _is_label_map(segmentation):
        return None
    number = groups.first(index, "SegmentIdentificationSequence").get("ReferencedSegmentNumber")
    if number is not None:
        return int(number)
    described = items(segmentation, "SegmentSequence")
    if len(described) == 1:
        return int(described[0].get("SegmentNumber") or 1)
    raise MaskError(
        f"{_frame_name(segmentation, index)} does not say which of {len(described)} segments it belongs to "
        "(ReferencedSegmentNumber is missing). Store the outline again."
    )


def _split(
    values: StoredValues, segment_number: int | None, lowest: float
) -> Iterator[tuple[int, LesionMask]]:
    """Turn the stored values of a frame into one mask for each segment in it."""
    if segment_number is not None:
        yield segment_number, values >= lowest
        return
    for number in np.unique(values):
        if number != 0:
            yield int(number), values == number


def _empty(photograph: PhotographHeader) -> LesionMask:
    return np.zeros((photograph.rows, photograph.columns), np.bool_)


def _segment(description: Dataset, mask: LesionMask) -> LesionSegment:
    label = str(description.get("SegmentLabel") or "").strip() or None
    tracking_uid = str(description.get("TrackingUID") or "")
    return LesionSegment(
        mask=mask,
        lesion_class=_lesion_class(description, label),
        label=label,
        tracking_id=str(description.get("TrackingID") or "").strip() or None,
        tracking_uid=tracking_uid if is_uid(tracking_uid) else None,
    )


def _lesion_class(description: Dataset, label: str | None) -> LesionClass | None:
    types = items(description, "SegmentedPropertyTypeCodeSequence")
    holders = [*types, description]  # the modifier belongs into the type's item; some put it beside
    modifiers = [
        code for holder in holders for code in items(holder, "SegmentedPropertyTypeModifierCodeSequence")
    ]
    for code in (*modifiers, *types):
        if found := class_from_code(code):
            return found
    texts = [label, description.get("SegmentDescription"), *(code.get("CodeMeaning") for code in types)]
    return next((found for text in texts if text and (found := class_from_text(str(text)))), None)


def _is_label_map(segmentation: Dataset) -> bool:
    kind = str(segmentation.get("SegmentationType", "")).upper()
    return segmentation.SOPClassUID == LABEL_MAP_SEGMENTATION_STORAGE or kind == "LABELMAP"


def _frame_name(segmentation: Dataset, index: int) -> str:
    return f"instance {segmentation.get('SOPInstanceUID')}: frame {index + 1} of the Segmentation"
