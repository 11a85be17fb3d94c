"""DICOM photographs, Segmentations and reports: bytes and their meaning. No torch, no MONAI Label.

What is listed in ``__all__`` is the room's promise; its modules hold further parts for this room.
"""

from dermcheck.dicom.author import Algorithm, Clinician
from dermcheck.dicom.header import PhotographHeader, read_header
from dermcheck.dicom.limits import MAX_FILE_BYTES, MAX_PIXELS
from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
from dermcheck.dicom.photo_list import read_details_csv
from dermcheck.dicom.photo_store import ImportFailure, ImportResult, import_photo, import_photos
from dermcheck.dicom.photograph import Photograph, read_dataset, read_photograph
from dermcheck.dicom.pictures import read_picture
from dermcheck.dicom.pixels import RGBImage, read_rgb
from dermcheck.dicom.report import DiagnosisFinding, read_report, write_report
from dermcheck.dicom.segmentation import (
    LesionMask,
    LesionSegment,
    SegmentationSummary,
    is_segmentation,
    read_segmentation,
    summarise_segmentation,
    write_segmentation,
)
from dermcheck.dicom.sop_classes import PHOTOGRAPH_SOP_CLASSES, is_photograph
from dermcheck.dicom.viewer_masks import (
    NamedMask,
    read_label_map,
    read_named_masks,
    write_companion,
    write_label_map,
)

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "PHOTOGRAPH_SOP_CLASSES",
    "Algorithm",
    "Clinician",
    "DiagnosisFinding",
    "ImportFailure",
    "ImportResult",
    "LesionMask",
    "LesionSegment",
    "NamedMask",
    "PhotoDetails",
    "Photograph",
    "PhotographHeader",
    "RGBImage",
    "SegmentationSummary",
    "import_photo",
    "import_photos",
    "is_photograph",
    "is_segmentation",
    "photo_to_dicom",
    "read_dataset",
    "read_details_csv",
    "read_header",
    "read_label_map",
    "read_named_masks",
    "read_photograph",
    "read_picture",
    "read_report",
    "read_rgb",
    "read_segmentation",
    "summarise_segmentation",
    "write_companion",
    "write_label_map",
    "write_report",
    "write_segmentation",
]
