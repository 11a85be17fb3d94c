"""Decodes 8-bit JPEG streams by Pillow (libjpeg) into RGB, and refuses cut ones."""

import io
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from dermcheck.dicom.codestream import Codestream

__all__ = ["PROGRESSIVE", "copy_picture", "decode_jpeg", "reduced_size", "stored_colour"]

PROGRESSIVE: Final = 0xC2
"""`Codestream.process` of a progressive stream, which baseline DICOM JPEG must not be."""

_SCALES: Final = (8, 4, 2)
"""What libjpeg reduces by at no cost, the greatest first."""
_STRIP_ROWS: Final = 256
_EOI: Final = b"\xff\xd9"
_GREY: Final = 128  # libjpeg's value for blocks that it had no data for
_FILLER: Final = bytes(range(1, 0xFE)) * 4  # entropy-coded data that says something, without a marker


def stored_colour(stream: Codestream, label: str | None) -> Literal["RGB", "YBR"]:
    """Say which colour space the three components of a JPEG stream are in.

    Markers (JFIF, Adobe, component identifiers) come with the encoder and are believed first, as
    libjpeg and pydicom do; many writers put a wrong PhotometricInterpretation beside them. Where
    the markers are absent or contradict each other, the label decides, and without a label YBR,
    libjpeg's own assumption.

    Parameters
    ----------
    stream
        Frame header of the stream.
    label
        PhotometricInterpretation (PS3.3 C.7.6.3.1.2), or None for a photo outside DICOM.
    """
    if stream.colour_claims == {"RGB"}:
        return "RGB"
    if stream.colour_claims == {"YBR"}:
        return "YBR"
    return "RGB" if label == "RGB" else "YBR"


def reduced_size(rows: int, columns: int, short_side: int | None) -> tuple[int, int]:
    """Say which size `decode_jpeg` gives a picture of which only `short_side` pixels are needed.

    >>> reduced_size(4000, 6000, 900), reduced_size(450, 600, 900)
    ((1000, 1500), (450, 600))
    """
    scale = _scale(rows, columns, short_side)
    return -(-rows // scale), -(-columns // scale)


def _scale(rows: int, columns: int, short_side: int | None) -> int:
    """Return by how much the decoder reduces: 8, 4, 2 or 1 pixels become one, along each side."""
    spare = min(rows, columns) // short_side if short_side else 1
    return next((scale for scale in _SCALES if spare >= scale), 1)


def decode_jpeg(
    data: bytes, stream: Codestream, colour: Literal["RGB", "YBR"], short_side: int | None = None
) -> NDArray[np.uint8]:
    """Decode a baseline, extended or progressive 8-bit stream of 1 or 3 components.

    libjpeg converts YBR to RGB itself (ITU T.871), with smoothly interpolated chroma. The decoder
    holds 4 bytes a pixel; its rows are copied out in strips, so that no third copy is made.

    A sequential stream that was cut is refused even if an end marker was put behind it. A cut and
    closed *progressive* stream cannot be told from a whole one: it lacks detail, not area.

    Parameters
    ----------
    data
        The whole stream. Its size must have been checked against the limits by the caller.
    stream
        Its frame header by `codestream.parse_jpeg`.
    colour
        The stored colour space of three components by `stored_colour`; ignored for one.
    short_side
        Pixels that are needed along the shorter side; None for all. A larger picture is decoded at a half, a
        quarter or an eighth, whichever still gives as many: libjpeg then computes only the low frequencies
        of each block, which averages the pixels, and a 24-megapixel photo takes a fraction of the time and a
        sixteenth of the memory.

    Returns
    -------
    numpy.ndarray
        (rows, columns) grey or (rows, columns, 3) RGB, of `reduced_size`, owned by the caller.

    Raises
    ------
    ValueError, OSError
        If the stream is cut or damaged.
    """
    if stream.length is None:
        raise ValueError("the stream is cut off: its end marker is missing")
    data = data[: stream.length]
    scale = _scale(stream.rows, stream.columns, short_side)
    size = reduced_size(stream.rows, stream.columns, short_side)
    with _open(data, stream, colour, scale) as picture:
        pixels = np.empty((*size, *([3] if stream.components == 3 else [])), np.uint8)
        copy_picture(picture, pixels)
    last = max(1, 2 // scale)  # pixels along a side that are certainly inside the last block
    if stream.process != PROGRESSIVE and np.all(pixels[-last:, -last:] == _GREY):
        _check_last_block(data, stream, colour, scale, pixels)
    return pixels


def _open(data: bytes, stream: Codestream, colour: Literal["RGB", "YBR"], scale: int) -> JpegImageFile:
    # Not Image.open: its guard against large pictures is global, ours has been passed already.
    picture = JpegImageFile(io.BytesIO(data))
    if picture.size != (stream.columns, stream.rows) or picture.mode not in ("L", "RGB"):
        raise ValueError("the stream holds more than one frame header, or not 1 or 3 components")
    if picture.mode == "RGB":
        # (what we want, what the stream holds): libjpeg would guess the second from the markers.
        arguments = ("RGB", "YCbCr" if colour == "YBR" else "RGB")
        picture.tile = [picture.tile[0]._replace(args=arguments)]
    if scale > 1:
        picture.draft(None, (stream.columns // scale, stream.rows // scale))
    return picture


def copy_picture(picture: Image.Image, target: NDArray[np.uint8]) -> None:
    """Copy a picture into an array of its shape, which may be a rotated view, strip by strip.

    NumPy's own conversion holds two more copies of the whole picture.
    """
    picture.load()
    for top in range(0, picture.height, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, picture.height)
        target[top:bottom] = np.asarray(picture.crop((0, top, picture.width, bottom)))


def _check_last_block(
    data: bytes,
    stream: Codestream,
    colour: Literal["RGB", "YBR"],
    scale: int,
    pixels: NDArray[np.uint8],
) -> None:
    """Tell a picture that ends in plain grey from one that was cut and closed by an end marker.

    libjpeg fills blocks without data with mid-grey and only counts a warning that Pillow does not
    pass on. Put more entropy-coded data before the end marker: a complete scan ignores it, a cut
    one decodes it.
    """
    with _open(data.removesuffix(_EOI) + _FILLER + _EOI, stream, colour, scale) as picture:
        extended = np.empty_like(pixels)
        copy_picture(picture, extended)
    if not np.array_equal(pixels, extended):
        raise ValueError("the stream is cut off: its last part holds no picture data")
