"""The three models that viewers see, as MONAI Label's inference tasks."""

from __future__ import annotations

import tempfile
import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from dermcheck.dicom.author import Algorithm
from dermcheck.dicom.segmentation import LesionSegment, write_segmentation
from dermcheck.errors import ArgumentError
from dermcheck.label_app.label_map_files import LABEL_MAP_SUFFIXES, write_answer
from dermcheck.lesions import LESION_CLASSES

if TYPE_CHECKING:
    from dermcheck.inference.predictor import Predictor
    from dermcheck.inference.report import LesionReport
    from dermcheck.inference.rules import Caution
    from dermcheck.label_app.predictor_loader import PredictorLoader
    from dermcheck.label_app.source_image import SourceImage

__all__ = [
    "DIAGNOSES",
    "LESION",
    "NOTICE",
    "SEGMENTATION_SUFFIX",
    "Answer",
    "LesionTask",
    "check_suffix",
    "make_infer_tasks",
]

NOTICE: Final = "Research use only. Not a medical device, not for diagnosis."
DIAGNOSES: Final = {lesion.meaning: lesion.label_value for lesion in LESION_CLASSES}
"""Segment name -> value: the viewer shows the diagnosis as the name of the filled segment."""
LESION: Final = "Skin lesion"
"""Segment name of a lesion without a diagnosis."""
SEGMENTATION_SUFFIX: Final = ".dcm"
"""As `result_extension`, asks for a DICOM Segmentation."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model says about one photograph."""

    label_map: npt.NDArray[np.uint8]
    segment: LesionSegment
    author: Algorithm
    params: dict[str, Any] = field(default_factory=dict)
    """For the viewer, and for people who read it there."""
    report: LesionReport | None = None


class LesionTask(InferTask):  # type: ignore[misc]  # monailabel has no types
    """One model; the photograph comes as a `SourceImage`, never as a path."""

    def __init__(
        self, predictor: PredictorLoader, kind: InferType, labels: Mapping[str, int], description: str
    ) -> None:
        super().__init__(type=kind, labels=dict(labels), dimension=2, description=f"{description} {NOTICE}")
        self._predictor = predictor

    def is_valid(self) -> bool:
        """Return whether MONAI Label shall list the model."""
        return self._predictor.is_usable()

    def answer(self, source: SourceImage) -> Answer:
        """Predict.

        Raises
        ------
        ModelError
            If the weights cannot be used.
        """
        predictor = self._predictor.get()
        started = time.monotonic()
        answer = self._answer(predictor, source)
        seconds = round(time.monotonic() - started, 3)
        common = {"label_names": self.labels, "latencies": {"infer": seconds}, "notice": NOTICE}
        return Answer(answer.label_map, answer.segment, answer.author, answer.params | common, answer.report)

    def write(self, answer: Answer, source: SourceImage, suffix: str) -> Path:
        """Write the answer's mask to a new temporary file, which belongs to the caller.

        Raises
        ------
        ArgumentError
            If `suffix` is unknown, or asks for DICOM where the photograph is not DICOM.
        """
        check_suffix(suffix)
        with tempfile.NamedTemporaryFile(prefix="dermcheck-", suffix=suffix, delete=False) as file:
            path = Path(file.name)
        try:
            if suffix == SEGMENTATION_SUFFIX:
                _write_dicom(answer, source, path)
            else:
                write_answer(answer.label_map, self.labels, source, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Answer MONAI Label's request: file of the mask, and JSON."""
        source: SourceImage = request["image"]
        suffix = request.get("result_extension") or LABEL_MAP_SUFFIXES[0]
        check_suffix(suffix)
        answer = self.answer(source)
        return str(self.write(answer, source, suffix)), answer.params

    @abstractmethod
    def _answer(self, predictor: Predictor, source: SourceImage) -> Answer:
        """Predict with the loaded models."""


class DiagnosisTask(LesionTask):
    """Outline and diagnosis; the label map's value is the decided class's."""

    def _answer(self, predictor: Predictor, source: SourceImage) -> Answer:
        report = predictor.predict(source.pixels)
        params = {
            "probabilities": dict(report.probabilities),
            "decision": report.decision.name,
            "diagnosis": report.decision.meaning,
            "uncertainty": report.uncertainty,
            **_caution(report.caution),
            "mask_area_px": int(report.mask.sum()),
            "models": {"classifier": asdict(report.classifier), "outliner": asdict(report.outliner)},
        }
        segment = LesionSegment(report.mask, report.decision)
        return Answer(report.label_map(), segment, report.outliner, params, report)


class OutlineTask(LesionTask):
    """Outline only."""

    def _answer(self, predictor: Predictor, source: SourceImage) -> Answer:
        mask = predictor.outline(source.pixels)
        card = predictor.outliner_card
        outliner = Algorithm(card.name, card.version, card.sha256)
        params = {"mask_area_px": int(mask.sum()), "models": {"outliner": asdict(outliner)}}
        segment = LesionSegment(mask, None, label=LESION)
        return Answer(mask.astype(np.uint8), segment, outliner, params)


def make_infer_tasks(predictor: PredictorLoader) -> dict[str, LesionTask]:
    """Make the models of `/info/`, the one that a viewer should run by itself first."""
    return {
        "dermcheck": DiagnosisTask(
            predictor,
            InferType.SEGMENTATION,
            DIAGNOSES,
            "Outlines the lesion and names its diagnosis by the segment it fills.",
        ),
        "lesion_segmentation": OutlineTask(
            predictor, InferType.SEGMENTATION, {LESION: 1}, "Outlines the lesion."
        ),
        "lesion_classification": DiagnosisTask(
            predictor,
            InferType.CLASSIFICATION,
            DIAGNOSES,
            "Gives seven calibrated probabilities, with the outline they go with.",
        ),
    }


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


def check_suffix(suffix: str) -> None:
    """Refuse a kind of file that no model writes."""
    known = (*LABEL_MAP_SUFFIXES, SEGMENTATION_SUFFIX)
    if suffix not in known:
        raise ArgumentError(
            f"result_extension is {suffix!r}, expected one of {', '.join(known)}. Ask for one of these."
        )


def _write_dicom(answer: Answer, source: SourceImage, path: Path) -> None:
    if source.dataset is None:
        raise ArgumentError(
            f"{source.name}: this photograph is not DICOM, so there is no DICOM Segmentation of it. "
            f"Ask for {LABEL_MAP_SUFFIXES[0]}, or import the photograph first (dermcheck import)."
        )
    segmentation = write_segmentation(source.dataset, [answer.segment], answer.author)
    segmentation.save_as(path, enforce_file_format=True)
