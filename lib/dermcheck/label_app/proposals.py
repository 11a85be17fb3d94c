"""What a person's outline is compared with: the models' proposal, or the label that it began with."""

from __future__ import annotations

import json
import logging
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dermcheck.datastore.label_files import read_label_file
from dermcheck.dicom.segmentation import read_segmentation
from dermcheck.dicom.segments import union_of
from dermcheck.errors import DermCheckError
from dermcheck.label_app.answers import BROWSER, MODELS, Reply
from dermcheck.label_app.browser_masks import decode_label_map

if TYPE_CHECKING:
    from dermcheck.datastore import StudyStore
    from dermcheck.dicom.header import PhotographHeader
    from dermcheck.dicom.segments import LesionMask, LesionSegment

__all__ = ["Proposal", "RecentProposals", "read_earlier_label"]

logger = logging.getLogger(__name__)

_MOST: Final = 256
"""Answers to remember, of some ten kilobytes each: more than clinicians have open at once."""
_LONGEST_WORK_S: Final = 3600.0
"""Whoever submits later than that after the answer has done something else meanwhile."""


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """Outline and class before a person changed them."""

    mask: LesionMask
    """(rows, columns), the union of its lesions."""
    lesion_class: str | None
    """Short name, where it names one class only."""
    seconds_ago: float | None = None
    """Since when the viewer has had it, where that may be the time the person took."""


@dataclass(frozen=True, slots=True, eq=False)
class _Answered:
    model: str
    form: str
    reply: Reply
    at: float


class RecentProposals:
    """Remembers the latest answer for each photograph, as the viewer got it; any thread may use it.

    In memory only: after a restart of the server it is not known any more what a person changed, and nothing
    is said about it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answered: OrderedDict[str, _Answered] = OrderedDict()

    def remember(self, image: str, model: str, form: str, reply: Reply) -> None:
        """Note what a viewer is answered."""
        with self._lock:
            self._answered.pop(image, None)
            self._answered[image] = _Answered(model, form, reply, time.monotonic())
            while len(self._answered) > _MOST:
                self._answered.popitem(last=False)

    def shown_in_browser(self, image: str, params: Mapping[str, Any] | None) -> Proposal | None:
        """Return the proposal that goes with an answer's `params`, as the browser sends them back.

        None if another one was made meanwhile: by models that have been exchanged, or for another viewer.
        """
        with self._lock:
            answered = self._answered.get(image)
        if answered is None or answered.form != BROWSER:
            return None
        values = json.loads(json.dumps(answered.reply.params))  # as the browser got it
        if values.get("params") != params:
            return None
        label_map = decode_label_map(str(values["mask"]), int(values["rows"]), int(values["columns"]))
        return Proposal(label_map > 0, _one(lesion.get("diagnosis") for lesion in values["lesions"]))

    def sent_as_file(self, header: PhotographHeader) -> Proposal | None:
        """Return the proposal that a viewer like 3D Slicer was sent last for a photograph; None if none was.

        Raises
        ------
        MaskError
            If our own file cannot be read.
        """
        with self._lock:
            answered = self._answered.get(header.sop_instance_uid)
        if answered is None or not answered.reply.content:
            return None
        with tempfile.TemporaryDirectory(prefix="dermcheck-") as folder:
            path = Path(folder, f"proposal{answered.form}")
            path.write_bytes(answered.reply.content)
            names = MODELS[answered.model].labels
            segments = read_label_file(path, header, {"label_names": names})
        seconds = time.monotonic() - answered.at
        return Proposal(
            union_of(segments, header),
            _one_class(segments),
            seconds if seconds <= _LONGEST_WORK_S else None,
        )


def read_earlier_label(store: StudyStore, image: str, label: str) -> Proposal | None:
    """Read the label that a person began with; None if that is impossible, as no work may be lost for it."""
    try:
        header = store.header(image)
        segments = read_segmentation(store.retrieve_label(label), header)
    except DermCheckError as error:
        logger.info("Label %s cannot be compared with: %s", label, error)
        return None
    return Proposal(union_of(segments, header), _one_class(segments))


def _one_class(segments: Iterable[LesionSegment]) -> str | None:
    return _one(each.lesion_class.name if each.lesion_class else None for each in segments)


def _one(classes: Iterable[str | None]) -> str | None:
    found = set(classes)
    return next(iter(found)) if len(found) == 1 else None
