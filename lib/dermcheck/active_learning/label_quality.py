"""What is known of every label that a person made: who, when, how long, and what was changed.

Most of it lies in the label itself (`dermcheck.dicom.annotation_record`). Of labels by other viewers, or of
an earlier DermCheck, it is found out afterwards where a prediction was stored before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tqdm import tqdm

from dermcheck.dicom.annotation_record import AnnotationRecord, read_record
from dermcheck.dicom.segmentation import read_segmentation
from dermcheck.dicom.segments import union_of
from dermcheck.errors import DermCheckError

if TYPE_CHECKING:
    from datetime import datetime

    from dermcheck.datastore import StoredLabel, StudyStore
    from dermcheck.dicom.header import PhotographHeader
    from dermcheck.dicom.segments import LesionMask

__all__ = ["LabelQuality", "State", "list_labels"]

State = Literal["counts", "earlier", "withdrawn", "withdrawal"]
"""The newest label of a photograph counts; earlier ones are kept; withdrawn ones are kept, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelQuality:
    """One label by a person; what is not known is None."""

    label: str
    """SOPInstanceUID."""
    image: str
    reader: str | None
    at: datetime | None
    """Local time."""
    state: State
    diagnoses: tuple[str | None, ...] = ()
    """Short name of each lesion's class."""
    area_px: int = 0
    record: AnnotationRecord = field(default_factory=AnnotationRecord)
    found_afterwards: bool = False
    """Whether what was changed was found out from a stored prediction."""

    @property
    def class_kept(self) -> bool | None:
        """Whether the person agreed with the proposal's class; None where there was none."""
        if self.record.proposed_class is None:
            return None
        return set(self.diagnoses) == {self.record.proposed_class}

    @property
    def changed_share(self) -> float | None:
        """Changed pixels as a part of what proposal and outline cover together, 0 to 1."""
        changed, proposed, added = (
            self.record.changed_px,
            self.record.proposed_px,
            self.record.added_px,
        )
        if changed is None or proposed is None or added is None:
            return None
        return changed / (proposed + added) if proposed + added else 0.0

    def to_json(self) -> dict[str, Any]:
        """Give all of it as JSON values."""
        share = self.changed_share
        return {
            "label": self.label,
            "image": self.image,
            "reader": self.reader,
            "at": self.at.isoformat() if self.at else None,
            "state": self.state,
            "diagnoses": list(self.diagnoses),
            "area_px": self.area_px,
            **asdict(self.record),
            "changed_px": self.record.changed_px,
            "changed_share": None if share is None else round(share, 4),
            "class_kept": self.class_kept,
            "found_afterwards": self.found_afterwards,
        }


def list_labels(store: StudyStore, *, progress: bool = False) -> tuple[list[LabelQuality], list[str]]:
    """List all labels by persons, those of one photograph together, oldest first.

    Parameters
    ----------
    store
        The studies.
    progress
        Whether to show a bar.

    Returns
    -------
    labels
        Also withdrawn ones.
    problems
        Sentences about labels that cannot be read; these are left out.

    Raises
    ------
    StorageError
        If the archive does not answer.
    """
    labels: list[LabelQuality] = []
    problems: list[str] = []
    images = [image for image in store.image_ids() if store.label_history(image)]
    for image in tqdm(images, desc="reading labels", unit="photograph", disable=not progress):
        history = store.label_history(image)
        withdrawn = {label.withdraws for label in history if label.withdraws}
        counts = store.latest_final(image)
        for position, label in enumerate(history):
            if label.automatic:
                continue
            state: State = "earlier"
            if label.withdraws:
                state = "withdrawal"
            elif label.sop_instance_uid in withdrawn:
                state = "withdrawn"
            elif label == counts:
                state = "counts"
            try:
                labels.append(_describe(store, label, state, history[:position]))
            except DermCheckError as error:
                problems.append(f"A label is left out: {error}")
    return labels, problems


def _describe(
    store: StudyStore, label: StoredLabel, state: State, before: Sequence[StoredLabel]
) -> LabelQuality:
    header = store.header(label.image_id)
    dataset = store.retrieve_label(label.sop_instance_uid)
    segments = read_segmentation(dataset, header)
    drawn = union_of(segments, header)
    record = read_record(dataset)
    known = record or AnnotationRecord()
    afterwards = None
    if known.changed_px is None and known.started_from in (None, "prediction") and state != "withdrawal":
        afterwards = _found_afterwards(store, header, drawn, known, before)
    return LabelQuality(
        label=label.sop_instance_uid,
        image=label.image_id,
        reader=label.creator,
        at=label.created if label.created.year > 1 else None,
        state=state,
        diagnoses=tuple(
            each.lesion_class.name if each.lesion_class else None
            for each in segments
            if each.mask.any() or each.lesion_class
        ),
        area_px=int(drawn.sum()),
        record=afterwards or known,
        found_afterwards=afterwards is not None,
    )


def _found_afterwards(
    store: StudyStore,
    header: PhotographHeader,
    drawn: LesionMask,
    known: AnnotationRecord,
    before: Sequence[StoredLabel],
) -> AnnotationRecord | None:
    """Compare with the latest prediction that was stored before; None if there is none."""
    stored = next((label for label in reversed(before) if label.automatic), None)
    if stored is None:
        return None
    segments = read_segmentation(store.retrieve_label(stored.sop_instance_uid), header)
    classes = {each.lesion_class.name if each.lesion_class else None for each in segments}
    return AnnotationRecord.compare(
        union_of(segments, header),
        drawn,
        next(iter(classes)) if len(classes) == 1 else None,
        seconds=known.seconds,
        started_from=known.started_from,
    )
