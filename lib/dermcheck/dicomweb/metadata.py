"""Instances as DICOM JSON without their bulk data (PS3.18 section 10.4.1.1.2, annex F)."""

import logging
import math
from typing import Any, Final

from pydicom import Dataset
from pydicom.tag import BaseTag

from dermcheck.dicom.attributes import dataset_meta

__all__ = ["LARGEST_INLINE_BYTES", "bulk_data", "instance_address", "metadata_json"]

_logger = logging.getLogger(__name__)

LARGEST_INLINE_BYTES: Final = 1024
"""Binary values up to here are written into the JSON object itself."""

_BINARY: Final = frozenset({"OB", "OW", "OF", "OD", "OL", "OV", "UN"})
_PIXEL_DATA: Final = 0x7FE00010
_AVAILABLE_TRANSFER_SYNTAX: Final = "00083002"


def instance_address(root: str, study: str, series: str, instance: str) -> str:
    """Return the URL of an instance by that of the service (without a slash at its end) and its UIDs."""
    return f"{root}/studies/{study}/series/{series}/instances/{instance}"


def metadata_json(dataset: Dataset, address: str) -> dict[str, Any]:
    """Return all attributes of an instance; large binary values and the pixel data as addresses.

    A value that is damaged is left out: the others are still of use, and a viewer shows the picture.

    Parameters
    ----------
    dataset
        The instance; its pixel data need not be loaded.
    address
        URL of the instance, without a slash at its end.
    """
    found: dict[str, Any] = {}
    for tag in dataset.keys():  # noqa: SIM118 - iterating over the dataset itself converts its values
        element = _element_json(dataset, tag, f"{address}/bulkdata/{tag:08X}")
        if element is not None:
            found[f"{tag:08X}"] = element
    if "Rows" in dataset and "BitsAllocated" in dataset:
        vr = "OB" if dataset_meta(dataset).TransferSyntaxUID.is_encapsulated else "OW"
        found[f"{_PIXEL_DATA:08X}"] = {"vr": vr, "BulkDataURI": f"{address}/bulkdata/{_PIXEL_DATA:08X}"}
    syntax = str(dataset_meta(dataset).TransferSyntaxUID)
    found[_AVAILABLE_TRANSFER_SYNTAX] = {"vr": "UI", "Value": [syntax]}
    return dict(sorted(found.items()))


def _element_json(dataset: Dataset, tag: BaseTag, address: str) -> dict[str, Any] | None:
    try:
        element = dataset[tag]
        if element.VR in _BINARY and element.value and len(element.value) > LARGEST_INLINE_BYTES:
            return {"vr": element.VR, "BulkDataURI": address}
        found: dict[str, Any] = _finite(element.to_json_dict(None, LARGEST_INLINE_BYTES))
    except Exception:  # pydicom converts lazily: damaged bytes raise whatever their converter raises
        _logger.debug("Attribute %s cannot be shown", tag, exc_info=True)
        return None
    return found


def _finite(value: Any) -> Any:
    """Replace what JSON has no number for; PS3.18 F.2.3 leaves it to the server, browsers refuse NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def bulk_data(dataset: Dataset, tag: str) -> bytes | None:
    """Return the binary value of a top-level attribute by its tag in hexadecimal; None if there is none."""
    try:
        value = dataset[int(tag, 16)].value if len(tag) == 8 else None
    except (KeyError, ValueError, OverflowError):
        return None
    return value if isinstance(value, bytes) else None
