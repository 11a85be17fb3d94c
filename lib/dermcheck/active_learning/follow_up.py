"""Lesions that were photographed before: which of the new photographs differs most from the last one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dermcheck.active_learning.reason_words import Words
from dermcheck.active_learning.strategies import Choice

if TYPE_CHECKING:
    from dermcheck.active_learning.score_cache import FollowedLesion
    from dermcheck.active_learning.score_table import Compared

__all__ = ["Revisit", "changes", "describe", "find_revisits", "order"]

_NOTABLE: Final = 0.1
"""Change of a probability that is worth being named."""


@dataclass(frozen=True, slots=True)
class Revisit:
    """A photograph of a lesion that was photographed before."""

    image: str
    before: str
    """The latest earlier photograph of the same lesion."""
    lesion: FollowedLesion
    lesion_before: FollowedLesion


def find_revisits(images: Iterable[str], lesion: Callable[[str], FollowedLesion | None]) -> list[Revisit]:
    """Find the photographs of lesions that were photographed at an earlier moment.

    The same lesion is meant by the same tracking UID (or identifier) of one patient. Where a photograph has
    neither, the same site and side of one patient may be it; a site that is not named is nothing.

    Parameters
    ----------
    images
        All photographs.
    lesion
        Tells what a photograph shows; None if that is not known (yet).
    """
    groups: dict[tuple[str | None, ...], list[tuple[FollowedLesion, str]]] = defaultdict(list)
    for image in images:
        shown = lesion(image)
        if shown is not None and shown.acquired is not None and (key := _key(shown)):
            groups[key].append((shown, image))
    return [revisit for group in groups.values() if len(group) > 1 for revisit in _within(group)]


def _key(lesion: FollowedLesion) -> tuple[str | None, ...] | None:
    if lesion.tracking:
        return lesion.patient, "tracked", lesion.tracking
    return (lesion.patient, "site", lesion.site, lesion.laterality) if lesion.site else None


def _within(group: list[tuple[FollowedLesion, str]]) -> Iterable[Revisit]:
    group.sort(key=lambda pair: (pair[0].acquired, pair[1]))
    earlier, latest = None, group[0]
    for shown, image in group[1:]:
        if shown.acquired != latest[0].acquired:  # photographs of one moment are one visit
            earlier = latest
        latest = (shown, image)
        if earlier is not None:
            yield Revisit(image, earlier[1], shown, earlier[0])


def changes(compared: Compared) -> npt.NDArray[np.float64]:
    """Tell how much each photograph differs from the earlier one: (N,) from 0, NaN where it is not known.

    The sum of half the difference of the probabilities (their total variation) and 1 minus the cosine of the
    embeddings: what the model names differently, and what merely looks different.
    """
    varied = 0.5 * np.abs(compared.probabilities - compared.other_probabilities).sum(axis=1)
    first, second = compared.embedding, compared.other_embedding
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosine = (first * second).sum(axis=1) / np.where(lengths > 0, lengths, 1)
    return np.asarray(varied + 1 - cosine, np.float64)


def order(revisits: Sequence[Revisit], change: npt.NDArray[np.float64]) -> list[int]:
    """Return the order in which to show revisits: followed lesions first, the most changed of them first.

    Those whose change is not known yet come after the others, the newest first.
    """

    def rank(number: int) -> tuple[bool, bool, float, float]:
        revisit, known = revisits[number], bool(np.isfinite(change[number]))
        moment = revisit.lesion.acquired.timestamp() if revisit.lesion.acquired else 0.0
        return not revisit.lesion.tracking, not known, -change[number] if known else 0.0, -moment

    return sorted(range(len(revisits)), key=rank)


def describe(revisit: Revisit, compared: Compared, words: Words) -> Choice:
    """Say why a revisit is shown, of which `compared` holds the one pair."""
    before, lesion = revisit.lesion_before, revisit.lesion
    day = before.acquired.date().isoformat() if before.acquired else ""
    if lesion.tracking:
        same = words.say("same_named" if lesion.name else "same", day=day, lesion=lesion.name)
    else:
        side = lesion.laterality if lesion.laterality in ("L", "R") else None
        site = words.say(side, site=lesion.site) if side else lesion.site
        same = words.say("perhaps", day=day, site=site)
    return Choice(revisit.image, words.sentence([same, _change(compared, words)]))


def _change(compared: Compared, words: Words) -> str:
    now, then = compared.probabilities[0], compared.other_probabilities[0]
    difference = now - then
    if not np.isfinite(difference).all():
        return words.say("unknown_change")
    largest = int(np.abs(difference).argmax())
    if abs(difference[largest]) < _NOTABLE:
        return words.say("little_change")
    then_share, now_share = words.percent(then[largest]), words.percent(now[largest])
    return words.say("change", name=words.lesion(largest), then=then_share, now=now_share)
