"""UIDs and times of results that are the same whenever the same model answers the same photograph.

A resumed batch then ends with the same DICOM objects as one that was never stopped, and an archive
that holds an object already can be asked for it by its UID, so that nothing is stored twice.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from pydicom import Dataset
from pydicom.uid import UID, generate_uid

from dermcheck.dicom.author import Algorithm

__all__ = ["ResultKind", "dependent_uids", "make_repeatable", "result_uid", "tracking_uid"]

ResultKind = Literal["seg", "sr"]

_DATES: Final = ("InstanceCreationDate", "ContentDate")
_TIMES: Final = ("InstanceCreationTime", "ContentTime")


def result_uid(sop_instance_uid: str, kind: ResultKind, *algorithms: Algorithm, conditions: str = "") -> UID:
    """Return the SOP instance UID of what these models say about a photograph.

    Parameters
    ----------
    conditions
        What else the content depends on: another content must never come under the same UID.

    >>> model = Algorithm("Outliner", "1", "0" * 64)
    >>> result_uid("1.2.3", "seg", model) == result_uid("1.2.3", "seg", model)
    True
    >>> result_uid("1.2.3", "seg", model) == result_uid("1.2.3", "sr", model)
    False
    """
    models = (f"{one.name} {one.version} {one.model_hash}" for one in algorithms)
    return _derived(kind, sop_instance_uid, *models, conditions)


def tracking_uid(sop_instance_uid: str) -> UID:
    """Return the tracking UID of the lesion of a photograph that names none."""
    return _derived("tracking", sop_instance_uid)


def dependent_uids(uid: UID) -> tuple[UID, UID]:
    """Return the UIDs of a result's series and of its dimensions."""
    return _derived("series", uid), _derived("dimensions", uid)


def make_repeatable(
    dataset: Dataset,
    sop_instance_uid: str,
    kind: ResultKind,
    *algorithms: Algorithm,
    made_at: datetime,
    conditions: str = "",
) -> None:
    """Give a SEG or SR that was just made its derived UIDs, and the time at which the batch was begun.

    Parameters
    ----------
    sop_instance_uid
        The photograph's.
    algorithms
        All models on which the content depends.
    made_at
        `Journal.begun`.
    conditions
        As of `result_uid`.
    """
    uid = result_uid(sop_instance_uid, kind, *algorithms, conditions=conditions)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.SeriesInstanceUID, dimensions = dependent_uids(uid)
    for keyword in _DATES:
        setattr(dataset, keyword, made_at.strftime("%Y%m%d"))
    for keyword in _TIMES:
        setattr(dataset, keyword, made_at.strftime("%H%M%S.%f"))
    for equipment in dataset.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in equipment:
            equipment.ContributionDateTime = made_at.strftime("%Y%m%d%H%M%S.%f")
    for sequence in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(sequence, ()):
            item.DimensionOrganizationUID = dimensions


def _derived(*sources: str) -> UID:
    return generate_uid(entropy_srcs=["dermcheck batch", *(f"{len(source)}:{source}" for source in sources)])
