"""The Image Pixel module of a photograph (PS3.3 C.7.6.3), checked before any decoding."""

from dataclasses import dataclass
from typing import Final

from pydicom import Dataset
from pydicom.uid import UID

from dermcheck.dicom.attributes import dataset_meta, instance_name, read_text, read_uid, read_whole_number
from dermcheck.errors import NotAPhotographError, UnreadableImageError

__all__ = ["ImagePixel", "read_image_pixel"]

_GREY: Final = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_NATIVE_COLOUR: Final = ("RGB", "YBR_FULL", "YBR_FULL_422")
_COLOUR: Final = (*_NATIVE_COLOUR, "YBR_ICT", "YBR_RCT")
_VIDEO: Final = ("1.2.840.10008.1.2.4.10", "1.2.840.10008.1.2.7.")  # 4.100 to 4.108 and SMPTE ST 2110


@dataclass(frozen=True, slots=True)
class ImagePixel:
    """How the samples of one frame are stored."""

    samples: int
    """1 or 3 samples a pixel."""
    photometric: str
    """PhotometricInterpretation, one of those that `read_image_pixel` allows."""
    bits_allocated: int
    """8 or 16."""
    bits_stored: int
    is_signed: bool
    transfer_syntax: UID


def read_image_pixel(dataset: Dataset) -> ImagePixel:
    """Read and check how the pixels are stored.

    Raises
    ------
    NotAPhotographError
        If the transfer syntax is one of video.
    UnreadableImageError
        If a value is missing, not allowed for a photograph, or contradicts another.
    """
    name = instance_name(dataset)
    transfer_syntax = _transfer_syntax(dataset, name)
    samples = read_whole_number(dataset, "SamplesPerPixel")
    photometric = (read_text(dataset, "PhotometricInterpretation") or "missing")[:16]
    if samples not in (1, 3):
        raise UnreadableImageError(f"{name}: SamplesPerPixel is {samples}, expected 1 or 3.")
    if samples == 1:
        allowed: tuple[str, ...] = _GREY
    else:
        allowed = _COLOUR if "2000" in transfer_syntax.name else _NATIVE_COLOUR
    if photometric not in allowed:
        raise UnreadableImageError(
            f"{name}: PhotometricInterpretation is {photometric}, expected {' or '.join(allowed)} "
            f"for SamplesPerPixel {samples} and transfer syntax {transfer_syntax.name}."
        )
    allocated, stored, is_signed = _bits(dataset, name)
    if samples == 3 and is_signed:
        raise UnreadableImageError(
            f"{name}: PixelRepresentation is 1 (signed), expected 0 for a colour photograph."
        )
    return ImagePixel(samples, photometric, allocated, stored, is_signed, transfer_syntax)


def _transfer_syntax(dataset: Dataset, name: str) -> UID:
    meta = dataset_meta(dataset)
    if "TransferSyntaxUID" not in meta:
        raise UnreadableImageError(
            f"{name}: TransferSyntaxUID is missing, the pixels cannot be decoded. Export it again as a file."
        )
    uid = UID(read_uid(meta, "TransferSyntaxUID"))
    if uid.startswith(_VIDEO):
        raise NotAPhotographError(
            f"{name}: TransferSyntaxUID is {uid.name}, a video, expected a photograph. Export a still frame."
        )
    return uid


def _bits(dataset: Dataset, name: str) -> tuple[int, int, bool]:
    allocated = read_whole_number(dataset, "BitsAllocated")
    stored = read_whole_number(dataset, "BitsStored", default=allocated)
    high = read_whole_number(dataset, "HighBit", default=stored - 1)
    if allocated not in (8, 16):
        raise UnreadableImageError(f"{name}: BitsAllocated is {allocated}, expected 8 or 16.")
    if not 1 <= stored <= allocated:
        raise UnreadableImageError(f"{name}: BitsStored is {stored}, expected 1 to {allocated}.")
    if high != stored - 1:
        raise UnreadableImageError(f"{name}: HighBit is {high}, expected {stored - 1} (BitsStored - 1).")
    return allocated, stored, read_whole_number(dataset, "PixelRepresentation", default=0) == 1
