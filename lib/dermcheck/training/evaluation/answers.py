"""What a model answers to labelled photographs, through the product's own path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from dermcheck.dicom.pixels import RGBImage
from dermcheck.dicom.segments import LesionMask
from dermcheck.errors import DermCheckError
from dermcheck.inference.classifier import Classifier
from dermcheck.inference.outliner import Outliner
from dermcheck.inference.report import Diagnosis
from dermcheck.lesions import CLASSES
from dermcheck.networks.checkpoint import LoadedModel
from dermcheck.training.data.data_set import DataSet
from dermcheck.training.data.picture_cache import Photographs
from dermcheck.training.evaluation.masks import agreement
from dermcheck.training.evaluation.reading import Case, NothingToAnswerError, columns_of, find_cases
from dermcheck.training.evaluation.skin_tone import typology_angle

__all__ = [
    "Answers",
    "ClassificationAnswers",
    "NothingToAnswerError",
    "OutlineAnswers",
    "answer_photographs",
    "classify_photographs",
    "outline_photographs",
]

StrArray: TypeAlias = npt.NDArray[np.str_]
Float64Array: TypeAlias = npt.NDArray[np.float64]

_BATCH: Final = 16
_BATCH_PX: Final = 24_000_000
"""Pixels decoded at once, so that a batch of large photographs costs bounded memory."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Answers:
    """The photographs that were answered, N of them, in the order of the data; each field has N rows."""

    image_id: StrArray
    lesion_id: StrArray
    """What intervals are drawn over: the lesion; where it is unknown, the patient or the image."""
    source: StrArray
    age: Float64Array
    """In years; NaN where unknown."""
    sex: StrArray
    """Like `site` and `device`, empty where unknown."""
    site: StrArray
    device: StrArray
    typology_angle: Float64Array
    """Of the skin around the lesion, in degrees (see `skin_tone`); NaN without an expert's mask."""
    problems: tuple[str, ...] = ()
    """Photographs that could not be read, each in a sentence; they have no row."""

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.image_id)


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassificationAnswers(Answers):
    """A classifier's answers beside the truth."""

    truth: npt.NDArray[np.int64]
    """(N,) indices in `CLASSES`."""
    decision: npt.NDArray[np.int64]
    probability: Float64Array
    """(N, 7), calibrated."""
    confidence: Float64Array
    """(N,); NaN where the card has no rules."""
    sure: npt.NDArray[np.bool_]
    """True where the answer is not "not sure"."""
    possible: npt.NDArray[np.bool_]
    """(N, 7); all True where the card has no rules."""
    melanoma_not_excluded: npt.NDArray[np.bool_]
    """All True where the card has no rule for it."""
    photograph_score: Float64Array
    """(N,); NaN where the model has no check."""
    is_lesion_photograph: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class OutlineAnswers(Answers):
    """An outliner's masks, each measured against the expert's, at the photograph's own size."""

    jaccard: Float64Array
    """(N,), 0 to 1."""
    dice: Float64Array
    """(N,), 0 to 1."""
    boundary_distance: Float64Array
    """(N,) average distance of the boundaries, in parts of the photograph's short side; NaN where no lesion
    was found."""


def answer_photographs(
    model: LoadedModel,
    data: DataSet | Photographs,
    folds: Iterable[int],
    *,
    outliner: LoadedModel | None = None,
    progress: bool = False,
) -> ClassificationAnswers | OutlineAnswers:
    """Let a model of either task answer; see `classify_photographs` and `outline_photographs`."""
    if model[1].task == "classification":
        return classify_photographs(model, data, folds, outliner=outliner, progress=progress)
    return outline_photographs(model, data, folds, progress=progress)


def classify_photographs(
    model: LoadedModel,
    data: DataSet | Photographs,
    folds: Iterable[int],
    *,
    outliner: LoadedModel | None = None,
    progress: bool = False,
) -> ClassificationAnswers:
    """Classify the photographs of `folds` whose diagnosis is known.

    Parameters
    ----------
    model
        Network and card, as `load_model` gives them.
    data
        A `DataSet` gives every picture in its own size, as the product sees it; let `identify` find its
        duplicates and choose its folds before. Decoded `Photographs` are read from the cache, which is
        quicker.
    outliner
        Needed where the model's card asks for a closer look, as the product gives it (`Classifier`).
    progress
        Whether to show a bar.

    Raises
    ------
    NothingToAnswerError
        If there is no such photograph.
    """
    classifier = Classifier(*model, outliner=outliner)
    cases = [case for case in find_cases(data, folds) if case.diagnosis >= 0]
    answered, problems = _answer(cases, classifier.diagnose, _diagnosis, "classifying", progress)
    columns = columns_of(answered, "a diagnosis", data, problems)
    return ClassificationAnswers(**columns, problems=tuple(problems))


def outline_photographs(
    model: LoadedModel, data: DataSet | Photographs, folds: Iterable[int], *, progress: bool = False
) -> OutlineAnswers:
    """Outline the photographs of `folds` whose mask is known; parameters as of `classify_photographs`.

    Raises
    ------
    NothingToAnswerError
        If there is no such photograph.
    """
    outliner = Outliner(*model)
    cases = list(find_cases(data, folds, masks=True))
    answered, problems = _answer(cases, outliner.outline, _agreement, "outlining", progress)
    columns = columns_of(answered, "an outline", data, problems)
    return OutlineAnswers(**columns, problems=tuple(problems))


def _diagnosis(case: Case, pixels: RGBImage, said: Diagnosis) -> dict[str, Any]:
    told = said.caution
    possible = None if told.possible_classes is None else {c.name for c in told.possible_classes}
    return {
        "typology_angle": case.typology_angle(pixels),
        "truth": case.diagnosis,
        "decision": said.decision.index,
        "probability": [said.probabilities[name] for name in CLASSES],
        "confidence": np.nan if told.confidence is None else told.confidence,
        "sure": not told.not_sure,
        "possible": [possible is None or name in possible for name in CLASSES],
        "melanoma_not_excluded": told.melanoma_not_excluded is not False,
        "photograph_score": np.nan if told.lesion_photograph_score is None else told.lesion_photograph_score,
        "is_lesion_photograph": told.is_lesion_photograph,
    }


def _agreement(case: Case, pixels: RGBImage, mask: LesionMask) -> dict[str, Any]:
    expert = case.expert_mask(pixels)
    return {"typology_angle": typology_angle(pixels, expert), **agreement(mask, expert)}


def _answer(
    cases: list[Case],
    predict: Callable[[list[RGBImage]], list[Any]],
    describe: Callable[[Case, RGBImage, Any], dict[str, Any]],
    words: str,
    progress: bool,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Predict batch by batch; a photograph that cannot be read becomes a problem, not the end."""
    answered: list[dict[str, Any]] = []
    problems: list[str] = []
    with tqdm(total=len(cases), desc=words, unit="image", disable=not progress) as bar:
        for batch in _batches(cases, problems, bar):
            for (case, pixels), said in zip(batch, predict([pixels for _, pixels in batch]), strict=True):
                try:
                    answered.append(case.known | describe(case, pixels, said))
                except DermCheckError as error:  # noqa: PERF203  # one photograph's trouble is its own
                    problems.append(str(error))
    return answered, problems


def _batches(cases: list[Case], problems: list[str], bar: tqdm[Any]) -> Iterator[list[tuple[Case, RGBImage]]]:
    batch: list[tuple[Case, RGBImage]] = []
    pixels_read = 0
    for case in cases:
        bar.update()
        try:
            pixels = case.read_picture()
        except DermCheckError as error:
            problems.append(str(error))
            continue
        batch.append((case, pixels))
        pixels_read += pixels.shape[0] * pixels.shape[1]
        if len(batch) == _BATCH or pixels_read >= _BATCH_PX:
            yield batch
            batch, pixels_read = [], 0
    if batch:
        yield batch
