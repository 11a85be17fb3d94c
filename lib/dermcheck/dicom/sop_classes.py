"""Which DICOM objects are photographs (PS3.4 Annex B, PS3.6 Annex A)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pydicom import Dataset
from pydicom.uid import (
    UID,
    DermoscopicPhotographyImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    VLEndoscopicImageStorage,
    VLMicroscopicImageStorage,
    VLPhotographicImageStorage,
)

from dermcheck.dicom.attributes import read_text

__all__ = ["PHOTOGRAPH_SOP_CLASSES", "is_photograph"]

PHOTOGRAPH_SOP_CLASSES: Final[Mapping[UID, str]] = MappingProxyType(
    {
        VLPhotographicImageStorage: "VL Photographic",
        DermoscopicPhotographyImageStorage: "Dermoscopic Photography",
        VLEndoscopicImageStorage: "VL Endoscopic",
        VLMicroscopicImageStorage: "VL Microscopic",
        SecondaryCaptureImageStorage: "Secondary Capture",
        MultiFrameGrayscaleByteSecondaryCaptureImageStorage: "Multi-frame Grayscale Byte Secondary Capture",
        MultiFrameGrayscaleWordSecondaryCaptureImageStorage: "Multi-frame Grayscale Word Secondary Capture",
        MultiFrameTrueColorSecondaryCaptureImageStorage: "Multi-frame True Color Secondary Capture",
    }
)
"""SOP classes read as photographs, and what to call them in messages.

Not among them: video, whole-slide microscopy (tiles) and single-bit Secondary Capture.
"""


def is_photograph(dataset: Dataset) -> bool:
    """Tell by the SOP class alone whether the instance is a photograph.

    Cheap and needs no pixel data: SEG, SR, PDF, CT, presentation states and objects without a SOP
    class are all just not photographs.

    Raises
    ------
    UnreadableImageError
        If the bytes of SOPClassUID are damaged, so that nobody can tell.

    >>> from pydicom import examples
    >>> is_photograph(examples.ct)
    False
    """
    return read_text(dataset, "SOPClassUID") in PHOTOGRAPH_SOP_CLASSES
