"""Corrections: photographs of the studies with what a clinician drew and decided on them.

The newest final label counts. Its outlines, all lesions together, teach the outliner; its diagnosis
teaches the classifier. Either may be there alone.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from tqdm import tqdm

from dermcheck.dicom.photograph import read_photograph
from dermcheck.dicom.pixels import RGBImage
from dermcheck.dicom.segmentation import LesionMask, LesionSegment, read_segmentation
from dermcheck.errors import MaskError, NotFoundError, UnreadableImageError
from dermcheck.training.data.data_set import DataSet, LabelledPhotograph
from dermcheck.training.data.patients import read_patient
from dermcheck.training.data.wording import counted

if TYPE_CHECKING:
    from dermcheck.datastore import StudyStore
    from dermcheck.dicom.header import PhotographHeader

__all__ = ["CORRECTIONS", "open_corrections"]

CORRECTIONS: Final = "corrections"
"""Source of the photographs that somebody at the clinic has labelled."""


@dataclass(frozen=True, slots=True)
class _StoredPhotograph:
    """A photograph of the studies."""

    store: StudyStore = field(repr=False)
    image_id: str

    def revision(self) -> str:
        """Return its UID and the revision of its file."""
        return f"dicom|{self.image_id}|{self.store.revision(self.image_id)}"

    def read(self) -> RGBImage:
        """Retrieve and decode it."""
        return read_photograph(self.store.retrieve(self.image_id)).pixels


@dataclass(frozen=True, slots=True)
class _StoredOutline:
    """All lesions that a stored label outlines, as one mask."""

    store: StudyStore = field(repr=False)
    image_id: str
    label_id: str

    def revision(self) -> str:
        """Return the label's UID: an object is never changed, a corrected one is a new one."""
        return f"dicom|{self.label_id}|{self.store.revision(self.image_id)}"

    def read(self) -> LesionMask:
        """Retrieve and decode it."""
        segments = _read_segments(self.store, self.store.header(self.image_id), self.label_id)
        return np.asarray(np.logical_or.reduce([segment.mask for segment in segments]))


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a final label says of the whole photograph."""

    outlined: bool
    diagnosis: int | None
    lesion_id: str | None
    """The lesion that is followed over visits, if the label names one only."""
    oddity: str | None
    """Continues "Corrected photographs ...", if part of it cannot teach."""


def open_corrections(store: StudyStore, *, progress: bool = False) -> DataSet:
    """List the photographs of the studies with a final label; only labels are read, photographs are not.

    Groups are patients (`PhotographHeader.patient_key`), so folds are by patient. What cannot teach is left
    out and reported in `DataSet.problems`: never an error, as one damaged label must not stop a training.

    Parameters
    ----------
    store
        Must stay open as long as the data set is used.
    progress
        Whether to show a bar.

    Raises
    ------
    StorageError
        If the archive does not answer.
    """
    finished = store.finished_ids()
    photographs: list[LabelledPhotograph] = []
    odd: dict[str, list[str]] = defaultdict(list)
    problems = []
    image_ids = [image_id for image_id in store.image_ids() if image_id in finished]
    for image_id in tqdm(image_ids, desc="reading corrections", unit="label", disable=not progress):
        try:
            found, oddity = _open_correction(store, image_id)
        except (MaskError, UnreadableImageError, NotFoundError) as error:
            problems.append(f"A correction is not used: {error}")
            continue
        if oddity:
            odd[oddity].append(image_id)
        if found is not None:
            photographs.append(found)
    problems += [counted(f"Corrected photographs {words}", ids) for words, ids in odd.items()]
    return DataSet(CORRECTIONS, tuple(photographs), tuple(problems))


def _open_correction(store: StudyStore, image_id: str) -> tuple[LabelledPhotograph | None, str | None]:
    label = store.latest_final(image_id)
    if label is None:  # removed by somebody just now
        return None, None
    header = store.header(image_id)
    if header.number_of_frames > 1:
        return None, "of several frames, not used"
    answer = _answer(_read_segments(store, header, label.sop_instance_uid))
    if not answer.outlined and answer.diagnosis is None:
        return None, answer.oddity
    patient = read_patient(store.attributes(image_id), header.acquired)
    correction = LabelledPhotograph(
        image_id=image_id,
        source=CORRECTIONS,
        picture=_StoredPhotograph(store, image_id),
        mask=_StoredOutline(store, image_id, label.sop_instance_uid) if answer.outlined else None,
        diagnosis=answer.diagnosis,
        lesion_id=header.tracking_uid or answer.lesion_id,
        patient_id=header.patient_key,
        age=patient.age,
        sex=patient.sex,
        site=header.anatomic_site,
        device=patient.device,
    )
    return correction, answer.oddity


def _read_segments(store: StudyStore, header: PhotographHeader, label_id: str) -> list[LesionSegment]:
    return read_segmentation(store.retrieve_label(label_id), header)


def _answer(segments: list[LesionSegment]) -> _Answer:
    """Reduce outlined lesions to what the networks learn: one mask, one class.

    A lesion without pixels is a diagnosis that stands alone; it counts only where none is outlined. Several
    outlined lesions of different diagnoses, or of which one has none, give no class for the photograph.
    """
    outlined = [segment for segment in segments if segment.mask.any()]
    classes = {segment.lesion_class for segment in outlined or segments}
    diagnosis = next(iter(classes)) if len(classes) == 1 else None
    lesions = {segment.tracking_uid for segment in outlined or segments}
    oddity = None
    if len(classes) > 1:
        oddity = (
            "with lesions of different diagnoses, which teach outlines only"
            if outlined
            else ("with several diagnoses and no outline, not used")
        )
    elif not outlined and diagnosis is None:
        oddity = "with the answer that there is no lesion, which teaches neither network"
    return _Answer(
        outlined=bool(outlined),
        diagnosis=diagnosis.index if diagnosis else None,
        lesion_id=next(iter(lesions)) if len(lesions) == 1 else None,
        oddity=oddity,
    )
