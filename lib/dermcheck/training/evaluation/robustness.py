"""Whether the models answer the same when a photograph is changed in ways that mean nothing, or little."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from dermcheck.dicom.pixels import RGBImage
from dermcheck.errors import DermCheckError
from dermcheck.inference import LesionReport, Predictor
from dermcheck.networks.cards import Task
from dermcheck.training.data.data_set import DataSet
from dermcheck.training.data.picture_cache import Photographs
from dermcheck.training.evaluation.bootstrap import Statistic, bootstrap_all
from dermcheck.training.evaluation.figures import MELANOMA
from dermcheck.training.evaluation.masks import jaccard_index
from dermcheck.training.evaluation.perturbations import PERTURBATIONS, Perturbation
from dermcheck.training.evaluation.reading import Case, columns_of, find_cases
from dermcheck.training.evaluation.statistics import balanced_accuracy, mean

__all__ = ["AGREEMENT_AIM", "JACCARD_AIM", "RobustnessAnswers", "answer_perturbed", "robustness_report"]

AGREEMENT_AIM: Final = 0.95
"""Share of decisions that shall stay, under each of the everyday changes."""
JACCARD_AIM: Final = 0.93
"""Mean Jaccard index that the outline shall have with that of the unchanged photograph."""


@dataclass(frozen=True, eq=False, kw_only=True)
class RobustnessAnswers:
    """Answers to N photographs, each unchanged (column 0) and after each of P perturbations."""

    perturbations: Sequence[Perturbation]
    lesion_id: npt.NDArray[np.str_]
    truth: npt.NDArray[np.int64]
    """(N,) indices in `CLASSES`; -1 where unknown."""
    decision: npt.NDArray[np.int64]
    """(N, 1 + P)."""
    melanoma_not_excluded: npt.NDArray[np.bool_]
    """(N, 1 + P); all True where the card has no rule for it."""
    is_lesion_photograph: npt.NDArray[np.bool_]
    """(N, 1 + P)."""
    jaccard_with_unchanged: npt.NDArray[np.float64]
    """(N, 1 + P) of the outlines, where both photographs show the skin; 1 in column 0."""
    jaccard: npt.NDArray[np.float64]
    """(N, 1 + P) with the expert's mask, there too; NaN where there is none."""
    problems: tuple[str, ...] = ()
    """Photographs that could not be read, each in a sentence; they have no row."""


def answer_perturbed(
    predictor: Predictor,
    data: DataSet | Photographs,
    folds: Iterable[int],
    perturbations: Sequence[Perturbation] = PERTURBATIONS,
    *,
    progress: bool = False,
) -> RobustnessAnswers:
    """Predict the photographs of `folds` unchanged and changed, through the product's own path.

    What is drawn by chance depends on the photograph's name and the perturbation alone, so that all models
    see the same. Neither diagnosis nor mask need be known.

    Raises
    ------
    NothingToAnswerError
        If there is no such photograph.
    """
    answered: list[dict[str, Any]] = []
    problems: list[str] = []
    cases = list(find_cases(data, folds))
    for case in tqdm(cases, desc="changing", unit="image", disable=not progress):
        try:
            answered.append(_row(predictor, case, perturbations))
        except DermCheckError as error:  # noqa: PERF203  # one photograph's trouble is its own
            problems.append(str(error))
    columns = columns_of(answered, "a picture", data, problems)
    return RobustnessAnswers(perturbations=perturbations, **columns, problems=tuple(problems))


def robustness_report(answers: RobustnessAnswers, task: Task) -> dict[str, Any]:
    """Say as JSON how a model's answers hold; every figure has its 95 % interval over lesions.

    Returns
    -------
    dict
        ``unchanged`` with figures; ``everyday`` and ``difficult`` with figures by perturbation; ``aim``, the
        figure that everyday changes shall keep, its least value, and whether all reach it (``reached``).
    """
    of_task = _of_decisions if task == "classification" else _of_outlines
    names = ["unchanged", *(each.name for each in answers.perturbations)]
    statistics = {
        (name, figure): statistic
        for column, name in enumerate(names)
        for figure, statistic in of_task(answers, column).items()
    }
    keys = {f"{name}\n{figure}": (name, figure) for name, figure in statistics}
    found = bootstrap_all({key: statistics[pair] for key, pair in keys.items()}, answers.lesion_id)
    figures: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, (name, figure) in keys.items():
        figures[name][figure] = found[key].to_json()
    held, least = ("agreement", AGREEMENT_AIM) if task == "classification" else (
        "jaccard_with_unchanged", JACCARD_AIM
    )  # fmt: skip
    everyday = {each.name: figures[each.name] for each in answers.perturbations if each.group == "everyday"}
    return {
        "images": len(answers.truth),
        "aim": {
            "figure": held,
            "least": least,
            "reached": all(found[f"{name}\n{held}"].value >= least for name in everyday),
        },
        "unchanged": figures["unchanged"],
        "everyday": everyday,
        "difficult": {
            each.name: figures[each.name] for each in answers.perturbations if each.group == "difficult"
        },
    }


def _row(predictor: Predictor, case: Case, perturbations: Sequence[Perturbation]) -> dict[str, Any]:
    pixels = case.read_picture()
    expert = case.expert_mask(pixels) if case.read_expert else None
    prepared = [predictor.prepare(pixels)]
    for each in perturbations:  # one changed photograph in memory at a time, however large
        prepared.append(predictor.prepare(each.change(pixels, _chance(case, each))))  # noqa: PERF401
    reports = [predictor.finish(computed) for computed in predictor.compute(prepared)]
    agreement, accuracy = [1.0], [np.nan if expert is None else jaccard_index(reports[0].mask, expert)]
    for each, report in zip(perturbations, reports[1:], strict=True):
        mask, seen = _restored(pixels, each, report)
        agreement.append(jaccard_index(mask & seen, reports[0].mask & seen))
        accuracy.append(np.nan if expert is None else jaccard_index(mask & seen, expert & seen))
    return {
        "lesion_id": case.known["lesion_id"],
        "truth": case.diagnosis,
        "decision": [report.decision.index for report in reports],
        "melanoma_not_excluded": [report.caution.melanoma_not_excluded is not False for report in reports],
        "is_lesion_photograph": [report.caution.is_lesion_photograph for report in reports],
        "jaccard_with_unchanged": agreement,
        "jaccard": accuracy,
    }


def _restored(
    pixels: RGBImage, perturbation: Perturbation, report: LesionReport
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Give the outline in the unchanged photograph's place, and the part that both photographs show."""
    shape = pixels.shape[0], pixels.shape[1]
    everywhere = np.ones(report.mask.shape, bool)
    return perturbation.restore(report.mask, shape), perturbation.restore(everywhere, shape)


def _chance(case: Case, perturbation: Perturbation) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(f"{case.known['image_id']} {perturbation.name}".encode()))


def _of_decisions(answers: RobustnessAnswers, column: int) -> dict[str, Statistic]:
    decision, known = answers.decision[:, column], answers.truth >= 0
    statistics = {
        "agreement": mean(decision == answers.decision[:, 0]),
        "melanoma_sensitivity": mean(decision == MELANOMA, answers.truth == MELANOMA),
        "melanoma_not_excluded_sensitivity": mean(
            answers.melanoma_not_excluded[:, column], answers.truth == MELANOMA
        ),
        "melanoma_not_excluded_specificity": mean(
            ~answers.melanoma_not_excluded[:, column], known & (answers.truth != MELANOMA)
        ),
        "share_flagged_as_no_lesion_photograph": mean(~answers.is_lesion_photograph[:, column]),
    }
    if known.any():
        rows = np.flatnonzero(known)
        inner = balanced_accuracy(decision[rows], answers.truth[rows])
        statistics["balanced_accuracy"] = lambda weights: inner(weights[:, rows])
    return statistics


def _of_outlines(answers: RobustnessAnswers, column: int) -> dict[str, Statistic]:
    known = np.isfinite(answers.jaccard[:, column])
    return {
        "jaccard_with_unchanged": mean(answers.jaccard_with_unchanged[:, column]),
        "share_below_half_with_unchanged": mean(answers.jaccard_with_unchanged[:, column] < 0.5),
        "jaccard": mean(answers.jaccard[:, column], known),
    }
