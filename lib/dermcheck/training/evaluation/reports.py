"""Everything that is said of a model's answers, as JSON: figures, operating points, rules, subgroups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dermcheck.lesions import CLASSES
from dermcheck.networks.cards import AnswerRules
from dermcheck.training.evaluation.answers import Answers, ClassificationAnswers, OutlineAnswers
from dermcheck.training.evaluation.bootstrap import Statistic, bootstrap_all
from dermcheck.training.evaluation.figures import (
    CALIBRATION_BINS,
    MELANOMA,
    THRESHOLD,
    classification_statistics,
)
from dermcheck.training.evaluation.skin_tone import skin_tone
from dermcheck.training.evaluation.statistics import (
    area_under_curve,
    balanced_accuracy,
    mean,
    specificity_at,
)

__all__ = ["LEAST_LESIONS", "classification_report", "confusion_matrix", "outline_report", "reliability"]

BoolArray: TypeAlias = npt.NDArray[np.bool_]
_OfRows: TypeAlias = Callable[[npt.NDArray[np.int64]], dict[str, Statistic]]
"""The statistics of some rows."""

LEAST_LESIONS: Final = 20
"""A subgroup of fewer lesions is counted, but gets no figures: they would be chance."""
_AGES: Final = ((0, 30), (30, 45), (45, 60), (60, 75), (75, 200))
_SENSITIVITIES: Final = (0.8, 0.9, 0.95)


def classification_report(answers: ClassificationAnswers, rules: AnswerRules | None) -> dict[str, Any]:
    """Measure a classifier's answers.

    Parameters
    ----------
    rules
        Of its card; without them nothing is said of "not sure" and possible classes.

    Returns
    -------
    dict
        JSON; every figure is ``{"value": ..., "interval95": [low, high]}``, null where it does not exist.
    """
    truth = answers.truth
    statistics = classification_statistics(answers.probability, answers.decision, truth)
    names = {"figures": list(statistics)}
    sections = {
        "operating_points": _operating_points(answers, rules),
        "not_sure": _not_sure(answers) if rules else {},
        "possible_classes": _possible(answers) if rules else {},
        "lesion_photograph": _flagged(answers),
    }
    for section, further in sections.items():
        names[section] = list(further)
        statistics |= {f"{section} {name}": statistic for name, statistic in further.items()}
    found = {name: figure.to_json() for name, figure in bootstrap_all(statistics, answers.lesion_id).items()}
    report = {
        **_counts(answers),
        "classes": {name: int((truth == i).sum()) for i, name in enumerate(CLASSES)},
        "figures": {name: found[name] for name in names["figures"]},
        **{section: {name: found[f"{section} {name}"] for name in names[section]} for section in sections},
        "confusion": {
            "rows": "diagnosis",
            "columns": "decision",
            "classes": list(CLASSES),
            "counts": confusion_matrix(answers).tolist(),
        },
        "reliability": reliability(answers),
        "subgroups": _subgroups(answers, lambda rows: _classified_subgroup(answers, rows)),
    }
    if rules:
        report["rules"] = {
            "sure_from": rules.sure_from,
            "possible_coverage": rules.possible_coverage,
            "melanoma_from": rules.melanoma_from,
            "melanoma_sensitivity": rules.melanoma_sensitivity,
        }
    return report


def outline_report(answers: OutlineAnswers) -> dict[str, Any]:
    """Measure an outliner's answers; JSON as of `classification_report`."""
    everyone = np.arange(len(answers))
    figures = bootstrap_all(_outline_statistics(answers, everyone), answers.lesion_id)
    return {
        **_counts(answers),
        "figures": {name: figure.to_json() for name, figure in figures.items()},
        "subgroups": _subgroups(answers, lambda rows: _outline_statistics(answers, rows)),
    }


def confusion_matrix(answers: ClassificationAnswers) -> npt.NDArray[np.int64]:
    """Count (7, 7) photographs by diagnosis (rows) and decision (columns)."""
    counts = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    np.add.at(counts, (answers.truth, answers.decision), 1)
    return counts


def reliability(answers: ClassificationAnswers) -> list[dict[str, Any]]:
    """Confidence and accuracy of the most probable class, in 15 equal bins; empty bins are left out."""
    certainty = answers.probability.max(1)
    correct = answers.probability.argmax(1) == answers.truth
    place = np.minimum((certainty * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return [
        {
            "from": round(b / CALIBRATION_BINS, 4),
            "to": round((b + 1) / CALIBRATION_BINS, 4),
            "images": int((place == b).sum()),
            "confidence": round(float(certainty[place == b].mean()), 4),
            "accuracy": round(float(correct[place == b].mean()), 4),
        }
        for b in range(CALIBRATION_BINS)
        if (place == b).any()
    ]


def _operating_points(answers: ClassificationAnswers, rules: AnswerRules | None) -> dict[str, Statistic]:
    """Melanoma against the rest."""
    melanoma, score = answers.truth == MELANOMA, answers.probability[:, MELANOMA]
    points = {
        "decision sensitivity": mean(answers.decision == MELANOMA, melanoma),
        "decision specificity": mean(answers.decision != MELANOMA, ~melanoma),
    }
    if rules and rules.melanoma_from is not None:
        points["melanoma not excluded sensitivity"] = mean(answers.melanoma_not_excluded, melanoma)
        points["melanoma not excluded specificity"] = mean(~answers.melanoma_not_excluded, ~melanoma)
    for share in _SENSITIVITIES:
        points[f"specificity at {share:.0%} sensitivity"] = specificity_at(melanoma, score, share)
    return points


def _not_sure(answers: ClassificationAnswers) -> dict[str, Statistic]:
    right, sure = answers.decision == answers.truth, answers.sure
    statistics = {
        "share not sure": mean(~sure),
        "share of melanomas not sure": mean(~sure, answers.truth == MELANOMA),
        "error where sure": mean(~right, sure),
        "error where not sure": mean(~right, ~sure),
        "error of all": mean(~right),
    }
    if sure.any():
        among = np.flatnonzero(sure)
        inner = balanced_accuracy(answers.decision[among], answers.truth[among])
        statistics["balanced accuracy where sure"] = lambda weights: inner(weights[:, among])
    return statistics


def _possible(answers: ClassificationAnswers) -> dict[str, Statistic]:
    covered = answers.possible[np.arange(len(answers)), answers.truth]
    return {
        "coverage": mean(covered),
        **{f"coverage {name}": mean(covered, answers.truth == i) for i, name in enumerate(CLASSES)},
        "classes that remain": mean(answers.possible.sum(1)),
        "share with one class": mean(answers.possible.sum(1) == 1),
    }


def _flagged(answers: ClassificationAnswers) -> dict[str, Statistic]:
    if np.isnan(answers.photograph_score).all():
        return {}
    return {"share flagged as no lesion photograph": mean(~answers.is_lesion_photograph)}


def _classified_subgroup(answers: ClassificationAnswers, rows: npt.NDArray[np.int64]) -> dict[str, Statistic]:
    truth, decision, melanoma = answers.truth[rows], answers.decision[rows], answers.truth[rows] == MELANOMA
    return {
        "accuracy": mean(decision == truth),
        "balanced_accuracy": balanced_accuracy(decision, truth),
        "melanoma_auc": area_under_curve(melanoma, answers.probability[rows, MELANOMA]),
        "melanoma_sensitivity": mean(decision == MELANOMA, melanoma),
        "melanoma_not_excluded_sensitivity": mean(answers.melanoma_not_excluded[rows], melanoma),
    }


def _outline_statistics(answers: OutlineAnswers, rows: npt.NDArray[np.int64]) -> dict[str, Statistic]:
    jaccard, distance = answers.jaccard[rows], answers.boundary_distance[rows]
    found = np.isfinite(distance)
    return {
        "jaccard": mean(jaccard),
        "thresholded_jaccard": mean(np.where(jaccard < THRESHOLD, 0.0, jaccard)),
        "dice": mean(answers.dice[rows]),
        "boundary_distance": mean(np.where(found, distance, 0.0), found),
        "share_below_threshold": mean(jaccard < THRESHOLD),
        "share_not_found": mean(~found),
    }


def _counts(answers: Answers) -> dict[str, Any]:
    sources, images = np.unique(answers.source, return_counts=True)
    return {
        "images": len(answers),
        "lesions": len(np.unique(answers.lesion_id)),
        "sources": dict(zip(sources.tolist(), images.tolist(), strict=True)),
        "problems": list(answers.problems),
    }


def _subgroups(answers: Answers, statistics: _OfRows) -> dict[str, dict[str, Any]]:
    """Figures by age, sex, site, skin tone, device and source, wherever at least two groups are known."""
    attributes = {
        "age": _age_groups(answers.age),
        "sex": answers.sex,
        "site": answers.site,
        "skin_tone": skin_tone(answers.typology_angle),
        "device": answers.device,
        "source": answers.source,
    }
    subgroups: dict[str, dict[str, Any]] = {}
    for attribute, values in attributes.items():
        known = [value for value in np.unique(values).tolist() if value]
        if len(known) < 2:
            continue
        subgroups[attribute] = {
            value or "unknown": _subgroup(answers, np.flatnonzero(values == value), statistics)
            for value in np.unique(values).tolist()
        }
    return subgroups


def _subgroup(answers: Answers, rows: npt.NDArray[np.int64], statistics: _OfRows) -> dict[str, Any]:
    lesion_id = answers.lesion_id[rows]
    counts = {"images": len(rows), "lesions": len(np.unique(lesion_id))}
    if counts["lesions"] < LEAST_LESIONS:
        return counts
    figures = bootstrap_all(statistics(rows), lesion_id)
    return counts | {name: figure.to_json() for name, figure in figures.items()}


def _age_groups(age: npt.NDArray[np.float64]) -> npt.NDArray[np.str_]:
    groups = np.full(len(age), "", "<U16")
    for low, high in _AGES:
        label = f"under {high}" if low == 0 else f"{low} and over" if high == 200 else f"{low} to {high - 1}"
        groups[(age >= low) & (age < high)] = label
    return groups
