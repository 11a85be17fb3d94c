"""Decodes single frames of a Segmentation, one at a time, so that large ones take bounded memory."""

import zlib
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from dermcheck.dicom.decoding import DECODING_PLUGINS
from dermcheck.errors import MaskError

__all__ = ["StoredValues", "decode_frame", "frame_count"]

StoredValues: TypeAlias = NDArray[np.unsignedinteger[Any]]
"""(rows, columns) of a frame, of 8 or 16 bits; for one-bit pixels 0 and 1."""

_UNCOMPRESSED: Final = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)

_MOST_FRAMES: Final = 10_000

_DEFLATED_FRAMES: Final = "1.2.840.10008.1.2.8.1"  # Deflated Image Frame Compression (PS3.5 A.4.13)


def frame_count(segmentation: Dataset) -> int:
    """Return the number of frames; an absent value means one.

    Raises
    ------
    MaskError
        If it is more than 10,000: no photograph has so many lesions, and a header may promise anything.
    """
    count = int(segmentation.get("NumberOfFrames") or 1)
    if not 0 < count <= _MOST_FRAMES:
        raise MaskError(
            f"instance {segmentation.get('SOPInstanceUID')}: NumberOfFrames is {count}, expected 1 to "
            f"{_MOST_FRAMES:,} in the Segmentation of a photograph. Store the outline again."
        )
    return count


def decode_frame(segmentation: Dataset, index: int) -> StoredValues:
    """Decode one frame.

    pydicom decodes what it can. Not within its reach, and done here, are single frames of bit-packed
    pixels when rows × columns is no multiple of 8; bit-packed RLE, the default of OHIF's BINARY export;
    and Deflated Image Frame Compression.

    Parameters
    ----------
    segmentation
        With its pixel data and file meta information.
    index
        Counted from 0.

    Returns
    -------
    StoredValues
        May be read-only.

    Raises
    ------
    MaskError
        If the pixel data are missing, too short, damaged, or in a transfer syntax no decoder knows.
    """
    try:
        if segmentation.BitsAllocated == 1 or _transfer_syntax(segmentation) == _DEFLATED_FRAMES:
            return _decode_bytes(segmentation, index)
        return _decode_by_pydicom(segmentation, index)
    except MaskError:
        raise
    except Exception as error:  # each decoder raises its own exceptions for damaged data
        raise MaskError(
            f"instance {segmentation.get('SOPInstanceUID')}: frame {index + 1} of the Segmentation cannot be "
            f"decoded ({error}). Store the outline again."
        ) from error


def _transfer_syntax(segmentation: Dataset) -> str:
    return str(getattr(segmentation, "file_meta", Dataset()).get("TransferSyntaxUID", ""))


def _decode_by_pydicom(segmentation: Dataset, index: int) -> StoredValues:
    """Decode by a named plug-in: left to choose, pydicom tries gdcm, which aborts on some damaged data."""
    syntax = UID(_transfer_syntax(segmentation))
    plugin = "pydicom" if syntax == RLELossless else DECODING_PLUGINS.get(syntax, "")
    return pixel_array(segmentation, index=index, raw=True, decoding_plugin=plugin)


def _decode_bytes(segmentation: Dataset, index: int) -> StoredValues:
    rows, columns, bits = segmentation.Rows, segmentation.Columns, segmentation.BitsAllocated
    syntax = _transfer_syntax(segmentation)
    length = -(-rows * columns * bits // 8)
    first_bit = 0
    if syntax == RLELossless:
        data = _unpack_rle(_compressed(segmentation, index), length)
    elif syntax == _DEFLATED_FRAMES:
        data = zlib.decompressobj(wbits=-15).decompress(_compressed(segmentation, index), length)
    elif syntax not in _UNCOMPRESSED:
        return _decode_by_pydicom(segmentation, index)
    else:  # frames follow each other without gaps, not even to the next byte (PS3.5 8.1.1)
        if syntax == ExplicitVRBigEndian and segmentation["PixelData"].VR == "OW":
            raise ValueError("one-bit pixels in big endian words are not supported")
        start, first_bit = divmod(index * rows * columns, 8)
        data = segmentation.PixelData[start : start + -(-(first_bit + rows * columns) // 8)]
    if len(data) * 8 < first_bit + rows * columns * bits:
        raise ValueError(f"it holds {len(data)} bytes, expected {length}")
    if bits > 8:
        return np.frombuffer(data, f"<u{bits // 8}").reshape(rows, columns)
    values = np.frombuffer(data, np.uint8)
    if bits == 1:
        values = np.unpackbits(values, count=first_bit + rows * columns, bitorder="little")[first_bit:]
    return values.reshape(rows, columns)


def _compressed(segmentation: Dataset, index: int) -> bytes:
    return get_frame(segmentation.PixelData, index, number_of_frames=frame_count(segmentation))


def _unpack_rle(frame: bytes, length: int) -> bytes:
    """Decode the one segment of an RLE frame (PS3.5 annex G) that holds packed bits."""
    if int.from_bytes(frame[:4], "little") != 1:
        raise ValueError("the RLE header announces more than one segment")
    position, unpacked = int.from_bytes(frame[4:8], "little"), bytearray()
    while len(unpacked) < length and position + 1 < len(frame):
        control = frame[position]
        if control < 128:
            unpacked += frame[position + 1 : position + 2 + control]
            position += 2 + control
        else:  # 128 stands for nothing
            unpacked += frame[position + 1 : position + 2] * (257 - control if control > 128 else 0)
            position += 2 if control > 128 else 1
    if len(unpacked) < length:
        raise ValueError(f"the RLE segment holds {len(unpacked)} bytes, expected {length}")
    return bytes(unpacked[:length])
