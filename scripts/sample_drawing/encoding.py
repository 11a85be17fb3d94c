"""Pixels into a DICOM instance, in any of the transfer syntaxes that the samples show.

pydicom encodes RLE, JPEG-LS and JPEG 2000, Pillow JPEG, GDCM lossless JPEG, and OpenJPH's program
`ojph_compress` HTJ2K (no Python package of ours encodes it).
"""

import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.encoders.base import get_encoder
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

__all__ = [
    "LOSSY_METHODS",
    "UNCOMPRESSED",
    "EncoderMissingError",
    "Encoding",
    "encoder_missing",
    "store_pixels",
]

Frames = npt.NDArray[np.uint8]  # (frames, rows, columns, 3): red, green, blue

LOSSY_METHODS: Mapping[UID, str] = MappingProxyType(
    {
        JPEGBaseline8Bit: "ISO_10918_1",
        JPEGExtended12Bit: "ISO_10918_1",
        JPEGLSNearLossless: "ISO_14495_1",
        JPEG2000: "ISO_15444_1",
    }
)
"""Lossy Image Compression Method (0028,2114) of the lossy transfer syntaxes, PS3.3 C.7.6.1.1.5.2."""


class EncoderMissingError(RuntimeError):
    """A program that encodes this transfer syntax is not installed."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How pixels are stored."""

    transfer_syntax: UID = ExplicitVRLittleEndian
    photometric: str = "RGB"
    """Photometric Interpretation (0028,0004), PS3.3 C.7.6.3.1.2."""
    planar_configuration: int = 0
    """0 colour by pixel, 1 colour by plane."""
    quality: int = 88
    """JPEG quality, 1 to 95."""
    error: int = 2
    """Greatest error of a sample for near-lossless JPEG-LS."""
    ratio: float = 14.0
    """Compression ratio for lossy JPEG 2000."""


UNCOMPRESSED = Encoding()
"""RGB by pixel, explicit VR little endian."""


def encoder_missing(transfer_syntax: UID) -> str | None:
    """Say in a sentence what to install before this transfer syntax can be encoded; None if nothing."""
    if transfer_syntax == HTJ2KLossless and shutil.which("ojph_compress") is None:
        return "HTJ2K needs OpenJPH's program ojph_compress (Debian and Ubuntu: apt install openjph-tools)."
    return None


def store_pixels(dataset: Dataset, frames: Frames, encoding: Encoding) -> None:
    """Set the Image Pixel module (PS3.3 C.7.6.3) and what it says of lossy compression.

    Parameters
    ----------
    dataset : Dataset
        Changed in place; its `file_meta` gets the transfer syntax.
    frames : Frames
        One or several photographs of one size, RGB.
    encoding : Encoding
        Transfer syntax and photometric interpretation; the caller chooses a lawful pair.

    Raises
    ------
    EncoderMissingError
        If the encoder is a program that is not installed.
    """
    _describe(dataset, frames, encoding)
    dataset.file_meta.TransferSyntaxUID = encoding.transfer_syntax
    encode = _CODECS.get(encoding.transfer_syntax)
    if encode is None:
        _store_native(dataset, frames, encoding)
    else:
        codestreams = [encode(frame, encoding) for frame in _to_samples(frames, encoding)]
        dataset.PixelData = encapsulate(codestreams)
        dataset["PixelData"].VR = "OB"
    dataset.LossyImageCompression = "00"
    if encoding.transfer_syntax in LOSSY_METHODS:
        dataset.LossyImageCompression = "01"
        dataset.LossyImageCompressionRatio = round(frames.nbytes / sum(map(len, codestreams)), 2)
        dataset.LossyImageCompressionMethod = LOSSY_METHODS[encoding.transfer_syntax]


def _describe(dataset: Dataset, frames: Frames, encoding: Encoding) -> None:
    grey_or_index = encoding.photometric in ("MONOCHROME2", "PALETTE COLOR")
    dataset.Rows, dataset.Columns = frames.shape[1:3]
    dataset.SamplesPerPixel = 1 if grey_or_index else 3
    dataset.PhotometricInterpretation = encoding.photometric
    if not grey_or_index:
        dataset.PlanarConfiguration = encoding.planar_configuration
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0


def _to_samples(frames: Frames, encoding: Encoding) -> npt.NDArray[np.uint8]:
    """Change colours where the codec does not: JPEG and JPEG 2000 encoders turn RGB into YBR themselves."""
    if encoding.photometric == "YBR_FULL":
        return np.asarray(convert_color_space(frames, "RGB", "YBR_FULL"))
    if encoding.photometric == "MONOCHROME2":
        return np.stack([np.asarray(Image.fromarray(frame).convert("L")) for frame in frames])
    return frames


def _store_native(dataset: Dataset, frames: Frames, encoding: Encoding) -> None:
    if encoding.photometric == "PALETTE COLOR":
        stored = _to_palette(dataset, frames)
    else:
        stored = _to_samples(frames, encoding)
        if encoding.planar_configuration == 1:
            stored = stored.transpose(0, 3, 1, 2)
    dataset.PixelData = stored.tobytes() + b"\0" * (stored.size % 2)


def _to_palette(dataset: Dataset, frames: Frames) -> npt.NDArray[np.uint8]:
    """Choose 256 colours and write the three lookup tables (PS3.3 C.7.6.3.1.5), 16 bits an entry."""
    picture = Image.fromarray(frames.reshape(-1, *frames.shape[2:])).quantize(256, dither=Image.Dither.NONE)
    colours = np.zeros((256, 3), dtype=np.uint8)
    chosen = np.array(picture.getpalette(), dtype=np.uint8).reshape(-1, 3)
    colours[: len(chosen)] = chosen
    for channel, name in enumerate(("Red", "Green", "Blue")):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        table = colours[:, channel].astype("<u2") * 257  # 255 becomes 65535
        setattr(dataset, f"{name}PaletteColorLookupTableData", table.astype("<u2").tobytes())
    return np.asarray(picture)


def _pydicom_codec(plugin: str) -> Callable[[npt.NDArray[np.uint8], Encoding], bytes]:
    """Encode with pydicom; the plug-in is named so that the bytes do not depend on what else is installed."""

    def encode(samples: npt.NDArray[np.uint8], encoding: Encoding) -> bytes:
        options: dict[str, Any] = {}
        if encoding.transfer_syntax == JPEGLSNearLossless:
            options["jls_error"] = encoding.error
        if encoding.transfer_syntax == JPEG2000:
            options["j2k_cr"] = [encoding.ratio]
        codestream: bytes = get_encoder(encoding.transfer_syntax).encode(
            samples,
            rows=samples.shape[0],
            columns=samples.shape[1],
            samples_per_pixel=1 if samples.ndim == 2 else 3,
            photometric_interpretation=encoding.photometric,
            planar_configuration=encoding.planar_configuration,
            bits_allocated=8,
            bits_stored=8,
            pixel_representation=0,
            number_of_frames=1,
            encoding_plugin=plugin,
            **options,
        )
        return codestream

    return encode


def _jpeg(samples: npt.NDArray[np.uint8], encoding: Encoding) -> bytes:
    """Baseline JPEG; colours share chroma between two neighbours, as YBR_FULL_422 says."""
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, "JPEG", quality=encoding.quality, subsampling="4:2:2")
    return buffer.getvalue()


def _jpeg_extended(samples: npt.NDArray[np.uint8], encoding: Encoding) -> bytes:
    """Make a baseline stream an extended sequential one (SOF1), of which it is a special case."""
    baseline = _jpeg(samples, encoding)
    start = baseline.index(b"\xff\xc0")
    return baseline[:start] + b"\xff\xc1" + baseline[start + 2 :]


def _jpeg_lossless(samples: npt.NDArray[np.uint8], encoding: Encoding) -> bytes:
    """JPEG process 14, first-order prediction, by GDCM; RGB without a colour transform.

    Through files: GDCM's image objects made from Python end the process when they are freed in the
    wrong order.
    """
    import gdcm  # type: ignore[import-untyped]

    with tempfile.TemporaryDirectory() as folder:
        plain, compressed = Path(folder, "plain.dcm"), Path(folder, "compressed.dcm")
        _minimal_instance(samples).save_as(plain, enforce_file_format=True)
        reader = gdcm.ImageReader()
        reader.SetFileName(str(plain))
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(compressed))
        if not reader.Read():
            raise RuntimeError("GDCM could not read the picture to compress")
        change.SetInput(reader.GetImage())
        if not change.Change():
            raise RuntimeError(f"GDCM could not encode {encoding.transfer_syntax.name}")
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        if not writer.Write():
            raise RuntimeError("GDCM could not write the compressed picture")
        fragments = generate_frames(dcmread(compressed).PixelData, number_of_frames=1)
        return next(fragments)


def _minimal_instance(samples: npt.NDArray[np.uint8]) -> Dataset:
    """As much of an instance as GDCM needs to find the pixels."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    _describe(dataset, samples[np.newaxis], UNCOMPRESSED)
    dataset.PixelData = samples.tobytes()
    return dataset


def _htj2k(samples: npt.NDArray[np.uint8], encoding: Encoding) -> bytes:
    """Reversible HTJ2K with the reversible colour transform (YBR_RCT)."""
    if problem := encoder_missing(encoding.transfer_syntax):
        raise EncoderMissingError(problem)
    with tempfile.TemporaryDirectory() as folder:
        picture, codestream = Path(folder, "picture.ppm"), Path(folder, "picture.j2c")
        Image.fromarray(samples).save(picture)
        command = ["ojph_compress", "-i", str(picture), "-o", str(codestream), "-reversible", "true"]
        subprocess.run(command, check=True, capture_output=True)
        return codestream.read_bytes()


_CODECS: Mapping[UID, Callable[[npt.NDArray[np.uint8], Encoding], bytes]] = MappingProxyType(
    {
        HTJ2KLossless: _htj2k,
        JPEG2000: _pydicom_codec("pylibjpeg"),
        JPEG2000Lossless: _pydicom_codec("pylibjpeg"),
        JPEGBaseline8Bit: _jpeg,
        JPEGExtended12Bit: _jpeg_extended,
        JPEGLosslessSV1: _jpeg_lossless,
        JPEGLSLossless: _pydicom_codec("pyjpegls"),
        JPEGLSNearLossless: _pydicom_codec("pyjpegls"),
        RLELossless: _pydicom_codec("pydicom"),
    }
)
"""Encoders of the encapsulated transfer syntaxes; all others are stored natively."""
