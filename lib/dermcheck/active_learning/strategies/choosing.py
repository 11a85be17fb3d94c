"""Choose by a strategy's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from dermcheck.active_learning.pool import Labelled, Pool
from dermcheck.active_learning.strategies.diversity import Rows, spread
from dermcheck.active_learning.strategies.hybrid import choose_hybrid
from dermcheck.active_learning.strategies.reasons import Reasons
from dermcheck.active_learning.strategies.uncertainty import looks_like_a_lesion, uncertainty
from dermcheck.errors import ArgumentError, NotFoundError
from dermcheck.lesions import Language

__all__ = ["STRATEGIES", "Choice", "choose"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A photograph to label."""

    image_id: str
    reason: str
    """Why, in words for the clinician: a part of a sentence, without capital and full stop."""


def choose(
    name: str,
    pool: Pool,
    labelled: Labelled,
    count: int,
    rng: np.random.Generator,
    language: Language = "en",
) -> list[Choice]:
    """Choose what to label next.

    Parameters
    ----------
    name
        One of `STRATEGIES`.
    pool
        What may be chosen: without what is labelled, or in somebody's hands.
    count
        How many, in the order in which they are worth labelling; fewer if the pool is smaller.
    rng
        The same state, pool and labels give the same choice.
    language
        Of the reasons.

    Raises
    ------
    NotFoundError
        If no strategy has this name.
    ArgumentError
        If `count` is negative.
    """
    if name not in STRATEGIES:
        raise NotFoundError(f"No strategy is called {name!r}; expected one of {', '.join(STRATEGIES)}.")
    if count < 0:
        raise ArgumentError(f"{count} photographs cannot be chosen; expected 0 or more.")
    count = min(count, len(pool))
    if count == 0:
        return []
    rows = _STRATEGIES[name](pool, labelled, count, rng)
    reasons = Reasons(name, pool, labelled, language)
    return [Choice(str(pool.image_id[row]), reasons.of(row)) for row in rows.tolist()]


def _random(pool: Pool, labelled: Labelled, count: int, rng: np.random.Generator) -> Rows:
    return rng.choice(len(pool), count, replace=False)


def _uncertain(pool: Pool, labelled: Labelled, count: int, rng: np.random.Generator) -> Rows:
    doubt = uncertainty(pool) * looks_like_a_lesion(pool)
    # Equal scores (no model yet, say) must not mean always the first photographs of the folder.
    ties = rng.random(len(pool))
    chosen: Rows = np.lexsort((ties, -doubt))[:count]
    return chosen


def _diverse(pool: Pool, labelled: Labelled, count: int, rng: np.random.Generator) -> Rows:
    return spread(pool, labelled, looks_like_a_lesion(pool), count, rng)


_STRATEGIES: Final[Mapping[str, Callable[[Pool, Labelled, int, np.random.Generator], Rows]]] = (
    MappingProxyType(
        {"random": _random, "uncertain": _uncertain, "diverse": _diverse, "hybrid": choose_hybrid}
    )
)
STRATEGIES: Final = tuple(_STRATEGIES)
"""Their names."""
