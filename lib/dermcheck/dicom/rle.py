"""Unpacks DICOM RLE (PS3.5 Annex G) with a bound.

Two bytes of RLE can stand for 128, and pydicom's own decoder unpacks a segment to its end before
it compares the length: a few megabytes could take all memory. This one stops at the picture's size.
"""

import struct
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["decode_rle"]

_CHECK_EVERY: Final = 4096  # bytes of RLE, which unpack to 256 KB at most


def decode_rle(frame: bytes, rows: int, columns: int, samples: int, bits_allocated: int) -> NDArray[Any]:
    """Unpack one frame.

    Parameters
    ----------
    frame
        A header of 64 bytes, then for each sample one segment a byte, the most significant first.
    rows, columns, samples
        Shape of the picture; the caller has checked it against the limits.
    bits_allocated
        8 or 16.

    Returns
    -------
    numpy.ndarray
        (rows, columns) or (rows, columns, samples), uint8 or uint16.

    Raises
    ------
    ValueError
        If the header is damaged, or a segment does not unpack to one byte for each pixel.
    """
    size = bits_allocated // 8
    pixels = np.empty((rows * columns, samples, size), np.uint8)
    bounds = _segment_bounds(frame, samples * size)
    for number, (start, end) in enumerate(pairwise(bounds)):
        unpacked = _unpack(frame, start, end, rows * columns)
        if len(unpacked) < rows * columns:
            raise ValueError(
                f"RLE segment {number + 1} unpacks to {len(unpacked):,} bytes, expected {rows * columns:,}"
            )
        significance = size - 1 - number % size  # stored most significant byte first, kept little endian
        pixels[:, number // size, significance] = np.frombuffer(unpacked, np.uint8, rows * columns)
    words = pixels.view("<u2" if size == 2 else np.uint8)
    return words.reshape((rows, columns, samples) if samples > 1 else (rows, columns))


def _segment_bounds(frame: bytes, expected: int) -> list[int]:
    """Return where each segment starts, and where the last one ends (PS3.5 G.5)."""
    if len(frame) < 64:
        raise ValueError("the RLE header is cut off")
    count, *offsets = struct.unpack_from("<16L", frame)
    if count != expected:
        raise ValueError(f"the RLE header tells of {count} segments, expected {expected}")
    bounds = [*offsets[:count], len(frame)]
    if bounds[0] < 64 or bounds != sorted(bounds):
        raise ValueError("the RLE header places a segment outside of the frame")
    return bounds


def _unpack(frame: bytes, start: int, end: int, limit: int) -> bytearray:
    """Unpack one segment (PS3.5 G.3.2) until its end, or until there is as much as a picture takes.

    What follows, usually one byte of padding, is ignored.
    """
    unpacked = bytearray()
    extend = unpacked.extend
    segment = frame[start:end]
    position, last = 0, len(segment) - 1
    while position < last and len(unpacked) < limit:
        pause = min(position + _CHECK_EVERY, last)
        while position < pause:
            control = segment[position] + 1
            position += 1
            if control < 129:  # that many literal bytes
                extend(segment[position : position + control])
                position += control
            elif control > 129:  # the next byte 258 - control times
                extend(segment[position : position + 1] * (258 - control))
                position += 1
    return unpacked
