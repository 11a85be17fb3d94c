"""Label map files, as viewers exchange them, to and from the segments that are stored."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from dermcheck.dicom.codes import class_from_text
from dermcheck.dicom.header import PhotographHeader
from dermcheck.dicom.photograph import read_dataset
from dermcheck.dicom.segmentation import LesionMask, LesionSegment, read_segmentation
from dermcheck.dicom.viewer_masks import read_named_masks, write_label_map
from dermcheck.errors import MaskError
from dermcheck.lesions import LESION_CLASSES

__all__ = ["UNCLASSIFIED_VALUE", "read_label_file", "write_label_file"]

UNCLASSIFIED_VALUE: Final = len(LESION_CLASSES) + 1
"""Value of a lesion without diagnosis. Not 1: that is a diagnosis, and a viewer would show it."""

_NOT_LESIONS: Final = frozenset({"background", "foreground_scribbles", "background_scribbles"})
"""Segments that 3D Slicer's plug-in keeps beside those of the clinician."""


def read_label_file(path: Path, header: PhotographHeader, info: Mapping[str, Any]) -> list[LesionSegment]:
    """Read what a clinician submits: one segment for each named value that has pixels.

    The name of a segment decides its class; one whose name is no class's is kept as a lesion without
    diagnosis, under that name. Names come from the file itself (`.seg.nrrd`), else from `info`:

    - ``label_info``: ``[{"name": …, "idx": …}, …]`` as 3D Slicer sends it. The first name is value 1, and
      so on, as its ``idx`` may count segments that are not in the file; only where the values do not
      fit that is ``idx`` taken.
    - ``label_names``: ``{name: value, …}``, at the top or in ``params``, as our models answer.

    Parameters
    ----------
    path
        `.nii.gz`, `.nrrd` or `.seg.nrrd`, or a DICOM Segmentation (`.dcm`), whose own segments are taken.
    header
        Of the photograph that it outlines.

    Returns
    -------
    list of LesionSegment
        In the file's order. Empty if nothing is outlined: that too is an answer.

    Raises
    ------
    MaskError
        If the file cannot be read, has another size than the photograph, or holds a value without a
        name while others have one.
    """
    if path.suffix.lower() == ".dcm":
        segments = read_segmentation(read_dataset(path), header)
        return [segment for segment in segments if segment.mask.any()]
    drawn = [
        segment for segment in read_named_masks(path, (header.rows, header.columns)) if segment.mask.any()
    ]
    if all(segment.name is None for segment in drawn):
        names = _sent_names(info, [segment.value for segment in drawn])
        named = [(segment.mask, _name(segment.value, names)) for segment in drawn]
    else:
        named = [(segment.mask, segment.name) for segment in drawn]
    return [_segment(mask, name) for mask, name in named if (name or "").casefold() not in _NOT_LESIONS]


def _sent_names(info: Mapping[str, Any], values: Iterable[int]) -> dict[int, str]:
    """Take the names out of what the client sent along, whatever else it sent."""
    listed = info.get("label_info")
    entries = [entry for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []
    if entries:
        by_order = {number: str(entry.get("name", "")) for number, entry in enumerate(entries, start=1)}
        by_index = {
            entry["idx"]: str(entry.get("name", "")) for entry in entries if isinstance(entry.get("idx"), int)
        }
        return by_index if not set(values) <= by_order.keys() and set(values) <= by_index.keys() else by_order
    params = info.get("params")
    named = info.get("label_names") or (params.get("label_names") if isinstance(params, Mapping) else None)
    if not isinstance(named, Mapping):
        return {}
    return {value: str(name) for name, value in named.items() if isinstance(value, int)}


def _name(value: int, names: Mapping[int, str]) -> str | None:
    if names and value not in names:
        known = ", ".join(f"{number} {name}" for number, name in sorted(names.items()))
        raise MaskError(
            f"the label map holds the value {value}, expected only those with a name ({known}). "
            "Submit it again."
        )
    return names.get(value)


def _segment(mask: LesionMask, name: str | None) -> LesionSegment:
    lesion = class_from_text(name) if name else None
    return LesionSegment(mask, lesion, label=name if lesion is None else None)


def write_label_file(segments: Iterable[LesionSegment], header: PhotographHeader, path: Path) -> None:
    """Write segments as one label map: the class's value, or `UNCLASSIFIED_VALUE`.

    A label map gives each pixel one value: where segments overlap, the later one is seen.

    Parameters
    ----------
    path
        Ends with `.nrrd` or `.nii.gz`.
    """
    label_map = np.zeros((header.rows, header.columns), np.uint8)
    for segment in segments:
        label_map[segment.mask] = (
            segment.lesion_class.label_value if segment.lesion_class else UNCLASSIFIED_VALUE
        )
    write_label_map(label_map, header.pixel_spacing_mm, path)
