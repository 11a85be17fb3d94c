"""What is asked about one photograph, and what is answered: plain values that pass between processes.

Nothing here needs monailabel, nor torch before a prediction is made: the process that predicts starts the
quicker for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from dermcheck.errors import ArgumentError
from dermcheck.label_app.browser_masks import encode_label_map
from dermcheck.label_app.label_map_files import LABEL_MAP_SUFFIXES, encode_answer
from dermcheck.lesions import LESION_CLASSES

if TYPE_CHECKING:
    from pydicom import Dataset

    from dermcheck.dicom.author import Algorithm
    from dermcheck.dicom.segmentation import LesionSegment
    from dermcheck.inference.report import LesionReport
    from dermcheck.inference.rules import Caution
    from dermcheck.label_app.source_image import SourceImage

__all__ = [
    "BROWSER",
    "DIAGNOSES",
    "LESION",
    "MODELS",
    "NOTICE",
    "SEGMENTATION_SUFFIX",
    "Answer",
    "Model",
    "Question",
    "Reply",
    "make_answer",
    "make_reply",
    "wanted_form",
]

NOTICE: Final = "Research use only. Not a medical device, not for diagnosis."
DIAGNOSES: Final = {lesion.meaning: lesion.label_value for lesion in LESION_CLASSES}
"""Segment name -> value: the viewer shows the diagnosis as the name of the filled segment."""
LESION: Final = "Skin lesion"
"""Segment name of a lesion without a diagnosis."""
SEGMENTATION_SUFFIX: Final = ".dcm"
"""As `result_extension`, asks for a DICOM Segmentation."""
BROWSER: Final = "browser"
"""The form of an answer in which the outline is text inside `Reply.params`, as our viewer takes it."""


@dataclass(frozen=True)
class Model:
    """One of the models that viewers see."""

    kind: Literal["segmentation", "classification"]
    labels: Mapping[str, int]
    diagnoses: bool
    """Whether the answer holds a diagnosis, and the label map's value is the decided class's."""
    description: str


MODELS: Final[Mapping[str, Model]] = {
    "dermcheck": Model(
        "segmentation",
        DIAGNOSES,
        True,
        "Outlines the lesion and names its diagnosis by the segment it fills.",
    ),
    "lesion_segmentation": Model("segmentation", {LESION: 1}, False, "Outlines the lesion."),
    "lesion_classification": Model(
        "classification",
        DIAGNOSES,
        True,
        "Gives seven calibrated probabilities, with the outline they go with.",
    ),
}
"""The models of `/info/`, the one that a viewer should run by itself first."""


@dataclass(frozen=True)
class Question:
    """One photograph, and in which form the answer is wanted."""

    name: str
    """Image id, or name of the uploaded file: for messages."""
    content: bytes = field(repr=False)
    """A whole file: DICOM, or for what was sent along any format of `source_image.read_upload`."""
    model: str
    """One of `MODELS`."""
    form: str
    """One of `LABEL_MAP_SUFFIXES`, `SEGMENTATION_SUFFIX` or `BROWSER`."""
    is_study: bool = True
    """Whether it is a photograph of the studies, and `name` its SOP instance UID."""
    keep: bool = False
    """Whether the objects to be stored beside the photograph are wanted too."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, eq=False)
class Reply:
    """The answer in the form that was asked for."""

    params: dict[str, Any]
    """For the viewer, and for people who read it there."""
    content: bytes = field(default=b"", repr=False)
    """The file of the mask; empty for `BROWSER`."""
    models: tuple[tuple[str, str, str], ...] = ()
    """Name, version and hash of the models that answered: classifier and outliner."""
    objects: tuple[bytes, ...] = field(default=(), repr=False)
    """DICOM files to be stored: the Segmentation, and the Structured Report if there is a diagnosis."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model says about one photograph."""

    label_map: npt.NDArray[np.uint8]
    segment: LesionSegment
    author: Algorithm
    report: LesionReport
    params: dict[str, Any] = field(default_factory=dict)


def wanted_form(request: Mapping[str, Any]) -> str:
    """Return which kind of file a viewer's request asks for.

    Raises
    ------
    ArgumentError
        If no model writes it.
    """
    form = request.get("result_extension") or LABEL_MAP_SUFFIXES[0]
    known = (*LABEL_MAP_SUFFIXES, SEGMENTATION_SUFFIX)
    if form not in known:
        raise ArgumentError(
            f"result_extension is {form!r}, expected one of {', '.join(known)}. Ask for one of these."
        )
    if (dtype := request.get("result_dtype") or "uint8") != "uint8":
        raise ArgumentError(f"result_dtype is {dtype!r}, expected uint8: label maps hold values 0 to 7.")
    return str(form)


def make_answer(model: Model, report: LesionReport, seconds: float) -> Answer:
    """Say what the model answers, given what the networks found in `seconds`."""
    from dermcheck.dicom.segmentation import LesionSegment

    params: dict[str, Any]
    common = {
        "label_names": dict(model.labels),
        "latencies": {"infer": round(seconds, 3)},
        "notice": NOTICE,
        "mask_area_px": int(report.mask.sum()),
    }
    if not model.diagnoses:
        params = {"models": {"outliner": asdict(report.outliner)}}
        segment = LesionSegment(report.mask, None, label=LESION)
        return Answer(report.mask.astype(np.uint8), segment, report.outliner, report, params | common)
    params = {
        "probabilities": dict(report.probabilities),
        "decision": report.decision.name,
        "diagnosis": report.decision.meaning,
        "uncertainty": report.uncertainty,
        **_caution(report.caution),
        "models": {"classifier": asdict(report.classifier), "outliner": asdict(report.outliner)},
    }
    segment = LesionSegment(report.mask, report.decision)
    return Answer(report.label_map(), segment, report.outliner, report, params | common)


def make_reply(question: Question, answer: Answer, source: SourceImage) -> Reply:
    """Put an answer into the form that was asked for.

    Parameters
    ----------
    source
        The photograph; its pixels are not looked at.

    Raises
    ------
    ArgumentError
        If DICOM is asked for where the photograph is not DICOM.
    """
    objects = _objects_to_keep(question, answer, source) if question.keep else ()
    authors = answer.report.classifier, answer.report.outliner
    models = tuple((each.name, each.version, each.model_hash) for each in authors)
    if question.form == BROWSER:
        return Reply(_for_browser(answer), models=models, objects=objects)
    return Reply(answer.params, _file(question, answer, source, objects), models, objects)


def _file(question: Question, answer: Answer, source: SourceImage, objects: tuple[bytes, ...]) -> bytes:
    if question.form == SEGMENTATION_SUFFIX:
        return objects[0] if objects else _part_10(_segmentation(answer, source))
    return encode_answer(answer.label_map, MODELS[question.model].labels, source, question.form)


def _for_browser(answer: Answer) -> dict[str, Any]:
    mask, lesion_class = answer.segment.mask, answer.segment.lesion_class
    return {
        "rows": mask.shape[0],
        "columns": mask.shape[1],
        "mask": encode_label_map(mask.astype(np.uint8)),
        "lesions": [{"value": 1, "diagnosis": lesion_class.name if lesion_class else None}],
        "params": answer.params,
    }


def _segmentation(answer: Answer, source: SourceImage) -> Dataset:
    from dermcheck.dicom.segmentation import write_segmentation

    if source.dataset is None:
        raise ArgumentError(
            f"{source.name}: this photograph is not DICOM, so there is no DICOM Segmentation of it. "
            f"Ask for {LABEL_MAP_SUFFIXES[0]}, or import the photograph first (dermcheck import)."
        )
    return write_segmentation(source.dataset, [answer.segment], answer.author)


def _objects_to_keep(question: Question, answer: Answer, source: SourceImage) -> tuple[bytes, ...]:
    """Make the Segmentation and, with a diagnosis, the Structured Report: both about the same lesion."""
    from dermcheck.dicom.report import DiagnosisFinding, write_report

    segmentation = _segmentation(answer, source)
    if not MODELS[question.model].diagnoses:
        return (_part_10(segmentation),)
    report, lesion = answer.report, segmentation.SegmentSequence[0]
    finding = DiagnosisFinding.from_mask(
        report.mask, report.probabilities, report.decision, report.uncertainty, report.classifier
    )
    assert source.dataset is not None  # noqa: S101  # for mypy: else there is no Segmentation
    written = write_report(
        source.dataset, finding, tracking_id=lesion.TrackingID, tracking_uid=lesion.TrackingUID
    )
    return _part_10(segmentation), _part_10(written)


def _part_10(dataset: Dataset) -> bytes:
    from io import BytesIO

    content = BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()


def _caution(told: Caution) -> dict[str, Any]:
    """Say how far the answer may be relied on; null where the model has no rule for it."""
    possible = told.possible_classes
    return {
        "confidence": told.confidence,
        "not_sure": told.not_sure,
        "possible_classes": None if possible is None else [lesion.name for lesion in possible],
        "melanoma_not_excluded": told.melanoma_not_excluded,
        "is_lesion_photograph": told.is_lesion_photograph,
        "lesion_photograph_score": told.lesion_photograph_score,
    }
