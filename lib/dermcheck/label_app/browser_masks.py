"""Label maps as the viewer in the browser sends and receives them: gzip, then base64, inside JSON.

A lesion's label map compresses to a few kilobytes (24 megapixels of it to about 25), so that one JSON
object can hold the outline and everything about it.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

from dermcheck.errors import MaskError

__all__ = ["decode_label_map", "encode_label_map"]

_FASTEST: Final = 1
_GZIP: Final = 16 + zlib.MAX_WBITS


def encode_label_map(label_map: npt.NDArray[np.uint8]) -> str:
    """Return a (rows, columns) label map as text: one byte a pixel, row by row, gzip, base64."""
    content = np.ascontiguousarray(label_map, np.uint8).tobytes()
    return base64.b64encode(gzip.compress(content, _FASTEST, mtime=0)).decode("ascii")


def decode_label_map(text: str, rows: int, columns: int) -> npt.NDArray[np.uint8]:
    """Return the (rows, columns) label map of `encode_label_map`; no more than its pixels is unpacked.

    Raises
    ------
    MaskError
        If it is damaged, or not of this size.
    """
    expected = rows * columns
    unpacker = zlib.decompressobj(wbits=_GZIP)
    try:
        content = unpacker.decompress(base64.b64decode(text, validate=True), expected + 1)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise MaskError("The outline arrived damaged. Submit it again.") from error
    if len(content) != expected or not unpacker.eof:
        found = f"{len(content)}" if unpacker.eof else f"other than {expected}"
        raise MaskError(
            f"The outline has {found} pixels, the photograph {columns} × {rows} = {expected}. Open the "
            "photograph again."
        )
    return np.frombuffer(content, np.uint8).reshape(rows, columns)
