"""What DermCheck uses of a photograph's header, checked once and typed."""

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.uid import UID

from dermcheck.dicom.attributes import (
    dataset_meta,
    instance_name,
    moment,
    read_text,
    read_uid,
    read_value,
    read_whole_number,
)
from dermcheck.dicom.limits import check_size
from dermcheck.dicom.sop_classes import PHOTOGRAPH_SOP_CLASSES
from dermcheck.errors import NotAPhotographError, UnreadableImageError

__all__ = ["PhotographHeader", "read_header"]

_SIDES: Final = {"24028007": "R", "7771000": "L", "51440002": "B"}  # SNOMED CT, PS3.16 CID 244

_MOMENTS: Final = (
    ("AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime"),
    (None, "ContentDate", "ContentTime"),
    (None, "SeriesDate", "SeriesTime"),
    (None, "StudyDate", "StudyTime"),
)


@dataclass(frozen=True, slots=True)
class PhotographHeader:
    """The header of one photograph, without its pixels and without the patient's identity."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    modality: str
    """E.g. ``DMS`` (dermoscopy), ``XC`` (photography), ``OT``; empty where absent."""
    patient_key: str
    """16 hexadecimal digits, equal for all instances of one patient; see `read_header`."""
    rows: int
    columns: int
    number_of_frames: int
    """1 for a photograph; more for a multi-frame Secondary Capture."""
    pixel_spacing_mm: tuple[float, float] | None
    """Distance of pixel centres in mm (between rows, between columns), or None: then nothing is in mm."""
    laterality: str | None
    """``R``, ``L``, ``B`` (both), ``U`` (unpaired) or None."""
    anatomic_site: str | None
    """Code meaning of the anatomic region, e.g. ``Skin of trunk``, or the body part examined."""
    tracking_id: str | None
    """Human name of the lesion followed over visits (PS3.3 C.8.12.13)."""
    tracking_uid: str | None
    """The same as a UID; equal in all photographs of one lesion."""
    acquired: datetime | None
    """Local date and time of acquisition, without time zone; see `read_header`."""


def read_header(dataset: Dataset) -> PhotographHeader:
    """Read and check the header of one photograph. Needs no pixel data.

    Strict about what identifies and sizes the photograph (SOP class, UIDs, rows, columns, frames);
    tolerant of everything that only describes it: a value that is absent or malformed is None.

    - `patient_key` is the SHA-256 of issuer and PatientID, cut to 64 bits: a pseudonym, not
      anonymity, as who knows the id can recompute it. Without a PatientID the study stands for the
      patient, so that two unknown patients are never taken for one.
    - `pixel_spacing_mm` is PixelSpacing (PS3.3 10.7.1.3) only. Magnification alone does not allow
      measuring (C.8.35.3), and ImagerPixelSpacing or NominalScannedPixelSpacing are not on the skin.
    - `laterality` is ImageLaterality, else Laterality, else the region's modifier code.
    - `acquired` is the first present of the acquisition, content, series and study date.

    Raises
    ------
    NotAPhotographError
        If it is valid DICOM of another SOP class, e.g. CT, SEG, SR, PDF, video.
    UnreadableImageError
        If the SOP class or a UID is missing, or its size is 0 or above the limit.
    """
    sop_class_uid = _sop_class(dataset)
    name = instance_name(dataset)
    rows, columns = read_whole_number(dataset, "Rows"), read_whole_number(dataset, "Columns")
    check_size(rows, columns, f"{name}, Rows and Columns")
    frames = read_whole_number(dataset, "NumberOfFrames", default=1)
    if frames < 1:
        raise UnreadableImageError(f"{name}: NumberOfFrames is {frames}, expected at least 1.")
    return PhotographHeader(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=read_uid(dataset, "SOPInstanceUID"),
        series_instance_uid=read_uid(dataset, "SeriesInstanceUID"),
        study_instance_uid=read_uid(dataset, "StudyInstanceUID"),
        modality=_described(dataset, "Modality") or "",
        patient_key=_patient_key(dataset),
        rows=rows,
        columns=columns,
        number_of_frames=frames,
        pixel_spacing_mm=_pixel_spacing(dataset),
        laterality=_laterality(dataset),
        anatomic_site=_anatomic_site(dataset),
        tracking_id=_described(dataset, "TrackingID"),
        tracking_uid=_described(dataset, "TrackingUID"),
        acquired=_acquired(dataset),
    )


def _sop_class(dataset: Dataset) -> str:
    meta = dataset_meta(dataset)
    if "SOPClassUID" not in dataset and "MediaStorageSOPClassUID" in meta:
        # DICOMDIR, the index of a medium, names its class only here.
        _check_is_photograph(dataset, read_uid(meta, "MediaStorageSOPClassUID"))
    uid = read_uid(dataset, "SOPClassUID")
    _check_is_photograph(dataset, uid)
    return uid


def _check_is_photograph(dataset: Dataset, uid: str) -> None:
    if uid not in PHOTOGRAPH_SOP_CLASSES:
        raise NotAPhotographError(
            f"{instance_name(dataset)}: SOPClassUID is {UID(uid).name}, expected a photograph, e.g. "
            "Dermoscopic Photography, VL Photographic or Secondary Capture. Choose the photograph itself."
        )


def _patient_key(dataset: Dataset) -> str:
    identity = read_text(dataset, "PatientID")
    if identity is None:
        source = f"study\0{read_uid(dataset, 'StudyInstanceUID')}"
    else:
        source = f"{read_text(dataset, 'IssuerOfPatientID') or ''}\0{identity}"
    return hashlib.sha256(source.encode(errors="surrogatepass")).hexdigest()[:16]


def _pixel_spacing(dataset: Dataset) -> tuple[float, float] | None:
    """Two positive numbers, else None: a wrong scale would be worse than none."""
    try:
        value = read_value(dataset, "PixelSpacing")
        row, column = (float(number) for number in value) if isinstance(value, MultiValue) else (0.0, 0.0)
    except (ValueError, UnreadableImageError):
        return None
    if not (0 < row < math.inf and 0 < column < math.inf):
        return None
    return row, column


def _described(dataset: Dataset, keyword: str) -> str | None:
    """Return a text that only describes the photograph; a damaged one counts as absent."""
    try:
        return read_text(dataset, keyword)
    except UnreadableImageError:
        return None


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence that only describes; one that is absent or damaged has none."""
    try:
        value = read_value(dataset, keyword)
    except UnreadableImageError:
        return []
    return list(value) if isinstance(value, Sequence) else []


def _anatomic_region(dataset: Dataset) -> Dataset:
    """Return the first Anatomic Region item (PS3.3 10.5), of the image or shared by its frames."""
    shared = _items(dataset, "SharedFunctionalGroupsSequence")
    holders = [dataset, *(anatomy for group in shared for anatomy in _items(group, "FrameAnatomySequence"))]
    regions = (region for holder in holders for region in _items(holder, "AnatomicRegionSequence"))
    return next(regions, Dataset())


def _anatomic_site(dataset: Dataset) -> str | None:
    return _described(_anatomic_region(dataset), "CodeMeaning") or _described(dataset, "BodyPartExamined")


def _laterality(dataset: Dataset) -> str | None:
    for keyword in ("ImageLaterality", "Laterality"):
        if (side := _described(dataset, keyword)) in ("R", "L", "B", "U"):
            return side
    modifiers = _items(_anatomic_region(dataset), "AnatomicRegionModifierSequence")
    sides = (_SIDES.get(_described(modifier, "CodeValue") or "") for modifier in modifiers)
    return next(filter(None, sides), None)


def _acquired(dataset: Dataset) -> datetime | None:
    for date_time, date, time in _MOMENTS:
        if found := moment(dataset, date_time, date, time):
            return found
    return None
