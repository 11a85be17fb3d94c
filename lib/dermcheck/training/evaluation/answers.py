"""What a model answers to labelled photographs, through the product's own path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from torch import nn
from tqdm import tqdm

from dermcheck.dicom.pixels import RGBImage
from dermcheck.dicom.segments import LesionMask
from dermcheck.errors import DermCheckError
from dermcheck.inference.classifier import Classifier
from dermcheck.inference.outliner import Outliner
from dermcheck.inference.report import Diagnosis
from dermcheck.lesions import CLASSES
from dermcheck.networks.cards import ModelCard
from dermcheck.training.data.data_set import DataError, DataSet, LabelledPhotograph
from dermcheck.training.data.picture_cache import Photographs
from dermcheck.training.data.splits import assign_folds
from dermcheck.training.evaluation.masks import boundary_distance, dice_index, jaccard_index

__all__ = [
    "Answers",
    "ClassificationAnswers",
    "NothingToAnswerError",
    "OutlineAnswers",
    "answer_photographs",
    "classify_photographs",
    "outline_photographs",
]

Model: TypeAlias = tuple[nn.Module, ModelCard]
StrArray: TypeAlias = npt.NDArray[np.str_]
Float64Array: TypeAlias = npt.NDArray[np.float64]

_BATCH: Final = 16
_BATCH_PX: Final = 24_000_000
"""Pixels decoded at once, so that a batch of large photographs costs bounded memory."""


class NothingToAnswerError(DataError):
    """No photograph among those asked for has the label that the task needs."""


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


@dataclass(frozen=True)
class _Case:
    """One photograph, wherever it lies."""

    known: dict[str, Any] = field(repr=False)
    read_picture: Callable[[], RGBImage]
    read_mask: Callable[[], LesionMask]
    diagnosis: int


def answer_photographs(
    model: Model, data: DataSet | Photographs, folds: Iterable[int], *, progress: bool = False
) -> ClassificationAnswers | OutlineAnswers:
    """Let a model of either task answer; see `classify_photographs` and `outline_photographs`."""
    if model[1].task == "classification":
        return classify_photographs(model, data, folds, progress=progress)
    return outline_photographs(model, data, folds, progress=progress)


def classify_photographs(
    model: Model, data: DataSet | Photographs, folds: Iterable[int], *, progress: bool = False
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
    progress
        Whether to show a bar.

    Raises
    ------
    NothingToAnswerError
        If there is no such photograph.
    """
    classifier = Classifier(*model)
    cases = [case for case in _cases(data, folds) if case.diagnosis >= 0]
    answered, problems = _answer(cases, classifier.diagnose, _diagnosis, "classifying", progress)
    columns = _columns(answered, "a diagnosis", data, problems)
    return ClassificationAnswers(**columns, problems=tuple(problems))


def outline_photographs(
    model: Model, data: DataSet | Photographs, folds: Iterable[int], *, progress: bool = False
) -> OutlineAnswers:
    """Outline the photographs of `folds` whose mask is known; parameters as of `classify_photographs`.

    Raises
    ------
    NothingToAnswerError
        If there is no such photograph.
    """
    outliner = Outliner(*model)
    cases = list(_cases(data, folds, masks=True))
    answered, problems = _answer(cases, outliner.outline, _agreement, "outlining", progress)
    columns = _columns(answered, "an outline", data, problems)
    return OutlineAnswers(**columns, problems=tuple(problems))


def _diagnosis(case: _Case, said: Diagnosis) -> dict[str, Any]:
    told = said.caution
    possible = None if told.possible_classes is None else {c.name for c in told.possible_classes}
    return {
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


def _agreement(case: _Case, mask: LesionMask) -> dict[str, Any]:
    expert = case.read_mask()
    if expert.shape != mask.shape:
        raise DataError(
            f"{case.known['image_id']}: the mask has {expert.shape[1]} × {expert.shape[0]} pixels, but the "
            f"photograph has {mask.shape[1]} × {mask.shape[0]}. Give the mask in the photograph's size."
        )
    return {
        "jaccard": jaccard_index(mask, expert),
        "dice": dice_index(mask, expert),
        "boundary_distance": boundary_distance(mask, expert) / min(mask.shape),
    }


def _answer(
    cases: list[_Case],
    predict: Callable[[list[RGBImage]], list[Any]],
    describe: Callable[[_Case, Any], dict[str, Any]],
    words: str,
    progress: bool,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Predict batch by batch; a photograph that cannot be read becomes a problem, not the end."""
    answered: list[dict[str, Any]] = []
    problems: list[str] = []
    with tqdm(total=len(cases), desc=words, unit="image", disable=not progress) as bar:
        for batch in _batches(cases, problems, bar):
            for (case, _), said in zip(batch, predict([pixels for _, pixels in batch]), strict=True):
                try:
                    answered.append(case.known | describe(case, said))
                except DermCheckError as error:  # noqa: PERF203  # one photograph's trouble is its own
                    problems.append(str(error))
    return answered, problems


def _batches(
    cases: list[_Case], problems: list[str], bar: tqdm[Any]
) -> Iterator[list[tuple[_Case, RGBImage]]]:
    batch: list[tuple[_Case, RGBImage]] = []
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


def _columns(
    answered: list[dict[str, Any]], wanted: str, data: DataSet | Photographs, problems: list[str]
) -> dict[str, npt.NDArray[Any]]:
    """Turn the rows into arrays by name."""
    if not answered:
        name = data.name if isinstance(data, DataSet) else "These photographs"
        first = f" The first problem: {problems[0]}" if problems else ""
        raise NothingToAnswerError(
            f"{name}: none of the photographs asked for has {wanted} and can be read.{first}"
        )
    return {name: np.array([row[name] for row in answered]) for name in answered[0]}


def _cases(data: DataSet | Photographs, folds: Iterable[int], *, masks: bool = False) -> Iterator[_Case]:
    wanted = frozenset(folds)
    if isinstance(data, DataSet):
        known = all(photograph.fold is not None for photograph in data.photographs)
        for photograph in (data if known else assign_folds(data)).photographs:
            if photograph.fold in wanted and (photograph.mask is not None or not masks):
                yield _of_data_set(photograph)
        return
    for row in data.rows(wanted).tolist():
        if data.has_mask[row] or not masks:
            yield _of_cache(data, row)


def _of_data_set(photograph: LabelledPhotograph) -> _Case:
    known = {
        "image_id": photograph.image_id,
        "lesion_id": photograph.lesion,
        "source": photograph.source,
        "age": np.nan if photograph.age is None else photograph.age,
        "sex": photograph.sex or "",
        "site": photograph.site or "",
        "device": photograph.device or "",
    }

    def read_mask() -> LesionMask:
        assert photograph.mask is not None  # noqa: S101  # only asked for where there is one
        return photograph.mask.read()

    diagnosis = -1 if photograph.diagnosis is None else photograph.diagnosis
    return _Case(known, photograph.picture.read, read_mask, diagnosis)


def _of_cache(photographs: Photographs, row: int) -> _Case:
    names = ("image_id", "lesion_id", "source", "sex", "site", "device")
    known: dict[str, Any] = {name: str(getattr(photographs, name)[row]) for name in names}
    known["age"] = float(photographs.age[row])
    return _Case(
        known,
        lambda: cast(RGBImage, np.asarray(photographs.images[row])),
        lambda: np.asarray(photographs.masks[row]) > 0,
        int(photographs.diagnosis[row]),
    )
