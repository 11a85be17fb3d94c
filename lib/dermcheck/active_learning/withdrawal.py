"""Takes a label back without removing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dermcheck.dicom.annotation_record import AnnotationRecord, write_record
from dermcheck.dicom.segmentation import LesionSegment, write_segmentation
from dermcheck.errors import ArgumentError

if TYPE_CHECKING:
    from dermcheck.datastore import StudyStore
    from dermcheck.dicom.author import Clinician

__all__ = ["withdraw"]


def withdraw(store: StudyStore, label: str, by: Clinician) -> str:
    """Store a Segmentation that says that a label does not count any more; both are kept.

    Then the label before it counts again. Without one, the photograph is one to be labelled.

    Parameters
    ----------
    label
        SOPInstanceUID of a label by a person.
    by
        Who takes it back.

    Returns
    -------
    str
        SOPInstanceUID of what was stored.

    Raises
    ------
    NotFoundError
        If there is no such label.
    ArgumentError
        If it is a prediction, a withdrawal, or withdrawn already.
    StorageError
        If it cannot be stored.
    """
    found = store.label(label)
    if found.automatic or found.withdraws:
        kind = "a prediction" if found.automatic else "a withdrawal itself"
        raise ArgumentError(f"label {label}: it is {kind}, and only what a person labelled can be withdrawn.")
    if found not in store.labels(found.image_id):
        raise ArgumentError(f"label {label}: it is withdrawn already.")
    header = store.header(found.image_id)
    nothing = np.zeros((header.rows, header.columns), np.bool_)
    segment = LesionSegment(nothing, None, label="Withdrawn")
    dataset = write_segmentation(store.retrieve(found.image_id), [segment], by, edited_from_prediction=False)
    write_record(dataset, AnnotationRecord(withdraws=label))
    store.store(dataset)
    return str(dataset.SOPInstanceUID)
