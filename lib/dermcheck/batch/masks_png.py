"""Writes masks as 8-bit PNG, quickly."""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np

from dermcheck.dicom.segmentation import LesionMask

__all__ = ["mask_png"]

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_GREY_8_BIT: Final = b"\x08\0\0\0\0"
"""Bit depth 8, colour type grey, and the only methods of compression, filter and interlace (PNG 11.2.1)."""


def mask_png(mask: LesionMask) -> bytes:
    """Encode a mask as ISIC wants it: 8-bit grey, 0 outside and 255 inside.

    By hand, as Pillow tries five filters on each row, which takes most of the time and makes the file of a
    mask no smaller. zlib then only looks for runs: 24 megapixels take 35 ms instead of 127.

    Parameters
    ----------
    mask
        (rows, columns) bool.
    """
    rows, columns = mask.shape
    lines = np.zeros((rows, columns + 1), np.uint8)  # the first byte of each says: no filter
    np.multiply(mask, np.uint8(255), out=lines[:, 1:])
    deflate = zlib.compressobj(level=1, strategy=zlib.Z_RLE)
    data = deflate.compress(lines.data) + deflate.flush()
    header = struct.pack(">II", columns, rows) + _GREY_8_BIT
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))
