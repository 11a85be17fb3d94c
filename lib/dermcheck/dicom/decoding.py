"""Turns one stored frame into an array of samples, after checking that it can be what it says.

The decoder of each transfer syntax is fixed, so that the same file gives the same pixels on every
machine: 8-bit JPEG by Pillow, 12-bit and lossless JPEG by GDCM, JPEG-LS by CharLS, JPEG 2000 and
HTJ2K by OpenJPEG, RLE by our own bounded decoder, uncompressed by pydicom.

A stream without its end marker is refused, as is one that was cut and closed again by an end marker,
except in 12-bit and lossless JPEG: GDCM fills what is missing and does not say so.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dermcheck.dicom.attributes import instance_name, read_value
from dermcheck.dicom.codestream import Codestream, parse_jpeg, parse_jpeg2000
from dermcheck.dicom.gdcm_jpeg import decode_by_gdcm
from dermcheck.dicom.header import PhotographHeader
from dermcheck.dicom.image_pixel import ImagePixel
from dermcheck.dicom.jpeg import decode_jpeg, stored_colour
from dermcheck.dicom.limits import check_size
from dermcheck.dicom.rle import decode_rle
from dermcheck.errors import UnreadableImageError

__all__ = ["DECODING_PLUGINS", "decode_frame"]

_LOSSY_JPEG: Final = (JPEGBaseline8Bit, JPEGExtended12Bit)
_LOSSLESS_JPEG: Final = (JPEGLossless, JPEGLosslessSV1)
_JPEG_2000: Final = (JPEG2000, JPEG2000Lossless, HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL)
DECODING_PLUGINS: Final[Mapping[UID, str]] = MappingProxyType(
    {
        JPEGLSLossless: "pyjpegls",
        JPEGLSNearLossless: "pyjpegls",
        **dict.fromkeys(_JPEG_2000, "pylibjpeg"),
    }
)
"""pydicom's name of the decoder of each compressed transfer syntax that is left to it."""


def decode_frame(
    dataset: Dataset,
    header: PhotographHeader,
    pixel: ImagePixel,
    index: int,
    short_side: int | None = None,
) -> tuple[NDArray[Any], str]:
    """Decode one frame.

    Parameters
    ----------
    dataset
        The instance with its pixel data.
    header, pixel
        Its checked header and Image Pixel module.
    index
        The frame, from 0.
    short_side
        Pixels that are needed along the shorter side, None for all: colour in 8-bit JPEG may come reduced, as
        `jpeg.reduced_size` says.

    Returns
    -------
    numpy.ndarray
        (rows, columns) or (rows, columns, 3), 8 or 16 bits a sample, perhaps a read-only view.
    str
        Photometric interpretation of the array: differs from the stored one where the decoder
        has converted already.

    Raises
    ------
    UnreadableImageError
        If the pixel data are missing, too short, of another size than the header says, cut off,
        damaged, or no installed decoder knows them.
    """
    name = instance_name(dataset)
    if read_value(dataset, "PixelData") is None:
        raise UnreadableImageError(
            f"{name}: PixelData is missing, expected {header.rows} × {header.columns} pixels. "
            "The file was cut off or exported without its picture: export it again."
        )
    try:
        if pixel.transfer_syntax.is_encapsulated:
            return _decode_encapsulated(dataset, header, pixel, index, name, short_side)
        return _decode_native(dataset, header, pixel, index, name)
    except UnreadableImageError:
        raise
    except Exception as error:  # decoders raise whatever they like
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImageError(
            f"{name}: PixelData cannot be decoded as {pixel.transfer_syntax.name}: {reason}. "
            "The file is damaged or its kind is not supported: export it again, best as JPEG or uncompressed."
        ) from error


def _decode_native(
    dataset: Dataset, header: PhotographHeader, pixel: ImagePixel, index: int, name: str
) -> tuple[NDArray[Any], str]:
    is_halved = pixel.photometric == "YBR_FULL_422"  # two samples a pixel (PS3.3 C.7.6.3.1.2)
    samples = 2 if is_halved else pixel.samples
    expected = header.rows * header.columns * samples * (pixel.bits_allocated // 8) * header.number_of_frames
    found = len(dataset.PixelData)
    if found < expected:
        is_compressed = dataset.PixelData[:4] == b"\xfe\xff\x00\xe0"
        raise UnreadableImageError(
            f"{name}: PixelData holds {found:,} bytes, expected {expected:,} for Rows {header.rows}, Columns "
            f"{header.columns}, {header.number_of_frames} frame(s). "
            + ("They are compressed, but TransferSyntaxUID says not." if is_compressed else "It is cut off.")
            + " Export it again."
        )
    decoder = get_decoder(pixel.transfer_syntax)
    pixels, properties = decoder.as_array(
        dataset,
        index=index,
        raw=True,
        view_only=True,  # type: ignore[arg-type]  # pydicom types **kwargs as one dictionary
    )
    return pixels, str(properties["photometric_interpretation"])


def _decode_encapsulated(
    dataset: Dataset,
    header: PhotographHeader,
    pixel: ImagePixel,
    index: int,
    name: str,
    short_side: int | None,
) -> tuple[NDArray[Any], str]:
    syntax = pixel.transfer_syntax
    decoder = get_decoder(syntax)  # first: tells that a transfer syntax is not known at all
    offsets = None
    if "ExtendedOffsetTable" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    frame = get_frame(
        dataset.PixelData, index, number_of_frames=header.number_of_frames, extended_offsets=offsets
    )
    if syntax == RLELossless:
        pixels = decode_rle(frame, header.rows, header.columns, pixel.samples, pixel.bits_allocated)
        return pixels, pixel.photometric
    stream = parse_jpeg2000(frame) if syntax in _JPEG_2000 else parse_jpeg(frame)
    _check_stream(stream, header, pixel, f"{name}, the {syntax.name} stream inside")
    if syntax in (*_LOSSY_JPEG, *_LOSSLESS_JPEG):
        return _decode_jpeg(frame, stream, pixel, short_side)
    pixels, properties = decoder.as_array(
        dataset, index=index, raw=True, decoding_plugin=DECODING_PLUGINS.get(syntax, "")
    )
    return pixels, str(properties["photometric_interpretation"])


def _decode_jpeg(
    frame: bytes, stream: Codestream, pixel: ImagePixel, short_side: int | None
) -> tuple[NDArray[Any], str]:
    colour = stored_colour(stream, pixel.photometric)
    if pixel.transfer_syntax in _LOSSY_JPEG and stream.precision == 8:
        if pixel.samples == 3:
            return decode_jpeg(frame, stream, colour, short_side), "RGB"
        return decode_jpeg(frame, stream, colour), pixel.photometric  # grey goes through tables: not averaged
    if pixel.samples == 1:
        samples = decode_by_gdcm(frame, stream, pixel.transfer_syntax, pixel.photometric)
        return (_signed(samples, pixel.bits_stored) if pixel.is_signed else samples), pixel.photometric
    label = "RGB" if colour == "RGB" else "YBR_FULL"
    return decode_by_gdcm(frame, stream, pixel.transfer_syntax, label), label


def _signed(samples: NDArray[Any], bits_stored: int) -> NDArray[Any]:
    """Read the lowest bits as two's complement: JPEG itself knows no signed samples."""
    shift = 16 - bits_stored
    return (samples.astype(np.uint16) << shift).view(np.int16) >> shift


def _check_stream(stream: Codestream, header: PhotographHeader, pixel: ImagePixel, where: str) -> None:
    """Compare a stream's own size with the header's: a decoder would believe the stream."""
    check_size(stream.rows, stream.columns, where)
    for keyword, found, expected in (
        ("Rows", stream.rows, header.rows),
        ("Columns", stream.columns, header.columns),
        ("SamplesPerPixel", stream.components, pixel.samples),
    ):
        if found != expected:
            raise UnreadableImageError(
                f"{where} has {found} {keyword}, expected {expected} as the header says. "
                "Header and picture do not belong together: export it again."
            )
    if not stream.has_end:
        raise UnreadableImageError(
            f"{where} is cut off: its end marker is missing. Copy or export the photograph again."
        )
    if stream.precision > pixel.bits_allocated:
        raise UnreadableImageError(
            f"{where} has {stream.precision} bits a sample, expected at most {pixel.bits_allocated} "
            "(BitsAllocated). Header and picture do not belong together: export it again."
        )
