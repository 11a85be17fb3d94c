"""Makes conformant Segmentations of those that viewers store."""

import copy
from datetime import datetime
from typing import Final

from highdicom.seg import Segmentation
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import SegmentationStorage

from dermcheck.dicom.attributes import read_text
from dermcheck.dicom.author import Algorithm, Author, Clinician
from dermcheck.dicom.codes import to_long_string
from dermcheck.dicom.header import read_header
from dermcheck.dicom.references import items
from dermcheck.dicom.segmentation import read_segmentation, write_segmentation

__all__ = ["clean_segmentation", "is_clean"]

_UNKNOWN: Final = "Unknown"
_LONGEST_NAME: Final = 63  # see Clinician
_KEPT: Final = (
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "SeriesDate",
    "SeriesTime",
    "InstanceNumber",
    "ContentDate",
    "ContentTime",
    "InstanceCreationDate",
    "InstanceCreationTime",
)
"""What identifies the object and says when it was made: stays as the viewer wrote it."""


def clean_segmentation(received: Dataset, photograph: Dataset) -> Dataset:
    """Return a conformant Segmentation of the same outlines.

    It is the object received where that is conformant. Else it is a new one under the same UIDs, as
    PS3.18 section 10.5 lets an archive coerce what it stores: a viewer finds what it stored again.
    Original Attributes Sequence says so.

    Parameters
    ----------
    received
        A Segmentation or label map with its pixel data.
    photograph
        The photograph that it refers to; its pixel data need not be loaded.

    Raises
    ------
    MaskError
        If it cannot be read, or outlines another photograph.
    """
    header = read_header(photograph)
    segments = read_segmentation(received, header)
    if is_clean(received, header.rows, header.columns):
        return received
    drawn = [segment for segment in segments if segment.mask.any()] or segments
    rebuilt = write_segmentation(
        photograph, drawn, _author(received), edited_from_prediction=not _is_manual(received)
    )
    for keyword in _KEPT:
        if received.get(keyword):
            setattr(rebuilt, keyword, received[keyword].value)
    rebuilt.file_meta.MediaStorageSOPInstanceUID = rebuilt.SOPInstanceUID
    rebuilt.OriginalAttributesSequence = [_what_was_changed(received)]
    return rebuilt


def is_clean(segmentation: Dataset, rows: int, columns: int) -> bool:
    """Tell whether every reader that we know can use a Segmentation as it is.

    It must be BINARY, of the photograph's size, have what OHIF needs to show it, and pass highdicom's
    own reader, the strictest there is.
    """
    if (
        segmentation.get("SOPClassUID") != SegmentationStorage
        or segmentation.get("SegmentationType") != "BINARY"
    ):
        return False
    if (segmentation.get("Rows"), segmentation.get("Columns")) != (rows, columns):
        return False
    if not _has_geometry(segmentation):
        return False
    try:
        Segmentation.from_dataset(copy.deepcopy(segmentation), copy=False)
    except Exception:  # highdicom raises whatever the missing part leads to
        return False
    return True


def _has_geometry(segmentation: Dataset) -> bool:
    groups = [*items(segmentation, "SharedFunctionalGroupsSequence")]
    groups += items(segmentation, "PerFrameFunctionalGroupsSequence")
    spacings = [
        measures.get("PixelSpacing") for group in groups for measures in items(group, "PixelMeasuresSequence")
    ]
    has_orientation = any(items(group, "PlaneOrientationSequence") for group in groups)
    return (
        bool(spacings)
        and has_orientation
        and all(isinstance(spacing, MultiValue) and len(spacing) == 2 for spacing in spacings)
    )


def _author(received: Dataset) -> Author:
    segments = items(received, "SegmentSequence")
    if segments and all(segment.get("SegmentAlgorithmType") == "AUTOMATIC" for segment in segments):
        name = to_long_string(read_text(segments[0], "SegmentAlgorithmName") or "")
        return Algorithm(name or _UNKNOWN, _UNKNOWN, _UNKNOWN)
    name = to_long_string(read_text(received, "ContentCreatorName") or "").rstrip("^")
    return Clinician(name[:_LONGEST_NAME].strip() or _UNKNOWN)


def _is_manual(received: Dataset) -> bool:
    segments = items(received, "SegmentSequence")
    return all(segment.get("SegmentAlgorithmType") == "MANUAL" for segment in segments)


def _what_was_changed(received: Dataset) -> Dataset:
    """Describe the change (PS3.3 C.12.1.1.9.1) by what tells the original's kind."""
    before = Dataset()
    before.SegmentationType = read_text(received, "SegmentationType") or _UNKNOWN.upper()
    change = Dataset()
    change.SourceOfPreviousValues = to_long_string(read_text(received, "Manufacturer") or "")
    change.AttributeModificationDateTime = datetime.now().strftime("%Y%m%d%H%M%S")
    change.ModifyingSystem = "DermCheck"
    change.ReasonForTheAttributeModification = "CORRECT"
    change.ModifiedAttributesSequence = [before]
    return change
