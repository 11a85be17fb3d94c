"""Tells a whole DICOM file from one that is still being copied, without reading its pixels."""

import math
import os
from pathlib import Path
from typing import BinaryIO, Final, Literal

from pydicom import Dataset, dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dermcheck.dicom.files import file_name, open_file
from dermcheck.errors import UnreadableImageError

__all__ = ["check_whole"]

_ITEM: Final = (0xFFFE, 0xE000)
_END: Final = (0xFFFE, 0xE0DD)
_UNDEFINED: Final = 0xFFFFFFFF
_END_OF_FRAGMENTS: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"
_SIZES: Final = {
    "Rows": None,
    "Columns": None,
    "SamplesPerPixel": None,
    "BitsAllocated": None,
    "NumberOfFrames": 1,
}


def check_whole(path: Path, header: Dataset) -> None:
    """Check that a file holds all the pixel data that it announces.

    Walks from the pixel data's length, or from fragment to fragment (PS3.5 A.4), to its end: a few
    seeks, whatever the size. A deflated file (PS3.5 A.5) is one stream, which is found to be cut
    off when it is inflated.

    Parameters
    ----------
    path
        The file.
    header
        What was read of it before its pixels. In most files the pixel data come last, which saves
        reading the header again to find where they begin.

    Raises
    ------
    UnreadableImageError
        If the file ends earlier, or before the pixel data begin.
    """
    with open_file(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            if _ends_with_pixels(stream, size, header):
                return
            expected = _end_of_pixels(stream)
        except Exception as error:  # cut off inside an element's header, pydicom raises whatever it likes
            raise UnreadableImageError(_sentence(path, size)) from error
    if expected is None or size < expected:
        raise UnreadableImageError(_sentence(path, size))


def _sentence(path: Path, size: int) -> str:
    return (
        f"{file_name(path)}: the file ends inside its pixel data, after {size:,} bytes. "
        "It is still being copied or was cut off: copy or export it again."
    )


def _ends_with_pixels(stream: BinaryIO, size: int, header: Dataset) -> bool:
    """Tell whether the file surely ends with whole pixel data.

    That is where the last 8 bytes end a sequence of fragments, or where the value that is as long as
    the header demands is preceded by just that length (little endian).
    """
    stream.seek(max(size - 8, 0))
    if stream.read(8) == _END_OF_FRAGMENTS:
        return True
    sizes = [header.get(keyword, default) for keyword, default in _SIZES.items()]
    if not all(isinstance(value, int) for value in sizes):
        return False
    length = (math.prod(map(int, sizes)) // 8 + 1) // 2 * 2  # padded to an even one
    if not 0 < length < size - 4:
        return False
    stream.seek(size - length - 4)
    return int.from_bytes(stream.read(4), "little") == length


def _end_of_pixels(stream: BinaryIO) -> int | None:
    """Return the position behind the pixel data, or None where the file ends before it is known."""
    stream.seek(0)
    dataset = dcmread(stream, stop_before_pixels=True, specific_tags=["SOPClassUID"], force=True)
    if dataset.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        return 0
    implicit, little = dataset.original_encoding
    order: Literal["little", "big"] = "little" if little in (True, None) else "big"
    header = stream.read(8 if implicit else 12)
    if len(header) < (8 if implicit else 12):
        return None
    length = int.from_bytes(header[-4:], order)
    if length != _UNDEFINED:
        return stream.tell() + length
    return _end_of_fragments(stream)


def _end_of_fragments(stream: BinaryIO) -> int | None:
    """Follow the fragments of encapsulated pixel data; they are always little endian."""
    while len(header := stream.read(8)) == 8:
        tag = int.from_bytes(header[:2], "little"), int.from_bytes(header[2:4], "little")
        length = int.from_bytes(header[4:], "little")
        if tag == _END:
            return stream.tell()
        if tag != _ITEM:
            break
        stream.seek(length, os.SEEK_CUR)
    return None
