"""The check for wrong labels, on the studies of a clinic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from dermcheck.active_learning.suspicious_labels import (
    MOST_CONFIDENCE,
    find_suspicious,
    out_of_fold_probabilities,
)
from dermcheck.dicom.photograph import read_photograph
from dermcheck.dicom.segmentation import read_segmentation
from dermcheck.dicom.segments import only_class
from dermcheck.errors import DermCheckError
from dermcheck.lesions import CLASSES

if TYPE_CHECKING:
    from dermcheck.datastore import StoredLabel, StudyStore
    from dermcheck.dicom.pixels import RGBImage

__all__ = ["DoubtfulLabel", "Embed", "check_studies"]

Embed = Callable[[Sequence["RGBImage"]], "npt.NDArray[np.float32]"]
"""Turns N photographs into embeddings (N, D), by an encoder that has not learnt from these labels."""

_BATCH: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtfulLabel:
    """A label that is probably wrong."""

    label: str
    """SOPInstanceUID."""
    image: str
    reader: str | None
    given: str
    likely: str
    confidence: float
    """Probability of the given class, by a model that has not seen this patient's labels."""
    likely_probability: float


@dataclass(frozen=True, slots=True)
class _Known:
    label: StoredLabel
    given: int
    group: str
    embedding: npt.NDArray[np.float32]


def check_studies(
    store: StudyStore, embed: Embed, *, most_confidence: float = MOST_CONFIDENCE, progress: bool = False
) -> tuple[list[DoubtfulLabel], int, list[str]]:
    """List the labels of the studies whose class is probably wrong, the worst first.

    Checked is the label that counts of each photograph, if it names one class. Patients are kept apart.

    Parameters
    ----------
    store
        The studies.
    embed
        Computes embeddings.
    most_confidence
        See `find_suspicious`.
    progress
        Whether to show a bar.

    Returns
    -------
    doubtful
        The list.
    checked
        How many labels were checked.
    problems
        Sentences about photographs and labels that cannot be read; these are left out.

    Raises
    ------
    NothingToCheckError
        If there are too few labels.
    StorageError
        If the archive does not answer.
    """
    known, problems = _gather(store, embed, progress)
    labels = np.array([each.given for each in known], np.int64)
    embedding = np.stack([each.embedding for each in known]) if known else np.zeros((0, 1), np.float32)
    probabilities = out_of_fold_probabilities(embedding, labels, [each.group for each in known])
    doubtful = [
        DoubtfulLabel(
            label=known[found.row].label.sop_instance_uid,
            image=known[found.row].label.image_id,
            reader=known[found.row].label.creator,
            given=CLASSES[found.given],
            likely=CLASSES[found.likely],
            confidence=found.confidence,
            likely_probability=found.likely_probability,
        )
        for found in find_suspicious(probabilities, labels, most_confidence)
    ]
    return doubtful, len(known), problems


def _gather(store: StudyStore, embed: Embed, progress: bool) -> tuple[list[_Known], list[str]]:
    """Read labels and photographs, some at a time: photographs take much memory."""
    known: list[_Known] = []
    problems: list[str] = []
    waiting: list[tuple[StoredLabel, int, str, RGBImage]] = []

    def empty() -> None:
        if waiting:
            vectors = embed([pixels for *_, pixels in waiting])
            for (label, given, group, _), vector in zip(waiting, vectors, strict=True):
                known.append(_Known(label, given, group, vector))
            waiting.clear()

    images = sorted(store.finished_ids().intersection(store.image_ids()))
    for image in tqdm(images, desc="looking at photographs", unit="photograph", disable=not progress):
        found = _read(store, image)
        if isinstance(found, str):
            problems.append(found)
        elif found is not None:
            waiting.append(found)
        if len(waiting) == _BATCH:
            empty()
    empty()
    return known, problems


def _read(store: StudyStore, image: str) -> Any:
    """Return label, class, group and pixels; None if the label names no single class; or what is wrong."""
    label = store.latest_final(image)
    if label is None:
        return None
    try:
        header = store.header(image)
        segments = read_segmentation(store.retrieve_label(label.sop_instance_uid), header)
        lesion_class = only_class(segments)
        if lesion_class is None:
            return None
        pixels = read_photograph(store.retrieve(image)).pixels
    except DermCheckError as error:
        return f"A label is left out: {error}"
    return label, lesion_class.index, header.patient_key or image, pixels
