"""After how many labels the model learns anew while a strategy chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["rounds"]

_FIRST: Final = 20
"""Labels before the first model."""
_GROWTH: Final = 0.1
"""Labels of a round in proportion to those there: early labels change the model most."""
_LEAST: Final = 10


def rounds(budgets: Sequence[int]) -> list[int]:
    """Return the numbers of labels at which a round ends: every budget, and some between.

    >>> rounds([50, 100])
    [20, 30, 40, 50, 60, 70, 80, 90, 100]
    """
    ends: list[int] = []
    reached = 0
    for budget in budgets:
        while reached < budget:
            step = max(_LEAST, int(reached * _GROWTH)) if reached else _FIRST
            reached = min(budget, reached + step)
            ends.append(reached)
    return ends
