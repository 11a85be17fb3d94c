"""DICOM Segmentations of photographs: written, read back, summarised."""

from dermcheck.dicom.segmentation_reading import is_segmentation, read_segmentation
from dermcheck.dicom.segmentation_summary import SegmentationSummary, summarise_segmentation
from dermcheck.dicom.segmentation_writing import write_segmentation
from dermcheck.dicom.segments import LesionMask, LesionSegment

__all__ = [
    "LesionMask",
    "LesionSegment",
    "SegmentationSummary",
    "is_segmentation",
    "read_segmentation",
    "summarise_segmentation",
    "write_segmentation",
]
