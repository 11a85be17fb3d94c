"""A candidate against the model in use: kept as a version, compared on untouched photographs, judged."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dermcheck.errors import ArgumentError
from dermcheck.registry.gate import KEPT, GateDecision, decide
from dermcheck.registry.registry import Registry
from dermcheck.registry.versions import ModelVersion
from dermcheck.training.data.data_set import DataSet
from dermcheck.training.data.splits import REPORT
from dermcheck.training.evaluation.answers import (
    ClassificationAnswers,
    NothingToAnswerError,
    OutlineAnswers,
    answer_photographs,
)
from dermcheck.training.evaluation.seen import reasons_against

if TYPE_CHECKING:
    from dermcheck.networks.cards import ModelCard
    from dermcheck.networks.checkpoint import LoadedModel

__all__ = ["compete"]


def compete(
    registry: Registry,
    candidate: Path,
    data: DataSet,
    *,
    own_folds: Collection[str],
    parent: str | None,
    configuration: Mapping[str, Any],
    data_fingerprint: str,
    who: str,
    reason: str = "trained",
) -> tuple[ModelVersion, GateDecision]:
    """Keep a candidate as a version, and take it into use if the gate lets it.

    Both models answer fold 9. If another version comes into use meanwhile, the candidate is compared with
    that one. Killed halfway, the version is kept without a decision and the models in use stay as they are.

    Parameters
    ----------
    registry
        Of the clinic.
    candidate
        Folder with the weights and the card; only read.
    data
        After `identify`, so that each photograph has its fold; those of fold 9 judge.
    own_folds
        Of `sources_with_folds`: the sources of `data` that came with folds of their own.
    parent, configuration, data_fingerprint, who, reason
        As for `Registry.submit`.

    Returns
    -------
    ModelVersion
        The candidate under its new name.
    GateDecision
        What the registry's log holds as well.

    Raises
    ------
    ModelError
        If the candidate or the model in use is damaged.
    ArgumentError, NotFoundError
        If the configuration is no JSON, or the parent unknown.
    StorageError
        If the registry cannot be written. The models in use are untouched.
    """
    version = registry.submit(
        candidate,
        parent=parent,
        data_fingerprint=data_fingerprint,
        configuration=configuration,
        who=who,
        reason=reason,
    )
    contender = version.load()
    outliner = registry.in_use("segmentation").load() if version.task == "classification" else None
    answers = _answers(contender, data, outliner)
    while True:
        current = registry.in_use(version.task)
        rival = current.load()
        unfair = _unfair(contender[1], data, own_folds) or _unfair(rival[1], data, own_folds)
        if unfair or isinstance(answers, NothingToAnswerError):
            decision = GateDecision(False, f"{unfair or answers} {KEPT}")
        else:
            rivals = answer_photographs(rival, data, REPORT, outliner=outliner)
            decision = decide(version.task, answers, rivals)
        note = registry.promote if decision.promoted else registry.refuse
        try:
            note(version, decision.reason, who, figures=decision.figures, instead_of=current.name)
        except ArgumentError:
            if registry.in_use(version.task).name == current.name:
                raise
            continue  # another version came into use meanwhile: that one is to be beaten
        return version, decision


def _answers(
    model: LoadedModel, data: DataSet, outliner: LoadedModel | None
) -> ClassificationAnswers | OutlineAnswers | NothingToAnswerError:
    """Let the candidate answer; without anything to answer, no model is better than another."""
    try:
        return answer_photographs(model, data, REPORT, outliner=outliner)
    except NothingToAnswerError as error:
        return error


def _unfair(card: ModelCard, data: DataSet, own_folds: Collection[str]) -> str | None:
    """Say why a comparison would not be fair: a model has seen what shall judge it, or may have.

    A card without `used_folds` does not say, and is let through; whatever `train` makes has them.
    """
    if not card.used_folds:
        return None
    judged = replace(data, photographs=tuple(each for each in data.photographs if each.fold in REPORT))
    reasons = reasons_against(card, judged, REPORT, own_folds)
    if not reasons:
        return None
    return f"{'; '.join(reasons)}. So these photographs cannot tell which model is better."
