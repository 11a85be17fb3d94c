"""The attributes by which stored objects can be searched for (QIDO-RS), kept as short texts.

A text is the value as DICOM writes it, several values with backslashes between them (PS3.5 section
6.4). That takes a twentieth of the memory of parsed JSON, and a folder may hold 100,000 objects.
"""

import sys
from typing import Final

from pydicom import Dataset
from pydicom.multival import MultiValue

__all__ = ["INSTANCE_KEYWORDS", "SEARCH_KEYWORDS", "SERIES_KEYWORDS", "STUDY_KEYWORDS", "read_texts"]

STUDY_KEYWORDS: Final = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "TimezoneOffsetFromUTC",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDescription",
)
"""Of patient and study, as QIDO-RS lists them (PS3.18 table 10.6.3-3), and a few more."""

SERIES_KEYWORDS: Final = (
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "SeriesDate",
    "SeriesTime",
    "Manufacturer",
    "BodyPartExamined",
    "Laterality",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
)
"""Of the series (table 10.6.3-4), and a few more."""

INSTANCE_KEYWORDS: Final = (
    "SOPClassUID",
    "InstanceNumber",
    "ContentDate",
    "ContentTime",
    "AcquisitionDateTime",
    "Rows",
    "Columns",
    "BitsAllocated",
    "NumberOfFrames",
    "ImageLaterality",
    "TrackingID",
    "TrackingUID",
    "ContentLabel",
    "ContentDescription",
    "ContentCreatorName",
)
"""Of the instance (table 10.6.3-5), and a few more."""

SEARCH_KEYWORDS: Final = (*STUDY_KEYWORDS, *SERIES_KEYWORDS, *INSTANCE_KEYWORDS)


def read_texts(dataset: Dataset) -> tuple[str, ...]:
    """Return the text of each of `SEARCH_KEYWORDS`, in that order; empty where absent or damaged."""
    return tuple(sys.intern(_text(dataset, keyword)) for keyword in SEARCH_KEYWORDS)


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        value = dataset.get(keyword)
        values = value if isinstance(value, MultiValue) else [value]
        return "\\".join("" if item is None else str(item) for item in values)
    except Exception:  # pydicom converts lazily: damaged bytes raise whatever their converter raises
        return ""
