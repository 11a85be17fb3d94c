"""The gate: whether a new model is taken into use without a person's decision.

The candidate and the model in use answer the same photographs, which neither was fitted to. A classifier
passes if

1. its balanced accuracy is better, or equal within `MARGINS`: with 95 % confidence, the difference is
   above minus the margin (lower bound of a paired bootstrap over lesions), and
2. it finds at least as many of the melanomas as the model in use, at the product's own decisions.

An outliner passes if the same holds for the mean Jaccard index. Where some of the seven classes are
missing among the photographs, balanced accuracy is the mean recall of those that are there, and the reason
says so. With fewer lesions than `LEAST_LESIONS`, or for a classifier fewer melanomas than
`LEAST_MELANOMAS`, nothing can be told: the candidate is kept, but stays out of use until a person takes
it into use by `dermcheck models promote`. So the gate errs towards the model in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from dermcheck.errors import ArgumentError
from dermcheck.lesions import CLASSES
from dermcheck.networks.cards import Task
from dermcheck.registry.paired_bootstrap import Comparison, compare_balanced_accuracy, compare_means

__all__ = ["KEPT", "LEAST_LESIONS", "LEAST_MELANOMAS", "MARGINS", "GateDecision", "decide"]

MARGINS: Final[Mapping[Task, float]] = {"classification": 0.03, "segmentation": 0.01}
"""How much lower balanced accuracy or Jaccard may be at worst, with 95 % confidence, for "equal"."""
LEAST_LESIONS: Final[Mapping[Task, int]] = {"classification": 50, "segmentation": 20}
"""Fewer say nothing: the interval of the difference is wider than the margin, whatever the models."""
LEAST_MELANOMAS: Final = 10
"""Lesions, not photographs. With fewer, a model that became blind for melanoma could go unnoticed."""

_MELANOMA: Final = CLASSES.index("mel")
KEPT: Final = "It is kept; to take it into use all the same: dermcheck models promote."
"""Ends the reason of each refusal."""


class _Answers(Protocol):
    @property
    def image_id(self) -> npt.NDArray[np.str_]: ...
    @property
    def lesion_id(self) -> npt.NDArray[np.str_]: ...


class _Decisions(_Answers, Protocol):
    @property
    def truth(self) -> npt.NDArray[np.int64]: ...
    @property
    def decision(self) -> npt.NDArray[np.int64]: ...


class _Outlines(_Answers, Protocol):
    @property
    def jaccard(self) -> npt.NDArray[np.float64]: ...


@dataclass(frozen=True)
class GateDecision:
    """Whether a candidate is taken into use, and why."""

    promoted: bool
    reason: str
    """For people: what was compared, the figures, the rule."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs, as JSON."""


def decide(
    task: Task,
    candidate: _Decisions | _Outlines,
    current: _Decisions | _Outlines,
    margin: float | None = None,
) -> GateDecision:
    """Compare the answers of two models to the same photographs.

    Parameters
    ----------
    task
        What they answer.
    candidate, current
        `ClassificationAnswers` or `OutlineAnswers` of `dermcheck.training.evaluation.answers`: the same
        photographs in the same order.
    margin
        In place of the task's of `MARGINS`.

    Raises
    ------
    ArgumentError
        If the photographs differ, or the margin is not from 0 to 1.
    """
    margin = MARGINS[task] if margin is None else margin
    if not 0 <= margin <= 1:
        raise ArgumentError(f"The margin of the gate is {margin}, expected a number from 0 to 1.")
    if not np.array_equal(candidate.image_id, current.image_id):
        raise ArgumentError(
            "The candidate and the model in use answered different photographs, expected the same ones in "
            "the same order: let both answer the same data set."
        )
    if task == "classification":
        return _decide_classification(cast(_Decisions, candidate), cast(_Decisions, current), margin)
    return _decide_outlines(cast(_Outlines, candidate), cast(_Outlines, current), margin)


def _decide_classification(candidate: _Decisions, current: _Decisions, margin: float) -> GateDecision:
    if not np.array_equal(candidate.truth, current.truth):
        raise ArgumentError("The candidate and the model in use were judged by different diagnoses.")
    truth, lesion_id = candidate.truth, _lesions(candidate)
    melanoma = truth == _MELANOMA
    lesions, melanomas = len(np.unique(lesion_id)), len(np.unique(lesion_id[melanoma]))
    figures: dict[str, Any] = {
        "photographs": len(truth), "lesions": lesions, "melanoma_lesions": melanomas, "margin": margin,
        "classes": [CLASSES[i] for i in np.unique(truth)],
    }  # fmt: skip
    least = LEAST_LESIONS["classification"]
    if lesions < least or melanomas < LEAST_MELANOMAS:
        needed = f"at least {least} and {LEAST_MELANOMAS} are needed"
        return _too_few(
            f"{_number(lesions, 'lesion')}, {_number(melanomas, 'melanoma')} among them", needed, figures
        )
    accuracy = compare_balanced_accuracy(truth, candidate.decision, current.decision, lesion_id)
    found, before = (int((each.decision == _MELANOMA)[melanoma].sum()) for each in (candidate, current))
    photographs = int(melanoma.sum())
    figures["balanced_accuracy"] = accuracy.to_json()
    figures["melanoma_sensitivity"] = {
        "candidate": round(found / photographs, 4), "current": round(before / photographs, 4),
        "candidate_found": found, "current_found": before, "photographs": photographs,
    }  # fmt: skip
    facts = (
        f"{_in_words('balanced accuracy', accuracy)}{_missing_classes(truth)}; melanoma found in {found} of "
        f"{photographs} photographs, by the model in use in {before}; {_number(len(truth), 'photograph')} of "
        f"{_number(lesions, 'lesion')}"
    )
    problems = _too_low(accuracy, margin)
    if found < before:
        problems.append("it misses melanomas that the model in use finds")
    return _verdict(problems, accuracy, facts, figures)


def _decide_outlines(candidate: _Outlines, current: _Outlines, margin: float) -> GateDecision:
    lesion_id = _lesions(candidate)
    lesions, least = len(np.unique(lesion_id)), LEAST_LESIONS["segmentation"]
    figures: dict[str, Any] = {"photographs": len(lesion_id), "lesions": lesions, "margin": margin}
    if lesions < least:
        return _too_few(_number(lesions, "lesion"), f"at least {least} are needed", figures)
    jaccard = compare_means(candidate.jaccard, current.jaccard, lesion_id)
    figures["jaccard"] = jaccard.to_json()
    facts = (
        f"{_in_words('Jaccard index', jaccard)}; {_number(len(lesion_id), 'photograph')} of "
        f"{_number(lesions, 'lesion')}"
    )
    return _verdict(_too_low(jaccard, margin), jaccard, facts, figures)


def _too_few(found: str, needed: str, figures: dict[str, Any]) -> GateDecision:
    reason = f"too few untouched photographs to tell which model is better: {found}; {needed}. {KEPT}"
    return GateDecision(False, reason, figures)


def _too_low(figure: Comparison, margin: float) -> list[str]:
    if figure.low >= -margin:
        return []
    return [f"the difference may be as low as {figure.low:+.3f}, below the margin of {-margin:+.3f}"]


def _verdict(problems: list[str], figure: Comparison, facts: str, figures: dict[str, Any]) -> GateDecision:
    if problems:
        return GateDecision(False, f"{' and '.join(problems)}: {facts}. {KEPT}", figures)
    how = "better" if figure.difference > 0 else "equal within the margin"
    return GateDecision(True, f"{how}: {facts}.", figures)


def _in_words(name: str, figure: Comparison) -> str:
    return (
        f"{name} {figure.candidate:.3f} against {figure.current:.3f} in use (difference "
        f"{figure.difference:+.3f}, with 95 % confidence at least {figure.low:+.3f})"
    )


def _missing_classes(truth: npt.NDArray[np.int64]) -> str:
    missing = [name for i, name in enumerate(CLASSES) if i not in truth]
    return f" without {', '.join(missing)}, of which there is no photograph" if missing else ""


def _lesions(answers: _Answers) -> npt.NDArray[np.str_]:
    """Give each photograph's lesion; one whose lesion is unknown stands for itself."""
    unknown = answers.lesion_id == ""
    return cast(
        "npt.NDArray[np.str_]", np.where(unknown, np.char.add("image ", answers.image_id), answers.lesion_id)
    )


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
