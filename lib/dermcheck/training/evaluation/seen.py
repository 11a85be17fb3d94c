"""Whether a model has seen what it shall be measured on."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from dermcheck.errors import ArgumentError
from dermcheck.networks.cards import ModelCard, UsedFolds
from dermcheck.training.data.data_set import DataSet
from dermcheck.training.data.splits import FOLDS, REPORT

__all__ = ["SeenDataError", "reasons_against", "sources_with_folds", "untouched_folds"]


class SeenDataError(ArgumentError):
    """The figures asked for would be too good: the model has seen the photographs, or may have."""


def untouched_folds(card: ModelCard, data_set: DataSet) -> tuple[int, ...]:
    """Return the folds that the card does not name as used for any source of the data set.

    Fold 9 alone where the card says nothing of what was used.
    """
    if not card.used_folds:
        return tuple(REPORT)
    used = [card.used_folds.get(source, UsedFolds()) for source in _sources(data_set)]
    seen = {fold for each in used for fold in (*each.fit, *each.select)}
    return tuple(fold for fold in range(FOLDS) if fold not in seen)


def sources_with_folds(data_set: DataSet) -> frozenset[str]:
    """Return the sources that came with folds of their own; ask before `assign_folds` gives some to all."""
    return frozenset(p.source for p in data_set.photographs if p.fold is not None)


def reasons_against(
    card: ModelCard, data_set: DataSet, folds: Iterable[int], own_folds: Collection[str]
) -> list[str]:
    """Say why figures of these folds would not be honest; empty if they are.

    Parameters
    ----------
    own_folds
        Of `sources_with_folds`.

    Returns
    -------
    list of str
        Sentences without a full stop.
    """
    if not card.used_folds:
        return [f"the card of {card.name} {card.version} does not say which folds it was trained on"]
    wanted = set(folds)
    reasons = []
    for source in _sources(data_set):
        used = card.used_folds.get(source)
        if used is None:
            reasons += _related(card, data_set, source)
            continue
        for verb, seen in (("trained", used.fit), ("selected and calibrated", used.select)):
            if shared := sorted(wanted & set(seen)):
                reasons.append(f"{card.name} {card.version} was {verb} on {_folds(shared)} of {source}")
        if used.own_folds != (source in own_folds):
            reasons.append(
                f"the folds of this copy of {source} are not those that {card.name} {card.version} was "
                "trained with, so each of them may hold photographs that it has seen"
            )
    return reasons


def _related(card: ModelCard, data_set: DataSet, source: str) -> list[str]:
    """Suspect other collections of ISIC images where the model has seen some: many overlap."""
    isic = any(p.source == source and p.image_id.startswith("ISIC_") for p in data_set.photographs)
    known = [name for name in card.used_folds if name == "ham10000" or name.startswith("isic")]
    if not isic or not known:
        return []
    names = " and ".join(known)
    return [
        f"{source} holds ISIC images, and {card.name} {card.version} may have seen some as part of {names}"
    ]


def _sources(data_set: DataSet) -> list[str]:
    return sorted({photograph.source for photograph in data_set.photographs})


def _folds(numbers: list[int]) -> str:
    names = ", ".join(map(str, numbers))
    return f"fold {names}" if len(numbers) == 1 else f"folds {names}"
