"""What a clinician submits in the browser: outlines and diagnoses, stored exactly once."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from pydicom.uid import UID

from dermcheck.dicom.annotation_record import AnnotationRecord, write_record
from dermcheck.dicom.author import Clinician
from dermcheck.dicom.segmentation import LesionSegment, write_segmentation
from dermcheck.errors import ArgumentError, MaskError
from dermcheck.label_app.browser_masks import decode_label_map
from dermcheck.label_app.proposals import Proposal, RecentProposals, read_earlier_label
from dermcheck.label_app.submissions import read_clinician
from dermcheck.lesions import LesionClass, lesion_class

if TYPE_CHECKING:
    from pydicom import Dataset

    from dermcheck.datastore import StoredLabel, StudyStore
    from dermcheck.dicom.segments import LesionMask

__all__ = ["BrowserLesion", "BrowserSubmission", "SubmissionStore", "Submitted"]

_MOST_LESIONS: Final = 255
"""As many values as a label map of bytes has beside the background."""


class BrowserLesion(BaseModel):
    """One lesion of a submission."""

    model_config = ConfigDict(extra="forbid")

    value: int = Field(ge=1, le=_MOST_LESIONS)
    """Of its pixels in the label map. It may have none: then the diagnosis stands alone."""
    diagnosis: str | None = None
    """Short name of the class; None where the clinician named none."""
    tracking_id: str | None = None
    tracking_uid: str | None = None


class BrowserSubmission(BaseModel):
    """One photograph's outlines and diagnoses, as the viewer sends them."""

    model_config = ConfigDict(extra="forbid")

    id: uuid.UUID
    """Made by the viewer; the same each time that it sends this again. It becomes the SOPInstanceUID."""
    image: str
    rows: int
    columns: int
    mask: str
    """See `encode_label_map`."""
    lesions: list[BrowserLesion] = Field(max_length=_MOST_LESIONS)
    """Empty for "no lesion here"."""
    clinician: str = ""
    started_from: Literal["prediction", "label", "nothing"] = "nothing"
    """What the clinician began with; "nothing" makes the outline MANUAL, else it is SEMIAUTOMATIC."""
    based_on: str | None = None
    """SOPInstanceUID of the newest label by a human that the viewer knew of."""
    prediction: dict[str, Any] | None = None
    """What the models had said, for whoever wants to know later why it was changed."""
    seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """That the photograph was in front of the clinician."""

    @property
    def label_id(self) -> str:
        """The SOPInstanceUID: a UUID as a UID (PS3.5 B.2)."""
        return f"2.25.{self.id.int}"


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a submission."""

    label: StoredLabel
    repeated: bool
    """Whether it was stored before already: the viewer had not heard the answer."""
    others: tuple[StoredLabel, ...]
    """Labels by humans that the viewer did not know of when it began, oldest first. All are kept."""


class SubmissionStore:
    """Stores submissions, each once, however often it is sent; any thread may call it.

    Parameters
    ----------
    store
        The studies.
    proposals
        What the models have answered, so that it can be told what a person changed.
    """

    def __init__(self, store: StudyStore, proposals: RecentProposals | None = None) -> None:
        self._store = store
        self._proposals = proposals or RecentProposals()
        self._lock = threading.Lock()  # storing takes milliseconds, and two with one id must not race

    def submit(self, submission: BrowserSubmission, user: str | None = None) -> Submitted:
        """Store the outlines as a Segmentation beside the photograph.

        Parameters
        ----------
        user
            Who is logged in, where a log-in tells; counts more than the name in the submission.

        Raises
        ------
        NotFoundError
            If there is no such photograph.
        MaskError, ArgumentError
            If the label map does not fit it, holds a value that no lesion has, or a diagnosis is unknown.
        StorageError
            If it cannot be stored; nothing is left then, and the viewer may send it again.
        """
        clinician = read_clinician({"clinician": user or submission.clinician})
        with self._lock:
            known = self._store.labels(submission.image)
            all_known = self._store.label_history(submission.image)
            stored = next(
                (label for label in all_known if label.sop_instance_uid == submission.label_id), None
            )
            if stored is None:
                self._store.store(self._segmentation(submission, clinician))
        label = stored or self._store.label(submission.label_id)
        return Submitted(label, stored is not None, _unknown_to(submission, known))

    def _segmentation(self, submission: BrowserSubmission, clinician: Clinician) -> Dataset:
        header = self._store.header(submission.image)
        if (submission.rows, submission.columns) != (header.rows, header.columns):
            raise MaskError(
                f"photograph {submission.image}: the outline is {submission.columns} × {submission.rows} "
                f"pixels, the photograph {header.columns} × {header.rows}. Open the photograph again."
            )
        label_map = decode_label_map(submission.mask, header.rows, header.columns)
        segmentation = write_segmentation(
            self._store.retrieve(submission.image),
            _segments(label_map, submission.lesions),
            clinician,
            edited_from_prediction=submission.started_from != "nothing",
        )
        write_record(segmentation, self._record(submission, label_map > 0))
        segmentation.SOPInstanceUID = UID(submission.label_id)
        segmentation.file_meta.MediaStorageSOPInstanceUID = segmentation.SOPInstanceUID
        return segmentation

    def _record(self, submission: BrowserSubmission, drawn: LesionMask) -> AnnotationRecord:
        """Say how the outline came about, as far as that is known."""
        known: dict[str, Any] = {
            "seconds": submission.seconds,
            "started_from": submission.started_from,
            "based_on": submission.based_on if submission.started_from == "label" else None,
        }
        proposal = self._proposal(submission)
        if proposal is None or proposal.mask.shape != drawn.shape:
            return AnnotationRecord(**known)
        return AnnotationRecord.compare(proposal.mask, drawn, proposal.lesion_class, **known)

    def _proposal(self, submission: BrowserSubmission) -> Proposal | None:
        if submission.started_from == "prediction":
            return self._proposals.shown_in_browser(submission.image, submission.prediction)
        if submission.started_from == "label" and submission.based_on is not None:
            return read_earlier_label(self._store, submission.image, submission.based_on)
        return None


def _segments(label_map: npt.NDArray[np.uint8], lesions: list[BrowserLesion]) -> list[LesionSegment]:
    values = [lesion.value for lesion in lesions]
    if len(set(values)) != len(values):
        raise ArgumentError(f"The lesions have the values {values}, expected a different one for each.")
    nameless = sorted(set(_values(label_map)) - {0, *values})
    if nameless:
        raise MaskError(f"The outline holds the values {nameless}, which no lesion has. Submit it again.")
    return [
        LesionSegment(
            label_map == lesion.value,
            _class(lesion.diagnosis),
            tracking_id=lesion.tracking_id,
            tracking_uid=lesion.tracking_uid,
        )
        for lesion in lesions
    ]


def _values(label_map: npt.NDArray[np.uint8]) -> list[int]:
    return [int(value) for value in np.flatnonzero(np.bincount(label_map.ravel(), minlength=256))]


def _class(name: str | None) -> LesionClass | None:
    if name is None:
        return None
    try:
        return lesion_class(name)
    except KeyError as error:
        raise ArgumentError(f"The diagnosis cannot be stored: {error.args[0]}.") from error


def _unknown_to(submission: BrowserSubmission, known: list[StoredLabel]) -> tuple[StoredLabel, ...]:
    """Return the humans' labels after the one that the viewer knew of."""
    others = [
        label for label in known if not label.automatic and label.sop_instance_uid != submission.label_id
    ]
    uids = [label.sop_instance_uid for label in others]
    seen = uids.index(submission.based_on) + 1 if submission.based_on in uids else 0
    return tuple(others[seen:])
