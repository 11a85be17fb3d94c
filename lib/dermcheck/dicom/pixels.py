"""Pixels of visible-light DICOM images as RGB arrays."""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import convert_color_space

from dermcheck.dicom.attributes import instance_name
from dermcheck.dicom.decoding import decode_frame
from dermcheck.dicom.header import PhotographHeader, read_header
from dermcheck.dicom.image_pixel import ImagePixel, read_image_pixel
from dermcheck.dicom.jpeg import reduced_size
from dermcheck.dicom.lookup_tables import grey_table, palette_table, scaled
from dermcheck.errors import ArgumentError, UnreadableImageError

__all__ = ["RGBImage", "read_rgb"]

RGBImage: TypeAlias = NDArray[np.uint8]  # (rows, columns, 3): red, green, blue

_STRIP_ROWS: Final = 256


def read_rgb(dataset: Dataset, frame: int | None = None, *, short_side: int | None = None) -> RGBImage:
    """Decode one photograph, e.g. Dermoscopic Photography or Secondary Capture, to 8-bit RGB.

    - Colours come back as stored: an ICC profile (PS3.3 C.11.15) is kept in the dataset, not applied.
    - YBR_FULL and YBR_FULL_422 are converted by PS3.3 C.7.6.3.1.2; YBR_ICT and YBR_RCT by the
      JPEG 2000 decoder. In JPEG streams the stream's own markers outrank the label
      (`jpeg.stored_colour`).
    - More (or less) than 8 bits: sample × 255 / (2^BitsStored - 1), rounded. Nothing is stretched
      to the darkest and brightest pixel, so that photographs stay comparable.
    - PALETTE COLOR: entries of 16 bits are scaled by 255 / 65535; tables whose entries all stay
      below 256 are taken for the 8-bit tables that they are, whatever their descriptor says.
    - MONOCHROME1/2: modality LUT, then the first VOI LUT or window as a viewer would show it
      (C.11.1, C.11.2), else the full range of the stored bits; MONOCHROME1 is inverted; the three
      channels are equal.

    Parameters
    ----------
    dataset
        The instance with its pixel data and file meta information.
    frame
        Which frame of a multi-frame Secondary Capture, from 1 as DICOM counts them. Need not be
        given for a single frame; must be given where there are several.
    short_side
        Pixels that are needed along the shorter side: colour in 8-bit JPEG that has at least twice as many
        comes reduced, with at least `short_side` (see `jpeg.decode_jpeg`). None for the whole resolution.

    Returns
    -------
    numpy.ndarray
        (rows, columns, 3) uint8, C-contiguous, writeable, owned by the caller.

    Raises
    ------
    NotAPhotographError
        If it is of another SOP class, or a video.
    ArgumentError
        If there is no such frame.
    UnreadableImageError
        If several frames are stored and none is chosen, or the header or pixels cannot be read.

    >>> from pydicom import Dataset, FileMetaDataset
    >>> from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
    >>> image = Dataset()
    >>> image.file_meta = FileMetaDataset()
    >>> image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    >>> image.SOPClassUID = SecondaryCaptureImageStorage
    >>> image.SOPInstanceUID = image.SeriesInstanceUID = image.StudyInstanceUID = generate_uid()
    >>> image.set_pixel_data(np.full((4, 6, 3), (190, 120, 90), np.uint8), "RGB", bits_stored=8)
    >>> read_rgb(image)[0, 0]
    array([190, 120,  90], dtype=uint8)
    """
    header = read_header(dataset)
    pixel = read_image_pixel(dataset)
    index = _frame_index(header, frame)
    samples, photometric = decode_frame(dataset, header, pixel, index, short_side)
    whole = (header.rows, header.columns)
    if samples.shape[:2] not in (whole, reduced_size(*whole, short_side)):
        raise UnreadableImageError(
            f"{instance_name(dataset)}: PixelData decodes to {samples.shape[0]} × {samples.shape[1]} pixels, "
            f"expected {header.rows} × {header.columns}. Header and picture do not belong together."
        )
    if photometric in ("YBR_FULL", "YBR_FULL_422"):
        return _mapped(samples, _from_ybr(samples, pixel, dataset))
    if photometric == "RGB" and samples.dtype == np.uint8 and pixel.bits_stored == 8:
        # No copy where the decoder's array is already what is asked for.
        return np.require(samples, np.uint8, ["C", "W", "O"]) if samples.base is None else samples.copy("C")
    return _mapped(samples, _by_table(samples, photometric, pixel, dataset))


def _frame_index(header: PhotographHeader, frame: int | None) -> int:
    """Return the chosen frame counted from 0."""
    if frame is None and header.number_of_frames == 1:
        return 0
    if frame is None:
        raise UnreadableImageError(
            f"instance {header.sop_instance_uid}: NumberOfFrames is {header.number_of_frames}, expected 1. "
            "Choose one frame, or store it as a photograph of its own."
        )
    if not 1 <= frame <= header.number_of_frames:
        raise ArgumentError(
            f"instance {header.sop_instance_uid}: there is no frame {frame}, "
            f"expected 1 to {header.number_of_frames}."
        )
    return frame - 1


def _mapped(samples: NDArray[Any], convert: Callable[[NDArray[Any]], NDArray[np.uint8]]) -> RGBImage:
    """Convert strip by strip: what a conversion allocates stays small beside the picture."""
    rgb = np.empty((*samples.shape[:2], 3), np.uint8)
    for top in range(0, len(samples), _STRIP_ROWS):
        strip = convert(samples[top : top + _STRIP_ROWS])
        rgb[top : top + _STRIP_ROWS] = strip[..., None] if strip.ndim == 2 else strip
    return rgb


def _from_ybr(
    samples: NDArray[Any], pixel: ImagePixel, dataset: Dataset
) -> Callable[[NDArray[Any]], NDArray[np.uint8]]:
    if samples.dtype != np.uint8 or pixel.bits_stored != 8:
        raise UnreadableImageError(
            f"{instance_name(dataset)}: BitsStored is {pixel.bits_stored}, expected 8 for "
            f"PhotometricInterpretation {pixel.photometric} (PS3.3 C.7.6.3.1.2)."
        )

    def convert(strip: NDArray[Any]) -> NDArray[np.uint8]:
        rgb: NDArray[np.uint8] = convert_color_space(strip, "YBR_FULL", "RGB")
        return rgb

    return convert


def _by_table(
    samples: NDArray[Any], photometric: str, pixel: ImagePixel, dataset: Dataset
) -> Callable[[NDArray[Any]], NDArray[np.uint8]]:
    """Look every sample up in a table of all values that BitsStored allows."""
    name = instance_name(dataset)
    lowest = -(1 << pixel.bits_stored - 1) if pixel.is_signed else 0
    highest = lowest + (1 << pixel.bits_stored) - 1
    if samples.min() < lowest or samples.max() > highest:
        raise UnreadableImageError(
            f"{name}: PixelData holds values from {samples.min()} to {samples.max()}, expected {lowest} to "
            f"{highest} for BitsStored {pixel.bits_stored}. The header is wrong: export it again."
        )
    stored = np.arange(lowest, highest + 1)
    try:
        if photometric == "RGB":
            table = scaled(stored, lowest, highest)
        elif photometric == "PALETTE COLOR":
            table = palette_table(stored, dataset)
        else:
            table = grey_table(stored, photometric, dataset)
    except (AttributeError, LookupError, NotImplementedError, TypeError, ValueError) as error:
        raise UnreadableImageError(
            f"{name}: the palette, window or lookup table of a {photometric} picture is damaged ({error}). "
            "Export the photograph again, best in colour."
        ) from error
    return lambda strip: table[strip.astype(np.intp) - lowest]
