"""The photographs a viewer may ask about: of the studies, or sent along by the viewer itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import SimpleITK

from dermcheck.dicom.limits import check_file_size, check_size
from dermcheck.dicom.photograph import read_photograph, read_picture
from dermcheck.dicom.pixels import RGBImage
from dermcheck.dicom.viewer_geometry import has_detached_pixels
from dermcheck.errors import UnreadableImageError

if TYPE_CHECKING:
    from pydicom import Dataset

    from dermcheck.dicom.photograph import Photograph

__all__ = ["SentPhotograph", "SourceImage", "read_sent", "read_upload"]

_VOLUME_SUFFIXES: Final = (".nrrd", ".nii", ".nii.gz")
"""Formats in which 3D Slicer sends the volume it shows."""


@dataclass(frozen=True, eq=False)
class SourceImage:
    """One photograph to predict on."""

    name: str
    """Image id or name of the uploaded file, for messages."""
    pixels: RGBImage
    spacing_mm: tuple[float, float] | None = None
    """(row, column) spacing, where the photograph has one."""
    dataset: Dataset | None = None
    """The DICOM object, where it is one."""
    geometry: SimpleITK.Image | None = None
    """The uploaded volume, where it is one: the answer takes over its place in space."""

    @classmethod
    def from_photograph(cls, photograph: Photograph, name: str) -> SourceImage:
        """Take a DICOM photograph."""
        return cls(name, photograph.pixels, photograph.header.pixel_spacing_mm, photograph.dataset)


@dataclass(frozen=True)
class SentPhotograph:
    """A photograph that a viewer sent along, as its file was."""

    name: str
    """Of the file, without a path."""
    content: bytes = field(repr=False)


def read_sent(path: Path) -> SentPhotograph:
    """Take a file as it was sent, if it is not too large; `read_upload` then reads it.

    Raises
    ------
    UnreadableImageError
        If it is too large or empty.
    """
    check_file_size(path.stat().st_size, path.name)
    return SentPhotograph(path.name, path.read_bytes())


def read_upload(path: Path) -> SourceImage:
    """Read a photograph that a viewer sent: DICOM, JPEG, PNG or TIFF, or Slicer's NRRD or NIfTI.

    Raises
    ------
    UnreadableImageError
        If it is damaged, too large, or not one 8-bit photograph. The message names the file as it
        was sent, never its place on the server.
    """
    try:
        return _read(path)
    except UnreadableImageError as error:
        raise type(error)(str(error).replace(str(path), path.name)) from error


def _read(path: Path) -> SourceImage:
    check_file_size(path.stat().st_size, path.name)
    if path.name.lower().endswith(_VOLUME_SUFFIXES):
        return _read_volume(path)
    content = path.read_bytes()
    if content[128:132] == b"DICM" or path.suffix.lower() in (".dcm", ".dicom"):
        return SourceImage.from_photograph(read_photograph(content), path.name)
    return SourceImage(path.name, read_picture(path))


def _read_volume(path: Path) -> SourceImage:
    """Read a volume of one slice with one (grey), three (RGB) or four (RGBA) bytes a pixel."""
    if has_detached_pixels(path):
        raise UnreadableImageError(
            f"{path.name}: its pixels are in another file. Send one file with header and pixels."
        )
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        _check_volume(reader, path.name)
        volume = reader.Execute()
    except RuntimeError as error:
        raise UnreadableImageError(
            f"{path.name}: this is not a readable NRRD or NIfTI file. Save it again in the viewer."
        ) from error
    array = SimpleITK.GetArrayViewFromImage(volume)
    components = volume.GetNumberOfComponentsPerPixel()
    rows, columns = volume.GetSize()[1], volume.GetSize()[0]
    channels = array.reshape(rows, columns, components)[..., : 3 if components >= 3 else 1]
    pixels = np.array(np.broadcast_to(channels, (rows, columns, 3)))  # a copy: `array` is the volume's own
    if volume.GetDimension() == 2:  # what remains of a NIfTI volume of one slice
        volume = SimpleITK.JoinSeries(volume)
    return SourceImage(path.name, pixels, geometry=volume)


def _check_volume(reader: SimpleITK.ImageFileReader, name: str) -> None:
    """Compare what the header states with what a photograph is, before anything is allocated."""
    size, components = reader.GetSize(), reader.GetNumberOfComponents()
    check_size(size[1] if len(size) > 1 else 0, size[0], f"{name} (header)")
    kind = SimpleITK.GetPixelIDValueAsString(reader.GetPixelID())
    is_photograph = (
        reader.GetPixelID() in (SimpleITK.sitkUInt8, SimpleITK.sitkVectorUInt8)
        and components in (1, 3, 4)
        and all(depth == 1 for depth in size[2:])
    )
    if not is_photograph:
        raise UnreadableImageError(
            f"{name}: the volume holds {' × '.join(map(str, size))} pixels of {kind} with {components} "
            "components, expected one slice of 8-bit grey, RGB or RGBA. Send a photograph."
        )
