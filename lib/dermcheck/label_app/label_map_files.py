"""Label maps as the files that viewers ask for."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import SimpleITK

from dermcheck.dicom.viewer_masks import write_label_map
from dermcheck.lesions import LESION_CLASSES

if TYPE_CHECKING:
    from dermcheck.label_app.source_image import SourceImage

__all__ = ["LABEL_MAP_SUFFIXES", "encode_answer"]

LABEL_MAP_SUFFIXES: Final = (".nrrd", ".nii.gz", ".seg.nrrd")
"""What `encode_answer` can make; the first is what 3D Slicer asks for."""

_COLOURS: Final = {lesion.meaning: lesion.colour for lesion in LESION_CLASSES}
_OTHER_COLOUR: Final = (255, 255, 255)
_GZIP: Final = 16 + zlib.MAX_WBITS
_NRRD: Final = """NRRD0004
type: unsigned char
dimension: 3
space: left-posterior-superior
sizes: {columns} {rows} 1
space directions: ({column_spacing!r},0,0) (0,{row_spacing!r},0) (0,0,1)
kinds: domain domain domain
encoding: gzip
space origin: (0,0,0)

"""
"""The header of a companion's label map (https://teem.sourceforge.net/nrrd/format.html), as ITK writes it."""


def encode_answer(
    label_map: npt.NDArray[np.uint8], names: Mapping[str, int], source: SourceImage, suffix: str
) -> bytes:
    """Make the file of a label map that covers its photograph exactly in the viewer.

    Parameters
    ----------
    label_map
        (rows, columns), of the photograph's size.
    names
        Segment name -> value. Only a `.seg.nrrd` file has a place for them.
    source
        Gives the place in space: that of the uploaded volume, else the companion's.
    suffix
        One of `LABEL_MAP_SUFFIXES`.
    """
    if suffix == ".nrrd" and source.geometry is None:
        return _nrrd(label_map, source.spacing_mm)
    with tempfile.TemporaryDirectory(prefix="dermcheck-") as folder:
        path = Path(folder, f"mask{suffix}")
        _write(label_map, names, source, path)
        return path.read_bytes()


def _write(
    label_map: npt.NDArray[np.uint8], names: Mapping[str, int], source: SourceImage, path: Path
) -> None:
    named = path.name.endswith(".seg.nrrd")
    if source.geometry is None and not named:
        write_label_map(label_map, source.spacing_mm, path)
        return
    image = _placed(label_map, source, path.with_suffix(".plain.nrrd"))
    if named:
        _describe_segments(image, label_map, names)
    SimpleITK.WriteImage(image, str(path), useCompression=True)


def _nrrd(label_map: npt.NDArray[np.uint8], spacing_mm: tuple[float, float] | None) -> bytes:
    """Write what most predictions are answered with by hand: ITK takes five times as long."""
    row_spacing, column_spacing = map(float, spacing_mm or (1.0, 1.0))
    rows, columns = label_map.shape
    header = _NRRD.format(rows=rows, columns=columns, row_spacing=row_spacing, column_spacing=column_spacing)
    packer = zlib.compressobj(level=1, wbits=_GZIP, strategy=zlib.Z_RLE)
    return header.encode("ascii") + packer.compress(np.ascontiguousarray(label_map).data) + packer.flush()


def _placed(label_map: npt.NDArray[np.uint8], source: SourceImage, scratch: Path) -> SimpleITK.Image:
    """Make an image of the label map with the geometry of the volume, or else of the companion."""
    if source.geometry is None:
        try:
            write_label_map(label_map, source.spacing_mm, scratch)
            return SimpleITK.ReadImage(str(scratch))
        finally:
            scratch.unlink(missing_ok=True)
    image = SimpleITK.GetImageFromArray(label_map[None])
    image.CopyInformation(source.geometry)
    return image


def _describe_segments(
    image: SimpleITK.Image, label_map: npt.NDArray[np.uint8], names: Mapping[str, int]
) -> None:
    """Add 3D Slicer's description of segments, as its documentation of the .seg.nrrd format gives it.

    Segments without a pixel are described too: the clinician's list of diagnoses stays complete.
    """
    extent = f"0 {label_map.shape[1] - 1} 0 {label_map.shape[0] - 1} 0 0"
    image.SetMetaData("Segmentation_MasterRepresentation", "Binary labelmap")
    image.SetMetaData("Segmentation_ReferenceImageExtentOffset", "0 0 0")
    for number, (name, value) in enumerate(sorted(names.items(), key=lambda item: item[1])):
        colour = " ".join(f"{level / 255:.6f}" for level in _COLOURS.get(name, _OTHER_COLOUR))
        fields = {
            "ID": f"Segment_{value}",
            "Name": name,
            "Color": colour,
            "LabelValue": str(value),
            "Layer": "0",
            "Extent": extent,
        }
        for field, text in fields.items():
            image.SetMetaData(f"Segment{number}_{field}", text)
