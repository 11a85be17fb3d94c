"""Where the frames of a Segmentation lie on the photograph."""

import math
from typing import Any

from pydicom import Dataset
from pydicom.multival import MultiValue

from dermcheck.dicom.functional_groups import FunctionalGroups
from dermcheck.dicom.header import PhotographHeader
from dermcheck.errors import MaskError

__all__ = ["place_frame"]


def place_frame(
    segmentation: Dataset, groups: FunctionalGroups, index: int, photograph: PhotographHeader
) -> tuple[int, int]:
    """Return the row and column of the photograph, from 0, where a frame's upper left pixel lies.

    A frame of the photograph's size covers it, whatever position it states. A smaller one is placed by

    - its position in the total pixel matrix, if that has the photograph's size (PS3.3 C.7.6.17.3), or
    - its position and pixel spacing in mm along upright axes. A photograph has its origin at
      (0, 0, 0), as in the companions that viewers are given.

    Raises
    ------
    MaskError
        If no position is stated, or it is not a whole pixel, or the frame reaches beyond the
        photograph. The message names both sizes.
    """
    rows, columns = int(segmentation.Rows), int(segmentation.Columns)
    if (rows, columns) == (photograph.rows, photograph.columns):
        return 0, 0
    place = _tile_position(segmentation, groups, index, photograph) or _patient_position(groups, index)
    if (
        place is None
        or not 0 <= place[0] <= photograph.rows - rows
        or not 0 <= place[1] <= photograph.columns - columns
    ):
        where = (
            "it states no position" if place is None else f"it is placed at row {place[0]}, column {place[1]}"
        )
        raise MaskError(
            f"instance {segmentation.SOPInstanceUID}: frame {index + 1} of the Segmentation is {rows} × "
            f"{columns} pixels (rows × columns) and {where}; the photograph {photograph.sop_instance_uid} is "
            f"{photograph.rows} × {photograph.columns}. Outline the lesion on this photograph."
        )
    return place


def _tile_position(
    segmentation: Dataset, groups: FunctionalGroups, index: int, photograph: PhotographHeader
) -> tuple[int, int] | None:
    total = segmentation.get("TotalPixelMatrixRows"), segmentation.get("TotalPixelMatrixColumns")
    slide = groups.first(index, "PlanePositionSlideSequence")
    row = slide.get("RowPositionInTotalImagePixelMatrix")
    column = slide.get("ColumnPositionInTotalImagePixelMatrix")
    if total != (photograph.rows, photograph.columns) or row is None or column is None:
        return None
    return int(row) - 1, int(column) - 1


def _patient_position(groups: FunctionalGroups, index: int) -> tuple[int, int] | None:
    position = _numbers(groups.first(index, "PlanePositionSequence").get("ImagePositionPatient"))
    orientation = _numbers(groups.first(index, "PlaneOrientationSequence").get("ImageOrientationPatient"))
    spacing = _numbers(groups.first(index, "PixelMeasuresSequence").get("PixelSpacing"))
    is_upright = orientation in ([], [1, 0, 0, 0, 1, 0])
    if len(position) != 3 or not is_upright or not spacing or not all(step > 0 for step in spacing):
        return None
    row, column = position[1] / spacing[0], position[0] / spacing[-1]
    if not math.isfinite(row + column) or max(abs(row - round(row)), abs(column - round(column))) > 0.1:
        return None
    return round(row), round(column)


def _numbers(value: Any) -> list[float]:
    if value is None or value == "":
        return []
    return [float(number) for number in (value if isinstance(value, MultiValue) else [value])]
