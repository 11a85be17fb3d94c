"""Photographs that viewers in browsers show wrongly, offered as 8-bit RGB.

OHIF shows palettes' indices as grey values, stretches the contrast of grey pictures of more than eight
bits, and turns other forms white or black: wrong pictures that look like pictures. So metadata, frames
and bulk data, which belong together, are those of the RGB picture; whoever wants the samples as they
are stored retrieves the instance.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydicom import Dataset, FileMetaDataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import UID, ExplicitVRLittleEndian

from dermcheck.datastore.instance_json import from_dicom_json
from dermcheck.dicom.attributes import dataset_meta, instance_name, read_text, read_whole_number
from dermcheck.dicom.header import read_header
from dermcheck.dicom.pixels import read_rgb
from dermcheck.dicom.sop_classes import is_photograph
from dermcheck.dicomweb.json_model import hexadecimal
from dermcheck.errors import NotFoundError, StorageError, UnreadableImageError

__all__ = ["is_described_as_rgb", "is_offered_as_rgb", "rgb_frames", "rgb_header", "rgb_json"]

_COLOUR: Final = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_GREY: Final = ("MONOCHROME1", "MONOCHROME2")
_GREY_TABLES: Final = ("RescaleSlope", "ModalityLUTSequence", "VOILUTSequence")
"""What browsers do not look grey values up in; they do apply a window."""

_LEFT_OUT: Final = frozenset(
    {
        # Descriptors, UID and data of palettes, also segmented ones (PS3.3 C.7.9).
        *range(0x00281101, 0x00281224),
        # What the RGB picture has applied already, and what describes samples that are not sent.
        *(
            tag
            for keyword in (
                *_GREY_TABLES,
                *("RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth", "VOILUTFunction"),
                *("PresentationLUTShape", "PixelPaddingValue", "SmallestImagePixelValue"),
                "LargestImagePixelValue",
            )
            if (tag := tag_for_keyword(keyword)) is not None
        ),
    }
)
_PIXEL: Final[Mapping[str, Any]] = {
    "SamplesPerPixel": 3,
    "PhotometricInterpretation": "RGB",
    "PlanarConfiguration": 0,
    "BitsAllocated": 8,
    "BitsStored": 8,
    "HighBit": 7,
    "PixelRepresentation": 0,
}
_ASKED: Final = (
    "SOPClassUID",
    "PhotometricInterpretation",
    "BitsStored",
    "LossyImageCompression",
    *_GREY_TABLES,
)
_SYNTAX: Final = hexadecimal("AvailableTransferSyntaxUID")
_PIXEL_DATA: Final = hexadecimal("PixelData")


def is_offered_as_rgb(dataset: Dataset) -> bool:
    """Tell by its header whether an instance is a photograph that browsers would show wrongly."""
    try:
        if not is_photograph(dataset):
            return False
        photometric = read_text(dataset, "PhotometricInterpretation")
        bits = read_whole_number(dataset, "BitsStored", default=8)
    except UnreadableImageError:  # damaged; whoever decodes the pixels says so
        return False
    if photometric in _GREY:
        return bits != 8 or any(keyword in dataset for keyword in _GREY_TABLES)
    if photometric == "YBR_FULL_422":  # compressed, it is what most cameras write
        return not _is_compressed(dataset)
    return photometric == "PALETTE COLOR" or (photometric in _COLOUR and bits != 8)


def _is_compressed(dataset: Dataset) -> bool:
    syntax = dataset_meta(dataset).get("TransferSyntaxUID")
    if syntax is not None:
        return bool(UID(syntax).is_encapsulated)
    return bool(dataset.get("LossyImageCompression") == "01")  # as every JPEG has to say


def is_described_as_rgb(described: Mapping[str, Any]) -> bool:
    """Tell the same of an instance's attributes in DICOM JSON, as archives give them.

    They need not tell the transfer syntax; then LossyImageCompression tells whether YBR_FULL_422 is a JPEG.
    """
    tags = {hexadecimal(keyword) for keyword in _ASKED}
    try:
        dataset = from_dicom_json({tag: described[tag] for tag in tags.intersection(described)}, "instance")
    except StorageError:  # damaged; whoever decodes the pixels says so
        return False
    syntaxes = described.get(_SYNTAX, {}).get("Value") or []
    if len(syntaxes) == 1:
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = UID(str(syntaxes[0]))
    return is_offered_as_rgb(dataset)


def rgb_header(dataset: Dataset) -> Dataset:
    """Return a copy that describes the RGB picture, without pixel data."""
    described = {tag_for_keyword(keyword) for keyword in (*_PIXEL, "PixelData")}
    changed = Dataset()
    changed.file_meta = copy.deepcopy(dataset.file_meta)
    changed.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for tag in dataset.keys():  # noqa: SIM118 - iterating over the dataset itself converts its values
        if tag not in _LEFT_OUT and tag not in described:  # elements are shared with the original
            changed[tag] = dataset.get_item(tag)
    for keyword, value in _PIXEL.items():
        setattr(changed, keyword, value)
    return changed


def rgb_json(described: Mapping[str, Any], address: str) -> dict[str, Any]:
    """Return an instance's attributes in DICOM JSON as they describe the RGB picture.

    Parameters
    ----------
    described
        As an archive gives them.
    address
        URL of the instance at this server, without a slash at its end: for the pixel data.
    """
    left_out = {f"{tag:08X}" for tag in _LEFT_OUT}
    changed = {tag: value for tag, value in described.items() if tag not in left_out}
    for keyword, value in _PIXEL.items():
        changed[hexadecimal(keyword)] = {"vr": dictionary_VR(keyword), "Value": [value]}
    changed[_SYNTAX] = {"vr": "UI", "Value": [str(ExplicitVRLittleEndian)]}
    changed[_PIXEL_DATA] = {"vr": "OW", "BulkDataURI": f"{address}/bulkdata/{_PIXEL_DATA}"}
    return dict(sorted(changed.items()))


def rgb_frames(dataset: Dataset, numbers: Iterable[int] | None = None) -> list[bytes]:
    """Return frames (from 1; all if None) as RGB samples, pixel by pixel.

    Raises
    ------
    NotFoundError
        If there is no such frame.
    UnreadableImageError
        If pixels, palette or lookup tables are damaged.
    """
    count = read_header(dataset).number_of_frames
    wanted = range(1, count + 1) if numbers is None else list(numbers)
    for number in wanted:
        if not 1 <= number <= count:
            raise NotFoundError(
                f"{instance_name(dataset)}: there is no frame {number}, expected 1 to {count}."
            )
    return [read_rgb(dataset, number).tobytes() for number in wanted]
