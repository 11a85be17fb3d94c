"""Texts of attributes as DICOM JSON (PS3.18 annex F)."""

from collections.abc import Mapping
from typing import Any, Final

from pydicom.datadict import dictionary_VR, tag_for_keyword

__all__ = ["hexadecimal", "to_json"]

_WHOLE: Final = frozenset({"IS", "US", "UL", "SS", "SL"})
_NUMBERS: Final = frozenset({"DS", "FL", "FD"})
_SINGLE: Final = frozenset({"ST", "LT", "UT", "UR"})
"""Value representations in which a backslash is a character like any other (PS3.5 section 6.2)."""
_PN_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")


def hexadecimal(keyword: str) -> str:
    """Return the tag of a keyword as DICOM JSON writes it.

    >>> hexadecimal("PatientID")
    '00100020'
    """
    return f"{tag_for_keyword(keyword):08X}"


def to_json(texts: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    r"""Turn values by keyword into one DICOM JSON object, ordered by tag; an empty text has no value.

    By hand, as pydicom takes twenty times as long for the ten thousand values of a list of studies.

    >>> to_json({"PatientID": "7", "Rows": "450", "ModalitiesInStudy": "DMS\\SEG"})["00080061"]
    {'vr': 'CS', 'Value': ['DMS', 'SEG']}
    """
    found = {hexadecimal(keyword): _element(keyword, text) for keyword, text in texts.items()}
    return dict(sorted(found.items()))


def _element(keyword: str, text: str) -> dict[str, Any]:
    vr = dictionary_VR(keyword)
    if text == "":
        return {"vr": vr}
    values = [text] if vr in _SINGLE else text.split("\\")
    try:
        return {"vr": vr, "Value": [_value(vr, value) for value in values]}
    except ValueError:  # a number that is none: left out, as a viewer would stumble over it
        return {"vr": vr}


def _value(vr: str, text: str) -> Any:
    if text == "":
        return None  # one empty value among several (annex F.2.5)
    if vr in _WHOLE:
        return int(text)
    if vr in _NUMBERS:
        return float(text)
    if vr == "PN":
        return {group: part for group, part in zip(_PN_GROUPS, text.split("="), strict=False) if part}
    return text
