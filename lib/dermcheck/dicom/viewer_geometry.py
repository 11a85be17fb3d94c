"""Brings the ITK images that viewers send into the geometry of the companion they were drawn on.

The companion's geometry: ITK's axes (left, posterior, superior) without rotation, origin 0, size columns ×
rows × 1, row 0 on top. In it ``[0]`` of an array is the picture as displayed.
"""

# mypy: disable-error-code="no-untyped-call"
# SimpleITK has no types.

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import Final

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the field's own name

from dermcheck.errors import MaskError

__all__ = ["has_detached_pixels", "place_image", "read_viewer_image"]

_SUFFIXES: Final = (".nii", ".nii.gz", ".nrrd")
_IDENTITY: Final = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_NIFTI_HEADER: Final = 352  # bytes before the first pixel, at least
_CROPPED_KEY: Final = "Segmentation_ReferenceImageExtentOffset"
_PARAMETERS_KEY: Final = "Segmentation_ConversionParameters"
_ADVICE: Final = "Draw the outline on this photograph and send it again."


def read_viewer_image(path: Path, shape: tuple[int, int]) -> sitk.Image:
    """Read an image of one slice and turn its axes to left, posterior, superior as far as it states them.

    The size is checked before any pixel is read.

    Parameters
    ----------
    path
        A `.nii.gz`, `.nii` or `.nrrd` file.
    shape
        Rows and columns of the photograph.

    Raises
    ------
    MaskError
        If the file is missing, damaged or of another kind, refers to another file for its pixels, has
        several slices or more pixels than the photograph, or is rotated.
    """
    if not path.name.lower().endswith(_SUFFIXES):
        raise MaskError(f"{path.name}: expected a label map in a file ending in {', '.join(_SUFFIXES)}.")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        if has_detached_pixels(path):
            raise MaskError(
                f"{path.name}: its pixels are in another file. Send one file with header and pixels."
            )
        reader.ReadImageInformation()
        _check_size(reader.GetSize(), shape, path)
        _refuse_truncated_nifti(path, reader)
        image = reader.Execute()
    except (EOFError, OSError, RuntimeError, zlib.error) as error:
        reason = str(error).strip().splitlines()[-1]
        raise MaskError(f"{path.name}: the label map cannot be read ({reason}). Send it again.") from error
    if image.GetDimension() == 2:
        image = _with_header(sitk.JoinSeries(image), image)
    turned = _with_header(sitk.DICOMOrient(image, "LPS"), image)
    if not np.allclose(turned.GetDirection(), _IDENTITY, atol=1e-3):
        raise MaskError(f"{path.name}: the label map is rotated against the photograph. {_ADVICE}")
    return turned


def place_image(image: sitk.Image, shape: tuple[int, int], path: Path) -> tuple[slice, slice]:
    """Return the rows and columns of the photograph that the grid of an image covers.

    A grid of another size may only be one that Slicer cropped: its `.seg.nrrd` says so by an offset, and
    often gives the size of the whole, which must then be the photograph's.

    Raises
    ------
    MaskError
        If it has another size than the photograph and is not cropped from it, or lies elsewhere; the
        message names both sizes.
    """
    (columns, rows, _), origin, spacing = image.GetSize(), image.GetOrigin(), image.GetSpacing()
    column, row = (_pixels(origin[axis], spacing[axis]) for axis in (0, 1))
    is_cropped = _CROPPED_KEY in image.GetMetaDataKeys() and _whole_size(image) in (None, shape)
    fits = 0 <= row <= shape[0] - rows and 0 <= column <= shape[1] - columns
    if not fits or not ((rows, columns) == shape or is_cropped):
        raise MaskError(
            f"{path.name}: the label map is {rows} × {columns} pixels (rows × columns) from row {row}, "
            f"column {column} on, the photograph {shape[0]} × {shape[1]}. {_ADVICE}"
        )
    return slice(row, row + rows), slice(column, column + columns)


def _whole_size(image: sitk.Image) -> tuple[int, int] | None:
    """Return rows and columns of the image that Slicer's segmentation was drawn on, if its header tells.

    Among the conversion parameters stand a matrix of 4 × 4 numbers and the first and last index of
    columns, rows and slices.
    """
    parameters = image.GetMetaData(_PARAMETERS_KEY) if _PARAMETERS_KEY in image.GetMetaDataKeys() else ""
    numbers = re.search(
        r"Reference image geometry\|(?:[^;|]*;){16}(-?\d+);(-?\d+);(-?\d+);(-?\d+);", parameters
    )
    if numbers is None:
        return None
    first_column, last_column, first_row, last_row = map(int, numbers.groups())
    return last_row - first_row + 1, last_column - first_column + 1


def _pixels(origin: float, spacing: float) -> int:
    return round(origin / spacing) if math.isfinite(origin) and spacing > 0 else -1


def _check_size(size: tuple[int, ...], shape: tuple[int, int], path: Path) -> None:
    if math.prod(size) > math.prod(shape) or sorted(size, reverse=True)[2:] not in ([], [1]):
        raise MaskError(
            f"{path.name}: the label map is {' × '.join(map(str, size))} pixels (columns × rows × slices), "
            f"the photograph {shape[1]} × {shape[0]} × 1. {_ADVICE}"
        )


def has_detached_pixels(path: Path) -> bool:
    """Tell whether a NRRD header names another file for its pixels: it could be any file of this machine."""
    if not path.name.lower().endswith(".nrrd"):
        return False
    with path.open("rb") as file:
        header = file.read(1_000_000).replace(b"\r\n", b"\n").split(b"\n\n", 1)[0]
    return re.search(rb"^\s*data ?file\s*:", header, re.IGNORECASE | re.MULTILINE) is not None


def _refuse_truncated_nifti(path: Path, reader: sitk.ImageFileReader) -> None:
    """Refuse NIfTI whose pixels are cut off: ITK would read zeros in their place without a word."""
    if path.name.lower().endswith(".nrrd"):
        return  # there ITK notices
    bytes_per_value = sitk.GetArrayFromImage(sitk.Image(1, 1, reader.GetPixelID())).itemsize
    expected = _NIFTI_HEADER + math.prod(reader.GetSize()) * reader.GetNumberOfComponents() * bytes_per_value
    found = 0
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        while found < expected and (chunk := file.read(min(expected - found, 1 << 20))):
            found += len(chunk)
        if found == expected:
            file.read(1 << 20)  # the end of the stream, with its checksum
    if found < expected:
        raise OSError(f"it holds {found} bytes, expected {expected}")


def _with_header(image: sitk.Image, source: sitk.Image) -> sitk.Image:
    """Copy the header's keys, which filters drop."""
    for key in source.GetMetaDataKeys():
        image.SetMetaData(key, source.GetMetaData(key))
    return image
