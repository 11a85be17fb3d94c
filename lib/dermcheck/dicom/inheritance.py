"""What an object made from a photograph inherits from it: patient, study, place and references.

Photographs come from many makers, and often lack attributes that every object must have (even if
empty) or hold values that break their format. `reference_header` gives a small, clean copy to build
SEG and SR from; the photograph itself is never altered.
"""

import math
from copy import deepcopy
from typing import Final

import numpy as np
from pydicom import DataElement, Dataset, config
from pydicom.multival import MultiValue
from pydicom.uid import (
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
)
from pydicom.valuerep import STR_VR, validate_value

from dermcheck.dicom.header import PhotographHeader, read_header
from dermcheck.dicom.references import is_uid
from dermcheck.errors import ArgumentError

__all__ = ["anatomic_regions", "choose_frame", "reference_header"]

# Type 2 in the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1): there, but may be empty.
_TYPE_2: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)

# Groups that hold patient, study, trial, specimen and position; not the pixels (0028, 7FE0), which are large.
_GROUPS: Final = (0x0008, 0x0010, 0x0012, 0x0020, 0x0032, 0x0038, 0x0040)

_MULTI_FRAME: Final = (
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
)

_LOSSY: Final = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


def reference_header(source: Dataset) -> Dataset:
    """Copy from a photograph what highdicom needs to derive an object from it.

    - Attributes whose value breaks its value representation (PS3.5 section 6.2) are left out; what
      must be present (type 2) and is not is added empty.
    - The frame of reference, position and orientation are kept only if they are whole, as a part of
      a geometry misleads readers; a frame of reference alone is whole.
    - A multi-frame photograph is presented as its one frame; see `choose_frame`.

    Parameters
    ----------
    source
        A photograph's dataset; the pixel data need not be loaded. It is not altered.

    Raises
    ------
    NotAPhotographError, UnreadableImageError
        As `read_header`.
    """
    header = read_header(source)
    copy = Dataset()
    for tag in source.keys():  # noqa: SIM118 - iterating a Dataset would decode every element
        if tag.group in _GROUPS and (element := _valid_element(source, int(tag))) is not None:
            copy.add(deepcopy(element))
    for keyword in _TYPE_2:
        if keyword not in copy:
            setattr(copy, keyword, "")
    if copy.PatientSex not in ("M", "F", "O"):
        copy.PatientSex = ""
    copy.SOPClassUID, copy.SOPInstanceUID = header.sop_class_uid, header.sop_instance_uid
    copy.SeriesInstanceUID, copy.StudyInstanceUID = header.series_instance_uid, header.study_instance_uid
    copy.Modality = header.modality or "OT"
    copy.Rows, copy.Columns = header.rows, header.columns
    copy.SpecificCharacterSet = "ISO_IR 192"
    if source.get("LossyImageCompression") == "01":  # never reset in what is derived (PS3.3 C.7.6.1.1.5)
        for keyword in _LOSSY:
            if keyword in source:
                copy[keyword] = deepcopy(source[keyword])
    copy.NumberOfFrames = 1
    copy.SliceThickness = 1.0
    copy.SharedFunctionalGroupsSequence = [Dataset()]
    copy.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = []
    _keep_whole_geometry(copy, header)
    return copy


def anatomic_regions(reference: Dataset) -> list[Dataset]:
    """Copy the photograph's anatomic regions that are complete codes, e.g. ``Skin of trunk``.

    Modifiers such as the side stay inside their item. Give it the dataset of `reference_header`.
    """
    regions = reference.get("AnatomicRegionSequence") or []
    return [deepcopy(item) for item in regions if _is_code(item)]


def choose_frame(header: PhotographHeader, frame: int | None) -> int | None:
    """Return the number of the frame to refer to, counted from 1, or None where there is no choice.

    Only a multi-frame SOP class may be referred to by frame (PS3.3 10.3, Image SOP Instance Reference).

    Raises
    ------
    ArgumentError
        If the photograph has no such frame.
    """
    chosen = 1 if frame is None else frame
    if not 1 <= chosen <= header.number_of_frames:
        raise ArgumentError(
            f"instance {header.sop_instance_uid}: frame {frame} was asked for, expected 1 to "
            f"{header.number_of_frames}."
        )
    is_multi_frame = header.sop_class_uid in _MULTI_FRAME and header.number_of_frames > 1
    return chosen if is_multi_frame else None


def _valid_element(source: Dataset, tag: int) -> DataElement | None:
    """Return an element whose values keep to their format, else None."""
    try:
        element: DataElement = source[tag]
        values = element.value if isinstance(element.value, MultiValue) else [element.value]
        if element.VR != "SQ":
            for value in values:
                validate_value(element.VR, str(value) if element.VR in STR_VR else value, config.RAISE)
    except Exception:  # pydicom converts lazily: damaged bytes raise whatever their converter raises
        return None
    return element


def _keep_whole_geometry(copy: Dataset, header: PhotographHeader) -> None:
    copy.pop("ImageCenterPointCoordinatesSequence", None)  # a position on a glass slide
    has_frame_of_reference = is_uid(copy.get("FrameOfReferenceUID"))
    is_placed = (
        has_frame_of_reference
        and header.pixel_spacing_mm is not None
        and header.sop_class_uid not in _MULTI_FRAME  # these have it in their functional groups
        and _is_position(copy.get("ImagePositionPatient"))
        and _is_orientation(copy.get("ImageOrientationPatient"))
    )
    if not has_frame_of_reference:
        copy.pop("FrameOfReferenceUID", None)
    if not is_placed:
        copy.pop("ImagePositionPatient", None)
        copy.pop("ImageOrientationPatient", None)
    if header.pixel_spacing_mm is not None:
        copy.PixelSpacing = list(header.pixel_spacing_mm)


def _is_position(value: object) -> bool:
    return isinstance(value, MultiValue) and len(value) == 3 and all(map(math.isfinite, value))


def _is_orientation(value: object) -> bool:
    """Tell whether the value holds two directions at right angles, each of length 1."""
    if not (isinstance(value, MultiValue) and len(value) == 6 and all(map(math.isfinite, value))):
        return False
    row, column = np.array(value, dtype=float).reshape(2, 3)
    return bool(np.allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=1e-3))


def _is_code(item: Dataset) -> bool:
    return all(item.get(keyword) for keyword in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"))
