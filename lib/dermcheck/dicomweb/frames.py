"""Single frames, and whole instances in another transfer syntax."""

import copy
import io
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.encaps import get_frame
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dermcheck.dicom.attributes import dataset_meta, instance_name, read_whole_number
from dermcheck.dicom.decoding import decode_frame
from dermcheck.dicom.header import read_header
from dermcheck.dicom.image_pixel import read_image_pixel
from dermcheck.dicom.limits import check_size
from dermcheck.dicom.sop_classes import is_photograph
from dermcheck.dicomweb.accept import MediaRange, PartKind, choose_part
from dermcheck.dicomweb.statuses import NotAcceptableError
from dermcheck.errors import ArgumentError, NotFoundError, UnreadableImageError

__all__ = ["FRAME_KINDS", "NATIVE", "frame_bytes", "frame_numbers", "frame_parts", "instance_bytes"]

FRAME_KINDS: Final = {
    **dict.fromkeys((JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1), "image/jpeg"),
    **dict.fromkeys((JPEGLSLossless, JPEGLSNearLossless), "image/jls"),
    **dict.fromkeys((JPEG2000, JPEG2000Lossless), "image/jp2"),
    **dict.fromkeys((HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL), "image/jphc"),
    RLELossless: "image/dicom-rle",
}
"""Media type of one frame's stream by transfer syntax (PS3.18 table 8.7.3-2)."""

NATIVE: Final = str(ExplicitVRLittleEndian)
"""Transfer syntax UID of uncompressed samples, which have one form only: that of little endian."""
_MOST_FRAMES: Final = 1000
_NATIVE_LITTLE: Final = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)


def frame_numbers(text: str) -> list[int]:
    """Read the list of frames in an address (PS3.18 table 10.4.1-1).

    Raises
    ------
    ArgumentError
        If it is no list of numbers from 1 on.

    >>> frame_numbers("1,3")
    [1, 3]
    """
    parts = text.split(",")
    if len(parts) > _MOST_FRAMES or not all(
        part.isascii() and part.isdigit() and len(part) < 10 for part in parts
    ):
        raise ArgumentError(
            f"frames are {text[:40]!r}, expected numbers from 1 with commas between, e.g. 1,2."
        )
    return [int(part) for part in parts]


def frame_parts(
    dataset: Dataset, numbers: Iterable[int], accepted: Iterable[MediaRange]
) -> tuple[PartKind, list[bytes]]:
    """Return frames, each a part of the same kind that is accepted: as stored, else uncompressed.

    Raises
    ------
    NotAcceptableError
        If no such kind is accepted.
    NotFoundError, UnreadableImageError
        As `frame_bytes`.
    """
    stored = dataset_meta(dataset).TransferSyntaxUID
    offered = str(stored) if stored.is_encapsulated else NATIVE
    kind = choose_part(accepted, "application/octet-stream", offered, FRAME_KINDS.get(stored, ""))
    return kind, frame_bytes(dataset, numbers, kind.transfer_syntax)


def frame_bytes(dataset: Dataset, numbers: Iterable[int], syntax: str) -> list[bytes]:
    """Return frames, as stored or uncompressed.

    Parameters
    ----------
    dataset
        The instance with its pixel data.
    numbers
        From 1.
    syntax
        Transfer syntax UID: that of the instance for the stored streams, else explicit VR little
        endian for the samples. Uncompressed lossy JPEG is RGB, whatever PhotometricInterpretation says.

    Raises
    ------
    NotFoundError
        If there is no such frame.
    UnreadableImageError
        If the pixel data are missing or damaged.
    """
    count = _number_of_frames(dataset)
    wanted = list(numbers)
    for number in wanted:
        if not 1 <= number <= count:
            raise NotFoundError(
                f"{instance_name(dataset)}: there is no frame {number}, expected 1 to {count}."
            )
    if "PixelData" not in dataset:
        raise UnreadableImageError(f"{instance_name(dataset)}: PixelData is missing. Export it again.")
    stored = dataset_meta(dataset).TransferSyntaxUID
    if stored.is_encapsulated and syntax == stored:
        return [_stream(dataset, number, count) for number in wanted]
    if stored in _NATIVE_LITTLE:
        return [_slice(dataset, number, count) for number in wanted]
    return [_samples_as_stored(dataset, number) for number in wanted]


def _number_of_frames(dataset: Dataset) -> int:
    return max(1, read_whole_number(dataset, "NumberOfFrames", default=1))


def _stream(dataset: Dataset, number: int, count: int) -> bytes:
    offsets = None
    if "ExtendedOffsetTable" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    try:
        return get_frame(dataset.PixelData, number - 1, number_of_frames=count, extended_offsets=offsets)
    except Exception as error:  # pydicom raises whatever damaged fragments lead to
        raise UnreadableImageError(
            f"{instance_name(dataset)}: PixelData is damaged: frame {number} cannot be found. "
            "Export it again."
        ) from error


def _slice(dataset: Dataset, number: int, count: int) -> bytes:
    """Cut one frame out of uncompressed pixel data; packed bits begin at a byte only if they fit."""
    rows, columns = read_whole_number(dataset, "Rows"), read_whole_number(dataset, "Columns")
    samples = read_whole_number(dataset, "SamplesPerPixel", default=1)
    bits = read_whole_number(dataset, "BitsAllocated")
    check_size(rows, columns, instance_name(dataset))
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        samples = 2  # PS3.3 C.7.6.3.1.2
    content = dataset.PixelData
    size = rows * columns * samples * bits
    if len(content) * 8 < size * count:
        raise UnreadableImageError(
            f"{instance_name(dataset)}: PixelData holds {len(content):,} bytes, expected "
            f"{size * count // 8:,}. It is cut off: export it again."
        )
    start = size * (number - 1)
    if bits == 1 and (start % 8 or size % 8):
        packed = np.frombuffer(content, np.uint8, (start + size + 7) // 8 - start // 8, start // 8)
        flat = np.unpackbits(packed, bitorder="little")[start % 8 : start % 8 + size]
        return np.packbits(flat, bitorder="little").tobytes()
    return bytes(content[start // 8 : (start + size) // 8])


def _samples_as_stored(dataset: Dataset, number: int) -> bytes:
    samples, _ = _decoded(dataset, number)
    if samples.ndim == 3 and dataset.get("PlanarConfiguration") == 1:
        samples = np.moveaxis(samples, -1, 0)
    return samples.astype(samples.dtype.newbyteorder("<"), copy=False).tobytes()


def _decoded(dataset: Dataset, number: int) -> tuple[NDArray[Any], str]:
    if not is_photograph(dataset):
        raise NotAcceptableError(
            f"{instance_name(dataset)}: it is no photograph and can be sent only as it is stored. Ask for "
            "transfer-syntax=*."
        )
    return decode_frame(dataset, read_header(dataset), read_image_pixel(dataset), number - 1)


def instance_bytes(dataset: Dataset, syntax: str) -> bytes:
    """Return an instance as a Part 10 file in its own transfer syntax, or in explicit VR little endian.

    Raises
    ------
    UnreadableImageError
        If its pixels cannot be decoded.
    NotAcceptableError
        If it is compressed and no photograph.
    """
    if syntax != dataset_meta(dataset).TransferSyntaxUID:
        dataset = _uncompressed(dataset)
    content = io.BytesIO()
    dcmwrite(content, dataset, enforce_file_format=True)
    return content.getvalue()


def _uncompressed(dataset: Dataset) -> Dataset:
    stored = dataset_meta(dataset).TransferSyntaxUID
    changed = copy.deepcopy(dataset) if stored.is_little_endian else _little_endian(dataset)
    # pydicom converts the other attributes when it writes them, but leaves pixel data as they are.
    if "PixelData" in dataset and (stored.is_encapsulated or not stored.is_little_endian):
        _set_pixels(changed, dataset)
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if keyword in changed:
            del changed[keyword]
    changed.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return changed


def _little_endian(dataset: Dataset) -> Dataset:
    """Copy a big endian dataset; words in binary attributes are the only values not converted already."""
    changed = Dataset()
    changed.file_meta = copy.deepcopy(dataset.file_meta)
    changed.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian  # pydicom sets no big endian pixels
    for element in dataset:
        changed.add(copy.deepcopy(element))
        if element.VR == "OW" and element.keyword != "PixelData" and element.value:
            changed[element.tag].value = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()
    return changed


def _set_pixels(changed: Dataset, dataset: Dataset) -> None:
    count = _number_of_frames(dataset)
    frames = [_decoded(dataset, number) for number in range(1, count + 1)]
    pixel = read_image_pixel(dataset)
    array = np.stack([samples for samples, _ in frames]) if count > 1 else frames[0][0]
    changed.set_pixel_data(array, frames[0][1], pixel.bits_stored, generate_instance_uid=False)
