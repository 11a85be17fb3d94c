"""Reads JPEG, PNG and TIFF photos, which are not DICOM, as RGB arrays."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile

from dermcheck.dicom.codestream import Codestream, parse_jpeg
from dermcheck.dicom.files import describe_content, file_name, open_file
from dermcheck.dicom.jpeg import PROGRESSIVE, copy_picture, decode_jpeg, stored_colour
from dermcheck.dicom.limits import check_size
from dermcheck.dicom.lookup_tables import scaled
from dermcheck.dicom.pixels import RGBImage
from dermcheck.errors import UnreadableImageError

__all__ = ["Picture", "decode_picture", "open_picture", "read_picture"]

_FORMATS: Final = ("JPEG", "PNG", "TIFF")  # a JPEG with further pictures behind it becomes MPO
_SIXTEEN_BIT: Final = ("I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One photo file, checked against the limits but not decoded yet."""

    name: str
    """The file's name for messages."""
    content: bytes
    """The whole file."""
    image: ImageFile.ImageFile
    """Pillow's view on `content`, not loaded."""
    stream: Codestream | None
    """The frame header of a JPEG; None for PNG and TIFF."""
    orientation: int
    """EXIF orientation, 1 (upright) to 8."""

    exif: Mapping[int, object]
    """EXIF tags of the photo and of its camera, as Pillow reads them; empty where there are none."""

    bits: int
    """Bits of one sample as stored, 8 or 16 (also 8 for black and white)."""

    @property
    def description(self) -> str:
        """What the file is, e.g. ``a progressive JPEG photo, EXIF orientation 6``."""
        kind = "JPEG" if self.stream else str(self.image.format)
        if self.stream and self.stream.process == PROGRESSIVE:
            kind = f"progressive {kind}"
        parts = [f"a {kind} photo"]
        if self.image.mode not in ("RGB", "L"):
            parts.append(f"mode {self.image.mode}")
        if self.bits == 16:
            parts.append("16 bits reduced to 8")
        if self.orientation != 1:
            parts.append(f"EXIF orientation {self.orientation}")
        return ", ".join(parts)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the upright picture."""
        return _turned(self.image.height, self.image.width, self.orientation)

    @property
    def icc_profile(self) -> bytes | None:
        """The embedded ICC profile as it is."""
        return self.image.info.get("icc_profile") or None


def read_picture(path: Path, short_side: int | None = None) -> RGBImage:
    """Decode one JPEG, PNG or TIFF photo to 8-bit RGB, upright.

    - EXIF orientation is honoured: row 0 is the top for someone who looks at the photo.
    - An ICC profile is not applied, as for DICOM photographs (`pixels.read_rgb`).
    - Grey becomes three equal channels, CMYK goes through Pillow's plain conversion. 16-bit grey is
      scaled by 255 / 65535; of 16-bit colour Pillow keeps the high byte.
    - A fully opaque alpha channel is dropped. Of a multi-picture JPEG (MPO) the first counts.

    Parameters
    ----------
    path
        The photo.
    short_side
        Pixels that are needed along the shorter side: a JPEG that has at least twice as many comes reduced,
        with at least `short_side` (see `jpeg.decode_jpeg`). None for the whole resolution.

    Returns
    -------
    numpy.ndarray
        (rows, columns, 3) uint8, owned by the caller.

    Raises
    ------
    NotFoundError, StorageError
        If the file is not there, or the system does not let us read it.
    UnreadableImageError
        If it is empty, too large, of another kind, cut off, has transparent parts or several pages.
    """
    with open_picture(path) as picture:
        return decode_picture(picture, short_side)


@contextmanager
def open_picture(path: Path, content: bytes | None = None) -> Iterator[Picture]:
    """Open one photo and check its size, before anything of it is decoded.

    Parameters
    ----------
    path
        The photo.
    content
        The whole file, where it has been read already; `path` then only names it.

    Raises
    ------
    NotFoundError, StorageError, UnreadableImageError
        As `read_picture` does.
    """
    name = file_name(path)
    if content is None:
        with open_file(path) as file:
            content = file.read()
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f"{name}: {error}. Make the photograph smaller.") from error
    except Exception as error:  # damaged files make Pillow raise whatever they like
        raise UnreadableImageError(
            f"{name}: this is not a readable JPEG, PNG or TIFF photo, it {describe_content(content[:512])}. "
            "Copy or export it again."
        ) from error
    with image:
        check_size(image.height, image.width, name)
        yield _checked(name, content, image)


def _checked(name: str, content: bytes, image: ImageFile.ImageFile) -> Picture:
    try:
        pages = getattr(image, "n_frames", 1) if image.format in ("PNG", "TIFF") else 1
        stream = parse_jpeg(content) if image.format in ("JPEG", "MPO") else None
        exif = image.getexif()
        tags = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
        orientation = tags.get(ExifTags.Base.Orientation, 1)
    except Exception as error:
        raise _damaged(name, error) from error
    if pages != 1:
        raise UnreadableImageError(f"{name}: the file holds {pages} pages, expected 1. Save the photo alone.")
    if stream is not None and (stream.rows, stream.columns) != (image.height, image.width):
        raise UnreadableImageError(f"{name}: the JPEG file states two different sizes, it is damaged.")
    if orientation not in range(1, 9) or image.format == "TIFF":  # Pillow turns a TIFF while it loads it
        orientation = 1
    bits = 16 if image.mode in _SIXTEEN_BIT or any("16" in str(tile.args) for tile in image.tile) else 8
    return Picture(name, content, image, stream, orientation, MappingProxyType(tags), bits)


def decode_picture(picture: Picture, short_side: int | None = None) -> RGBImage:
    """Decode an opened photo to upright RGB; see `read_picture`."""
    try:
        return _decode(picture, short_side)
    except UnreadableImageError:
        raise
    except Exception as error:
        raise _damaged(picture.name, error) from error


def _damaged(name: str, error: Exception) -> UnreadableImageError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return UnreadableImageError(
        f"{name}: the photo is damaged or cut off ({reason}). Copy or export it again."
    )


def _decode(picture: Picture, short_side: int | None) -> RGBImage:
    image, stream = picture.image, picture.stream
    if stream is not None and stream.components in (1, 3) and stream.precision == 8:
        samples = decode_jpeg(picture.content, stream, stored_colour(stream, None), short_side)
        if samples.ndim == 3 and picture.orientation == 1:
            return samples
        rgb = np.empty((*_turned(samples.shape[0], samples.shape[1], picture.orientation), 3), np.uint8)
        _as_stored(rgb, picture.orientation)[:] = samples[..., None] if samples.ndim == 2 else samples
        return rgb
    rgb = np.empty((*picture.size, 3), np.uint8)
    upright = _as_stored(rgb, picture.orientation)
    if image.mode in _SIXTEEN_BIT:
        upright[:] = scaled(np.asarray(image), 0, 65535)[..., None]
    elif image.mode in ("RGB", "L", "1", "P", "CMYK", "YCbCr", "LAB", "RGBA", "LA", "PA", "RGBX"):
        _check_opaque(picture)
        copy_picture(image if image.mode == "RGB" else image.convert("RGB"), upright)
    else:
        raise UnreadableImageError(
            f"{picture.name}: the pixels are of kind {image.mode}, expected colour (RGB) or grey."
        )
    return rgb


def _check_opaque(picture: Picture) -> None:
    image = picture.image
    if not image.has_transparency_data:
        return
    alpha = image.convert("RGBA").getchannel("A")
    lowest, _ = alpha.getextrema()
    if lowest != 255:
        raise UnreadableImageError(
            f"{picture.name}: parts of the photo are transparent, expected an opaque photo. "
            "Save it without transparency (alpha channel)."
        )


def _turned(rows: int, columns: int, orientation: int) -> tuple[int, int]:
    """Size of a picture after its EXIF orientation has been followed."""
    return (rows, columns) if orientation < 5 else (columns, rows)


def _as_stored(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return the view on an upright picture in which rows and columns lie as they are stored.

    The inverse of what an EXIF orientation asks for (CIPA DC-008, tag 0x0112): decoded rows written
    into the view land upright, without a rotated copy.
    """
    view = upright.swapaxes(0, 1) if orientation >= 5 else upright
    mirrored_rows = orientation in (3, 4, 6, 7)
    mirrored_columns = orientation in (2, 3, 7, 8)
    return view[:: -1 if mirrored_rows else 1, :: -1 if mirrored_columns else 1]
