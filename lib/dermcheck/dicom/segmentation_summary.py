"""What a Segmentation's header says without its pixels: of which photograph, by whom, when."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydicom import Dataset

from dermcheck.dicom.annotation_record import read_record
from dermcheck.dicom.attributes import instance_name, moment, read_text, read_uid
from dermcheck.dicom.references import items, referenced_images
from dermcheck.dicom.segmentation_reading import is_segmentation
from dermcheck.errors import MaskError, UnreadableImageError

__all__ = ["SegmentationSummary", "summarise_segmentation"]

_MOMENTS: Final = (
    (None, "ContentDate", "ContentTime"),
    (None, "InstanceCreationDate", "InstanceCreationTime"),
    (None, "SeriesDate", "SeriesTime"),
    (None, "StudyDate", "StudyTime"),
)


@dataclass(frozen=True, slots=True)
class SegmentationSummary:
    """One outline in a list of outlines."""

    sop_instance_uid: str
    image_uid: str
    """SOPInstanceUID of the photograph that it outlines, the first if there are several."""
    automatic: bool
    """True if an algorithm drew every segment; False as soon as a person had a hand in one."""
    creator: str | None
    """The person's name as given to `Clinician`, or None."""
    created: datetime
    """Local time without time zone. The earliest possible, if the object does not say."""
    withdraws: str | None = None
    """SOPInstanceUID of the outline that this object withdraws, outlining nothing itself."""


def summarise_segmentation(segmentation: Dataset) -> SegmentationSummary:
    """Summarise a Segmentation for a list; needs no pixel data.

    Tolerant: without an algorithm type a segment counts as drawn by a person, as nothing may replace a
    person's work unasked; the date falls back from content to instance creation, series and study.

    Raises
    ------
    MaskError
        If it is not a Segmentation, has no SOPInstanceUID, or refers to no image.
    """
    if not is_segmentation(segmentation):
        raise MaskError(f"{instance_name(segmentation)}: it is not a Segmentation. Choose an outline.")
    images = referenced_images(segmentation)
    if not images:
        raise MaskError(
            f"{instance_name(segmentation)}: the Segmentation refers to no image, expected the "
            "SOPInstanceUID of a photograph. Outline the photograph again."
        )
    try:
        sop_instance_uid = read_uid(segmentation, "SOPInstanceUID")
    except UnreadableImageError as error:
        raise MaskError(str(error)) from error
    types = [item.get("SegmentAlgorithmType") for item in items(segmentation, "SegmentSequence")]
    creator = read_text(segmentation, "ContentCreatorName") or ""
    record = read_record(segmentation)
    return SegmentationSummary(
        sop_instance_uid=sop_instance_uid,
        image_uid=images[0],
        automatic=bool(types) and all(kind == "AUTOMATIC" for kind in types),
        creator=creator.rstrip("^") or None,
        created=next((found for names in _MOMENTS if (found := moment(segmentation, *names))), datetime.min),
        withdraws=record.withdraws if record else None,
    )
