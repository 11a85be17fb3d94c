"""From an input file to pixels: tells photographs, other images and everything else apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final

import numpy as np
from pydicom import Dataset
from pydicom.uid import UID

from dermcheck.dicom.files import file_name
from dermcheck.dicom.photo_import import PhotoDetails, picture_to_dicom
from dermcheck.dicom.photograph import read_photograph
from dermcheck.dicom.pictures import decode_picture, open_picture
from dermcheck.dicom.pixels import RGBImage
from dermcheck.dicom.sop_classes import is_photograph
from dermcheck.errors import UnreadableImageError

__all__ = ["FileKind", "SourceImage", "kind_of", "read_dicom", "read_photo", "skipped_class"]

_DICOM_SUFFIXES: Final = frozenset({".dcm", ".dicom", ".dic", ".ima"})
_PHOTO_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff"})
# Pictures that are not read are failures, not skipped: whoever sees only a count would miss them.
_OTHER_PICTURE_SUFFIXES: Final = frozenset({".avif", ".bmp", ".gif", ".heic", ".heif", ".jp2", ".webp"})
_RAW_SUFFIXES: Final = frozenset({".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2"})
_PHOTO_SIGNATURES: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_TIFF_SIGNATURES: Final = (b"II*\0", b"MM\0*")
_NEWER_CLASSES: Final = {  # which pydicom 3.0 does not know (PS3.4 Table B.5-1, editions 2024 and 2025)
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.8": "Height Map Segmentation Storage",
}
_PREAMBLE_BYTES: Final = 128
_BARE_DICOM: Final = tuple(
    group + element
    for group, elements in (
        (b"\x02\0", (b"\0\0", b"\x01\0", b"\x02\0")),  # file meta information without preamble
        (b"\x08\0", (b"\0\0", b"\x01\0", b"\x05\0", b"\x06\0", b"\x08\0", b"\x12\0", b"\x14\0", b"\x16\0")),
    )
    for element in elements
)
"""First bytes of a data set without the Part 10 preamble, little endian, as old exports write it."""


class FileKind(Enum):
    """What a file seems to be, before it is read."""

    DICOM = "dicom"
    PHOTO = "photo"
    OTHER = "other"


@dataclass(frozen=True)
class SourceImage:
    """One photograph ready for prediction."""

    pixels: RGBImage
    """(rows, columns, 3) uint8 RGB; reduced where the networks see less anyway."""
    size: tuple[int, int]
    """Rows and columns of the photograph itself."""
    dataset: Dataset | None
    """What DICOM results refer to; None for a photo when no DICOM results are wanted."""
    wrapped: bool = False
    """Whether `dataset` was made here from a photo, and so exists nowhere else."""

    def without_pixel_data(self) -> SourceImage:
        """Drop the encoded pixels from the data set, which the results do not need."""
        if self.dataset is not None:
            self.dataset.pop("PixelData", None)
        return self

    def without_pixels(self) -> SourceImage:
        """Give the same without the decoded pixels."""
        return replace(self, pixels=np.empty((0, 0, 3), np.uint8))


def kind_of(start: bytes, suffix: str) -> FileKind:
    """Tell by the first bytes, else by the suffix, how to read a file.

    The bytes decide first, as DICOM files often have no suffix or a wrong one. A suffix that promises
    an image makes the file one even if its bytes do not: it then fails when read, with a reason.
    TIFF's signature alone does not make a photo, as cameras' raw files begin with it too.

    Parameters
    ----------
    start
        The file's first 132 bytes.
    suffix
        The ending of its name, with the dot.
    """
    suffix = suffix.casefold()
    if start[_PREAMBLE_BYTES:] == b"DICM":
        return FileKind.DICOM
    if start.startswith(_PHOTO_SIGNATURES) or (start.startswith(_TIFF_SIGNATURES) and not suffix):
        return FileKind.PHOTO
    if suffix in _DICOM_SUFFIXES:
        return FileKind.DICOM
    if suffix in _PHOTO_SUFFIXES | _OTHER_PICTURE_SUFFIXES | _RAW_SUFFIXES:
        return FileKind.PHOTO
    return FileKind.DICOM if start.startswith(_BARE_DICOM) else FileKind.OTHER


def skipped_class(header: Dataset) -> str | None:
    """Name the SOP class of an object that is passed over; None if it is to be read as an image.

    SEG, SR, PDF, presentation states, radiotherapy plans, DICOMDIR and the like are no images. CT, MR,
    ultrasound or video are images, only not photographs: reading them fails with a reason.

    Parameters
    ----------
    header
        With or without its pixel data.

    >>> from pydicom import examples
    >>> skipped_class(examples.ct) is None, skipped_class(examples.rt_plan)
    (True, 'RT Plan Storage')
    """
    meta = getattr(header, "file_meta", Dataset())  # a DICOMDIR says only there what it is (PS3.10 8.6)
    sop_class = UID(str(header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID", "")))
    if not sop_class or is_photograph(header):
        return None
    if sop_class in _NEWER_CLASSES:
        return _NEWER_CLASSES[sop_class]
    if sop_class.is_private or sop_class.name == sop_class:  # unknown to the standard as installed
        return "unknown DICOM object" if "Rows" not in header else None
    return None if "Image Storage" in sop_class.name else sop_class.name


def read_dicom(dataset: Dataset, short_side: int | None = None) -> SourceImage:
    """Decode one DICOM photograph.

    Parameters
    ----------
    short_side
        Pixels that are needed along the shorter side; None for all (see `pixels.read_rgb`).

    Raises
    ------
    UnreadableImageError
        With the sentence for the user; `NotAPhotographError` for CT, MR, video and the like.
    """
    photograph = read_photograph(dataset, short_side=short_side)
    return SourceImage(photograph.pixels, (photograph.header.rows, photograph.header.columns), dataset)


def read_photo(path: Path, content: bytes, *, as_dicom: bool, short_side: int | None = None) -> SourceImage:
    """Decode one JPEG, PNG or TIFF photo.

    Parameters
    ----------
    path
        Names it.
    content
        The whole file.
    as_dicom
        Also wrap it as DICOM, for results that must refer to an instance.
    short_side
        Pixels that are needed along the shorter side; None for all (see `pictures.read_picture`).

    Raises
    ------
    UnreadableImageError
        With the sentence for the user.
    """
    if path.suffix.casefold() in _RAW_SUFFIXES:  # most are TIFF files whose first picture is a thumbnail
        raise UnreadableImageError(
            f"{file_name(path)}: this is a camera's raw file, expected a JPEG, PNG or TIFF photo. "
            "Develop it with the camera's program."
        )
    with open_picture(path, content) as picture:
        pixels = decode_picture(picture, short_side)
        if not as_dicom:
            return SourceImage(pixels, picture.size, dataset=None)
        dataset = picture_to_dicom(picture, PhotoDetails(), pixels)
        return SourceImage(pixels, picture.size, dataset, wrapped=True)
