"""The loop for outlines: choose, draw, learn, and answer to photographs that nobody chose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dermcheck.active_learning.pool import Labelled, Pool
from dermcheck.active_learning.simulation.outline_head import (
    OutlineHead,
    OutlineMaterial,
    expected_disagreement,
)
from dermcheck.active_learning.simulation.runs import Outcome
from dermcheck.active_learning.strategies import choose
from dermcheck.lesions import CLASSES

__all__ = ["FIRST", "OutlineStudy", "replay_outlines"]

FIRST: Final = 20
"""Outlines drawn before the first model; they are random ones, the same for all strategies of a seed."""


@dataclass(frozen=True, eq=False)
class OutlineStudy:
    """What the loop for outlines needs of N photographs."""

    image_id: npt.NDArray[np.str_]
    diagnosis: npt.NDArray[np.int64]
    material: OutlineMaterial
    compact: npt.NDArray[np.float32]
    """(N, D) what strategies compare."""
    pool: npt.NDArray[np.intp]
    report: npt.NDArray[np.intp]
    archive: int = 1000
    """Photographs of the pool that a seed's clinic has."""
    steps: int = 200
    """Of the decoder, after each round."""
    start: Mapping[str, Tensor] | None = None
    """Weights that the decoder begins with; None if it has learnt nothing."""


def replay_outlines(study: OutlineStudy, strategy: str, seed: int, budgets: Sequence[int]) -> list[Outcome]:
    """Replay the loop once; the model learns on after each budget, whatever the strategy."""
    rng = np.random.default_rng([seed, 3])
    archive = rng.permutation(study.pool)[: max(study.archive, budgets[-1])]
    labelled, head = archive[:0], OutlineHead(study.material.maps, seed, study.start)
    outcomes = []
    for budget in budgets:
        if not len(labelled):
            labelled = archive[: min(FIRST, budget)]
            head.learn(study.material, labelled, study.steps)
        if budget > len(labelled):
            more = _choose(study, strategy, head, archive, labelled, budget - len(labelled), rng)
            labelled = np.concatenate([labelled, more])
            head.learn(study.material, labelled, study.steps)
        counts = np.bincount(
            study.diagnosis[labelled][study.diagnosis[labelled] >= 0], minlength=len(CLASSES)
        )
        jaccard = head.jaccard(study.material, study.report)
        outcomes.append(Outcome(budget, jaccard, tuple(counts.tolist())))
    return outcomes


def _choose(
    study: OutlineStudy,
    strategy: str,
    head: OutlineHead,
    archive: npt.NDArray[np.intp],
    labelled: npt.NDArray[np.intp],
    count: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.intp]:
    """Let the strategy choose; the model knows nothing of classes here."""
    rows = np.setdiff1d(archive, labelled)
    doubt = (
        np.full(len(rows), np.nan)
        if strategy == "random"
        else expected_disagreement(head.logits(study.material, rows))
    )
    even = np.full((len(rows), len(CLASSES)), 1 / len(CLASSES), np.float32)
    pool = Pool.of(study.image_id[rows], even, study.compact[rows], "head", outline_disagreement=doubt)
    known = Labelled(study.compact[labelled], np.full(len(labelled), -1), "head")
    row_of = {str(name): int(row) for row, name in zip(rows, pool.image_id, strict=True)}
    return np.array(
        [row_of[choice.image_id] for choice in choose(strategy, pool, known, count, rng)], np.intp
    )
