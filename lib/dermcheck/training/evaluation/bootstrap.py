"""Intervals of figures, drawn over lesions.

Several photographs of one lesion are not independent, so a draw takes whole lesions (percentile bootstrap,
Efron and Tibshirani 1993, chapter 13). Every draw is a row of weights, how often it takes each photograph,
and a statistic computes its value of many draws at once: a thousand draws of all figures take seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Figure", "Statistic", "Weights", "bootstrap", "bootstrap_all"]

Weights: TypeAlias = npt.NDArray[np.float64]
"""(draws, N): how often each draw takes each photograph."""
Statistic: TypeAlias = Callable[[Weights], npt.NDArray[np.float64]]
"""A figure of each draw, (draws,); NaN where it does not exist, e.g. because a class is missing."""

_DRAWS: Final = 1000
_CHUNK_NUMBERS: Final = 4_000_000
"""Weights held at once (32 MB), whatever the number of photographs."""


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % bootstrap interval; all three NaN where the photographs cannot tell."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Write the value with its interval, e.g. ``0.812 [0.774, 0.850]``."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def to_json(self) -> dict[str, Any]:
        """Round to four decimals; NaN, which JSON has not, becomes None."""
        value, low, high = (
            round(x, 4) if np.isfinite(x) else None for x in (self.value, self.low, self.high)
        )
        return {"value": value, "interval95": [low, high]}


def bootstrap(
    statistic: Statistic, lesion_id: npt.NDArray[np.str_], draws: int = _DRAWS, seed: int = 0
) -> Figure:
    """Compute one figure with its interval; see `bootstrap_all`."""
    return bootstrap_all({"figure": statistic}, lesion_id, draws, seed)["figure"]


def bootstrap_all(
    statistics: Mapping[str, Statistic], lesion_id: npt.NDArray[np.str_], draws: int = _DRAWS, seed: int = 0
) -> dict[str, Figure]:
    """Compute figures with their intervals, all from the same draws.

    Draws for which a statistic does not exist are left out of its interval.

    Parameters
    ----------
    lesion_id
        (N,) which lesion each photograph shows, N at least 1.
    """
    lesions, member = np.unique(lesion_id, return_inverse=True)
    chance = np.random.default_rng(seed)
    share = np.full(len(lesions), 1 / len(lesions))
    at_once = max(1, _CHUNK_NUMBERS // len(member))
    found: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in statistics}
    for start in range(0, draws, at_once):
        times = chance.multinomial(len(lesions), share, min(at_once, draws - start))
        weights = times[:, member].astype(np.float64)
        for name, statistic in statistics.items():
            found[name].append(statistic(weights))
    once = np.ones((1, len(member)))
    return {
        name: _figure(float(statistic(once)[0]), np.concatenate(found[name]))
        for name, statistic in statistics.items()
    }


def _figure(value: float, drawn: npt.NDArray[np.float64]) -> Figure:
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not len(drawn):
        return Figure(value, float("nan"), float("nan"))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Figure(value, float(low), float(high))
