"""Images and masks as viewers exchange them: `.nrrd` companions, `.nii.gz` and `.seg.nrrd` label maps.

3D Slicer cannot open Dermoscopic Photography, so it gets an RGB companion of the photograph and answers
with a label map in the companion's geometry (`dermcheck.dicom.viewer_geometry`). Arrays go in and out
as ``array[None]`` and ``[0]``; other ways of handing pictures to ITK land them mirrored or transposed.
"""

# mypy: disable-error-code="no-untyped-call"
# SimpleITK has no types.

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the field's own name
from numpy.typing import NDArray

from dermcheck.dicom.pixels import RGBImage
from dermcheck.dicom.segments import LesionMask
from dermcheck.dicom.viewer_geometry import place_image, read_viewer_image
from dermcheck.errors import MaskError, StorageError

__all__ = [
    "LabelMap",
    "NamedMask",
    "read_label_map",
    "read_named_masks",
    "write_companion",
    "write_label_map",
]

LabelMap: TypeAlias = NDArray[np.uint8]
"""(rows, columns) of segment values; 0 is background."""


@dataclass(frozen=True, slots=True, eq=False)
class NamedMask:
    """One segment of a label map file."""

    value: int
    """Its value in the label map, 1 to 255."""
    name: str | None
    """Its name in a `.seg.nrrd`; None in formats without names."""
    mask: LesionMask


def write_companion(pixels: RGBImage, spacing_mm: tuple[float, float] | None, path: Path) -> None:
    """Write a photograph as the RGB `.nrrd` that Slicer opens.

    It is not compressed, as that would take most of the time between a click and the picture.

    Parameters
    ----------
    pixels
        (rows, columns, 3).
    spacing_mm
        Between rows and between columns, or None: then 1, which is a placeholder.
    path
        Ends in ``.nrrd``; its folder exists.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    _write(sitk.GetImageFromArray(pixels[None], isVector=True), spacing_mm, path, compress=False)


def write_label_map(label_map: LabelMap, spacing_mm: tuple[float, float] | None, path: Path) -> None:
    """Write a label map in the geometry of the companion, compressed.

    Parameters
    ----------
    label_map
        (rows, columns).
    spacing_mm
        As for the companion.
    path
        Ends in ``.nrrd`` or ``.nii.gz``; its folder exists.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    _write(sitk.GetImageFromArray(label_map.astype(np.uint8)[None]), spacing_mm, path, compress=True)


def read_label_map(path: Path, shape: tuple[int, int]) -> tuple[LabelMap, dict[int, str]]:
    """Read a label map that a viewer drew on a companion; tolerates what `read_named_masks` does.

    Where segments overlap, which a `.seg.nrrd` with layers allows, the later one covers the earlier.

    Parameters
    ----------
    path
        A `.nii.gz`, `.nii`, `.nrrd` or `.seg.nrrd` file.
    shape
        Rows and columns of the photograph.

    Returns
    -------
    label_map
        Of the photograph's shape.
    names
        Names by value, where the file has them; also of segments without pixels.

    Raises
    ------
    MaskError
        As `read_named_masks`.
    """
    label_map = np.zeros(shape, np.uint8)
    names = {}
    for segment in read_named_masks(path, shape):
        label_map[segment.mask] = segment.value
        if segment.name is not None:
            names[segment.value] = segment.name
    return label_map, names


def read_named_masks(path: Path, shape: tuple[int, int]) -> list[NamedMask]:
    """Read the segments that a viewer drew on a companion, each as a mask of its own.

    Tolerated:

    - Axes flipped or swapped (RAS, LAI…) as long as origin and direction say so: they are turned into
      the companion's. Nothing is known of a turn that is not stated.
    - A cropped grid, as Slicer writes `.seg.nrrd`: its origin says where it lies. Less than half a
      pixel counts as none.
    - Segments in layers (4D `.seg.nrrd`), which may overlap and use the same label value: then they are
      numbered 1, 2, 3… in the file's order.
    - Whole numbers stored as floats or wide integers; values without a described segment.
    - Two dimensions in place of three.

    Parameters
    ----------
    path
        A `.nii.gz`, `.nii`, `.nrrd` or `.seg.nrrd` file.
    shape
        Rows and columns of the photograph.

    Returns
    -------
    list of NamedMask
        In the file's order; described segments first, also those without pixels.

    Raises
    ------
    MaskError
        If the file is damaged or of another kind, has another size or lies elsewhere (the message
        names both sizes), is rotated, has several slices, or holds values other than 0 to 255.
    """
    image = read_viewer_image(path, shape)
    rows, columns = place_image(image, shape, path)
    layers = _whole_numbers(sitk.GetArrayFromImage(image)[0], path)
    if layers.ndim == 2:
        layers = layers[:, :, None]
    described = _described_segments(image, path)
    if layers.shape[2] > 1 and not described:
        raise MaskError(
            f"{path.name}: it holds {layers.shape[2]} values a pixel. Send a label map, not an image."
        )
    segments = [*described, *_undescribed_segments(described, layers)]
    values = [segment.value for segment in segments]
    if len(set(values)) < len(values):
        values = list(range(1, len(values) + 1))
    masks = []
    for segment, value in zip(segments, values, strict=True):
        mask = np.zeros(shape, np.bool_)
        mask[rows, columns] = layers[:, :, segment.layer] == segment.value
        masks.append(NamedMask(value, segment.name, mask))
    return masks


@dataclass(frozen=True, slots=True)
class _Segment:
    name: str | None
    value: int
    layer: int


def _described_segments(image: sitk.Image, path: Path) -> list[_Segment]:
    """Read what Slicer says of its segments in the header of a `.seg.nrrd`.

    Before Slicer 4.11 each segment was a layer of its own with the value 1, and neither was said.
    """
    keys = set(image.GetMetaDataKeys())
    numbers = {int(found[1]) for key in keys if (found := re.fullmatch(r"Segment(\d+)_(?:ID|Name)", key))}
    layers = image.GetNumberOfComponentsPerPixel()

    segments = []
    for place, number in enumerate(sorted(numbers)):
        fields = {
            field: image.GetMetaData(key) if (key := f"Segment{number}_{field}") in keys else default
            for field, default in (
                ("Name", ""),
                ("LabelValue", "1"),
                ("Layer", str(place if layers > 1 else 0)),
            )
        }
        value, layer = fields["LabelValue"].strip(), fields["Layer"].strip()
        if not (value.isdecimal() and 0 < int(value) <= 255 and layer.isdecimal() and int(layer) < layers):
            raise MaskError(
                f"{path.name}: segment {number} has the LabelValue {value!r} in Layer {layer!r}, expected 1 "
                f"to 255 and less than {layers}. Send the segmentation again."
            )
        segments.append(_Segment(fields["Name"].strip() or None, int(value), int(layer)))
    return segments


def _undescribed_segments(segments: list[_Segment], layers: NDArray[np.uint8]) -> list[_Segment]:
    found = []
    for layer in range(layers.shape[2]):
        known = {0, *(segment.value for segment in segments if segment.layer == layer)}
        found += [
            _Segment(None, int(value), layer)
            for value in np.unique(layers[:, :, layer])
            if value not in known
        ]
    return found


def _whole_numbers(values: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    converted = values.astype(np.uint8)
    if not np.array_equal(converted, values):
        raise MaskError(
            f"{path.name}: the label map holds values from {values.min()} to {values.max()}, expected whole "
            "numbers from 0 to 255. Send a label map, not an image."
        )
    return converted


def _write(image: sitk.Image, spacing_mm: tuple[float, float] | None, path: Path, *, compress: bool) -> None:
    row_spacing, column_spacing = spacing_mm or (1.0, 1.0)
    image.SetSpacing((column_spacing, row_spacing, 1.0))
    try:
        sitk.WriteImage(image, str(path), useCompression=compress)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise StorageError(f"{path}: the image for the viewer cannot be written ({reason}).") from error
