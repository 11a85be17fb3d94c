"""A candidate against the model in use: kept as a version, compared on untouched photographs, judged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dermcheck.errors import ArgumentError
from dermcheck.registry.gate import KEPT, GateDecision, decide
from dermcheck.registry.registry import Registry
from dermcheck.registry.versions import ModelVersion
from dermcheck.training.data.data_set import DataSet
from dermcheck.training.data.picture_cache import Photographs
from dermcheck.training.data.splits import REPORT
from dermcheck.training.evaluation.answers import (
    ClassificationAnswers,
    NothingToAnswerError,
    OutlineAnswers,
    answer_photographs,
)

if TYPE_CHECKING:
    from torch import nn

    from dermcheck.networks.cards import ModelCard

__all__ = ["compete"]


def compete(
    registry: Registry,
    candidate: Path,
    data: DataSet | Photographs,
    *,
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
        Photographs with their folds (a data set: after `identify`), those of fold 9 untouched by both models.
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
    answers = _answers(contender, data)
    while True:
        current = registry.in_use(version.task)
        rival = current.load()
        unfair = _touched(version, contender[1], data) or _touched(current, rival[1], data)
        if unfair or isinstance(answers, NothingToAnswerError):
            decision = GateDecision(False, f"{unfair or answers} {KEPT}")
        else:
            decision = decide(version.task, answers, answer_photographs(rival, data, REPORT))
        note = registry.promote if decision.promoted else registry.refuse
        try:
            note(version, decision.reason, who, figures=decision.figures, instead_of=current.name)
        except ArgumentError:
            if registry.in_use(version.task).name == current.name:
                raise
            continue  # another version came into use meanwhile: that one is to be beaten
        return version, decision


def _answers(
    model: tuple[nn.Module, ModelCard], data: DataSet | Photographs
) -> ClassificationAnswers | OutlineAnswers | NothingToAnswerError:
    """Let the candidate answer; without anything to answer, no model is better than another."""
    try:
        return answer_photographs(model, data, REPORT)
    except NothingToAnswerError as error:
        return error


def _touched(version: ModelVersion, card: ModelCard, data: DataSet | Photographs) -> str | None:
    """Say why a comparison would not be fair: a model has seen the photographs that shall judge it."""
    for source in sorted(_sources(data)):
        used = card.used_folds.get(source)
        if used is not None and (seen := sorted(set(REPORT) & {*used.fit, *used.select})):
            return (
                f"{version.name} was trained or selected on fold {', '.join(map(str, seen))} of {source}, so "
                "these photographs cannot tell which model is better."
            )
    return None


def _sources(data: DataSet | Photographs) -> set[str]:
    """Name the data sets whose untouched photographs are compared on."""
    if isinstance(data, DataSet):
        return {each.source for each in data.photographs if each.fold in REPORT}
    return set(data.source[data.rows(REPORT)].tolist())
