"""Instances as DICOMweb search answers, and searches over them (PS3.18 chapter 10.6, annex F)."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from dermcheck.datastore.instances import Instance
from dermcheck.errors import ArgumentError, StorageError

__all__ = ["from_dicom_json", "matches", "referenced_uids", "to_dicom_json"]

_SEARCHABLE: Final = {
    "SOPClassUID": "sop_class_uid",
    "SOPInstanceUID": "sop_instance_uid",
    "StudyInstanceUID": "study_instance_uid",
    "SeriesInstanceUID": "series_instance_uid",
    "Modality": "modality",
}
_OF_PHOTOGRAPHS: Final = {"Rows": "rows", "Columns": "columns", "NumberOfFrames": "number_of_frames"}


def to_dicom_json(instance: Instance) -> dict[str, dict[Any, Any]]:
    """Return the attributes known of an instance in the DICOM JSON model."""
    values = {keyword: getattr(instance, name) for keyword, name in _SEARCHABLE.items()}
    if instance.header:
        values |= {keyword: getattr(instance.header, name) for keyword, name in _OF_PHOTOGRAPHS.items()}
    return {
        f"{tag:08X}": {"vr": dictionary_VR(tag), "Value": [value]}
        for keyword, value in values.items()
        if value != "" and (tag := tag_for_keyword(keyword)) is not None
    }


def from_dicom_json(answer: Any, source: str) -> Dataset:
    """Read one object of an archive's answer. Values kept elsewhere (pixel data) are left empty.

    Raises
    ------
    StorageError
        If it is not in the DICOM JSON model (PS3.18 annex F); it then names the source.
    """
    try:
        return Dataset.from_json(answer, bulk_data_uri_handler=_leave_out)
    except Exception as error:  # pydicom does not check the shape: what it raises depends on the nonsense
        raise StorageError(
            f"{source}: it does not answer as DICOMweb does (PS3.18). Check the address: it is the one that "
            "/studies is appended to, e.g. http://127.0.0.1:8042/dicom-web."
        ) from error


def _leave_out(_uri: str) -> bytes:
    return b""


def matches(instance: Instance, filters: Mapping[str, Any]) -> bool:
    """Tell whether an instance has all these values; keys are keywords or tags in hexadecimal.

    Raises
    ------
    ArgumentError
        If a key is not one that can be searched for.
    """
    for key, wanted in filters.items():
        keyword = key if key in _SEARCHABLE else _keyword(key)
        if keyword not in _SEARCHABLE:
            raise ArgumentError(
                f"instances cannot be searched by {key}, expected one of {', '.join(_SEARCHABLE)}."
            )
        if getattr(instance, _SEARCHABLE[keyword]) != str(wanted):
            return False
    return True


def _keyword(tag: str) -> str:
    try:
        return keyword_for_tag(int(tag, 16))
    except ValueError:
        return ""


def referenced_uids(dataset: Dataset) -> Iterator[str]:
    """Yield the SOPInstanceUIDs that an object refers to, at any depth, in the order of its attributes."""
    for element in dataset:
        if element.keyword == "ReferencedSOPInstanceUID" and element.value:
            yield str(element.value)
        elif element.VR == "SQ":
            for item in element.value:
                yield from referenced_uids(item)
