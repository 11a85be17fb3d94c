"""PALETTE COLOR photographs, offered as RGB.

Viewers in browsers that do not apply palettes show the indices as grey values: a wrong picture that
looks like one. So metadata, frames and bulk data, which belong together, are those of the RGB picture;
whoever wants the palette retrieves the instance.
"""

import copy
from collections.abc import Iterable
from typing import Final

from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dermcheck.dicom.header import read_header
from dermcheck.dicom.pixels import read_rgb
from dermcheck.dicom.sop_classes import is_photograph

__all__ = ["has_palette", "rgb_frames", "rgb_header"]

_PALETTE_GROUP: Final = 0x0028
_PALETTE_ELEMENTS: Final = range(0x1101, 0x1224)
"""Descriptors, UID and data of the lookup tables, also segmented ones (PS3.3 C.7.9)."""


def has_palette(dataset: Dataset) -> bool:
    """Tell whether an instance is a photograph whose pixels are indices into a palette."""
    return is_photograph(dataset) and dataset.get("PhotometricInterpretation") == "PALETTE COLOR"


def rgb_header(dataset: Dataset) -> Dataset:
    """Return a copy that describes the RGB picture, without pixel data."""
    changed = Dataset()
    changed.file_meta = copy.deepcopy(dataset.file_meta)
    changed.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for tag in dataset.keys():  # noqa: SIM118 - iterating over the dataset itself converts its values
        if not (tag.group == _PALETTE_GROUP and tag.element in _PALETTE_ELEMENTS):
            changed[tag] = dataset.get_item(tag)
    changed.PhotometricInterpretation = "RGB"
    changed.SamplesPerPixel, changed.PlanarConfiguration = 3, 0
    changed.BitsAllocated = changed.BitsStored = 8
    changed.HighBit, changed.PixelRepresentation = 7, 0
    return changed


def rgb_frames(dataset: Dataset, numbers: Iterable[int] | None = None) -> list[bytes]:
    """Return frames (from 1; all if None) as RGB samples, pixel by pixel.

    Raises
    ------
    ArgumentError
        If there is no such frame.
    UnreadableImageError
        If pixels or palette are damaged.
    """
    wanted = range(1, read_header(dataset).number_of_frames + 1) if numbers is None else numbers
    return [read_rgb(dataset, number).tobytes() for number in wanted]
