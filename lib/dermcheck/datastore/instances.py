"""What the datastore knows of one stored DICOM object without opening it again."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from pydicom import Dataset

from dermcheck.datastore.search_attributes import read_texts
from dermcheck.dicom.attributes import read_text, read_uid
from dermcheck.dicom.header import PhotographHeader, read_header
from dermcheck.dicom.segmentation import summarise_segmentation
from dermcheck.dicom.segmentation_reading import is_segmentation
from dermcheck.dicom.sop_classes import is_photograph

__all__ = ["Instance", "Kind", "StoredLabel", "describe"]

Kind: TypeAlias = Literal["photograph", "label", "other"]


@dataclass(frozen=True, slots=True)
class StoredLabel:
    """One segmentation of one photograph, as listed."""

    sop_instance_uid: str
    image_id: str
    """SOPInstanceUID of the photograph it outlines."""
    automatic: bool
    """True for a prediction, False for what a human drew or accepted ("final")."""
    creator: str | None
    """The clinician's name as the object states it."""
    created: datetime
    withdraws: str | None = None
    """SOPInstanceUID of the label that this one takes back, outlining nothing itself."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One DICOM object: how to find it and, for photographs and labels, what it says."""

    key: str
    """Its place: the path relative to the studies folder with `/`, or ``study/series/instance`` UIDs."""
    revision: str
    """Changes when the stored object is changed; empty where objects never change (an archive)."""
    stored_ns: int
    """When it was stored, in nanoseconds: the order of labels made within one second; 0 if unknown."""
    kind: Kind
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    modality: str
    header: PhotographHeader | None = None
    """Of a photograph; None where it has not been retrieved yet (an archive)."""
    label: StoredLabel | None = None
    texts: tuple[str, ...] = ()
    """Values of `SEARCH_KEYWORDS`, in that order; empty where others search (an archive)."""


def describe(dataset: Dataset, key: str, revision: str = "", stored_ns: int = 0) -> Instance:
    """Describe a dataset, which needs no pixel data.

    Objects that are neither photographs nor segmentations are kind ``other``: valid, and of no
    further use here.

    Raises
    ------
    UnreadableImageError
        If a UID is missing or the size of a photograph is absurd.
    MaskError
        If a segmentation does not say which photograph it belongs to.
    """
    sop_class_uid = read_uid(dataset, "SOPClassUID")
    header = read_header(dataset) if is_photograph(dataset) else None
    label = _describe_label(dataset) if is_segmentation(dataset) else None
    return Instance(
        key=key,
        revision=revision,
        stored_ns=stored_ns,
        kind="photograph" if header else "label" if label else "other",
        sop_class_uid=sop_class_uid,
        study_instance_uid=read_uid(dataset, "StudyInstanceUID"),
        series_instance_uid=read_uid(dataset, "SeriesInstanceUID"),
        sop_instance_uid=read_uid(dataset, "SOPInstanceUID"),
        modality=read_text(dataset, "Modality") or "",
        header=header,
        label=label,
        texts=read_texts(dataset),
    )


def _describe_label(dataset: Dataset) -> StoredLabel:
    summary = summarise_segmentation(dataset)
    return StoredLabel(
        sop_instance_uid=summary.sop_instance_uid,
        image_id=summary.image_uid,
        automatic=summary.automatic,
        creator=summary.creator,
        created=summary.created,
        withdraws=summary.withdraws,
    )
