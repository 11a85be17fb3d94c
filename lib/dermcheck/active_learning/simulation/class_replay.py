"""The loop for diagnoses: choose, label, learn, and answer to photographs that nobody chose from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dermcheck.active_learning.pool import Labelled, Pool
from dermcheck.active_learning.simulation.class_head import ClassHead, at_frequencies, natural_prior
from dermcheck.active_learning.simulation.oracle import Oracle
from dermcheck.active_learning.simulation.runs import Outcome
from dermcheck.active_learning.simulation.schedule import rounds
from dermcheck.active_learning.strategies import choose
from dermcheck.lesions import CLASSES

__all__ = ["ClassMaterial", "class_order", "replay_classes"]


@dataclass(frozen=True, eq=False)
class ClassMaterial:
    """What the loop for diagnoses needs of N photographs."""

    image_id: npt.NDArray[np.str_]
    diagnosis: npt.NDArray[np.int64]
    """(N,) true classes."""
    reduced: npt.NDArray[np.float32]
    """(N, D) what the head learns from."""
    compact: npt.NDArray[np.float32]
    """(N, D') what strategies compare."""
    pool: npt.NDArray[np.intp]
    """Rows that may be labelled."""
    report: npt.NDArray[np.intp]
    """Rows that the figures are computed on."""


def replay_classes(
    material: ClassMaterial, strategy: str, seed: int, budgets: Sequence[int], noise: float = 0.0
) -> list[Outcome]:
    """Replay the loop once.

    Parameters
    ----------
    budgets
        Numbers of labels, rising, after which the model answers to the photographs of the report.
    noise
        Share of wrong answers of the clinician.
    """
    answers = Oracle(material.diagnosis, noise, seed).answers()
    order = class_order(material, strategy, seed, budgets, answers)
    outcomes = []
    for budget in budgets:
        rows = order[:budget]
        head = ClassHead.train(material.reduced[rows], answers[rows])
        counts = np.bincount(material.diagnosis[rows], minlength=len(CLASSES))
        outcomes.append(
            Outcome(
                budget, head.decide(material.reduced[material.report]).astype(float), tuple(counts.tolist())
            )
        )
    return outcomes


def class_order(
    material: ClassMaterial, strategy: str, seed: int, budgets: Sequence[int], answers: npt.NDArray[np.int64]
) -> npt.NDArray[np.intp]:
    """Return as many rows of the pool as the last budget, in the order in which they are labelled."""
    rng = np.random.default_rng([seed, 0])
    if strategy == "random":  # learns nothing on the way
        return rng.permutation(material.pool)[: budgets[-1]]
    row_of = {
        str(name): int(row) for row, name in zip(material.pool, material.image_id[material.pool], strict=True)
    }
    labelled = np.empty(0, np.intp)
    for total in rounds(budgets):
        open_rows = np.setdiff1d(material.pool, labelled)
        chosen = choose(
            strategy,
            _scored(material, open_rows, labelled, answers),
            Labelled(material.compact[labelled], answers[labelled], "head"),
            total - len(labelled),
            rng,
        )
        labelled = np.concatenate([labelled, [row_of[choice.image_id] for choice in chosen]]).astype(np.intp)
    return labelled


def _scored(
    material: ClassMaterial,
    rows: npt.NDArray[np.intp],
    labelled: npt.NDArray[np.intp],
    answers: npt.NDArray[np.int64],
) -> Pool:
    """Score the open part of the pool with a head that learnt from the labels."""
    head = ClassHead.train(material.reduced[labelled], answers[labelled])
    balanced = head.probabilities(material.reduced[rows])
    natural = at_frequencies(balanced, natural_prior(balanced))
    return Pool.of(material.image_id[rows], natural, material.compact[rows], "head")
