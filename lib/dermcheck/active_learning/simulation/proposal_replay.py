"""The loop as a clinic lives it: each correction tells the class and the outline of one photograph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dermcheck.active_learning.pool import Labelled, Pool
from dermcheck.active_learning.simulation.class_head import (
    ClassHead,
    at_frequencies,
    decide_naturally,
    natural_prior,
)
from dermcheck.active_learning.simulation.class_replay import ClassMaterial
from dermcheck.active_learning.simulation.oracle import Oracle
from dermcheck.active_learning.simulation.outline_head import OutlineHead, expected_disagreement
from dermcheck.active_learning.simulation.outline_replay import FIRST, OutlineStudy
from dermcheck.active_learning.simulation.runs import Outcome
from dermcheck.active_learning.strategies import choose
from dermcheck.lesions import CLASSES

__all__ = ["replay_proposals"]


def replay_proposals(
    classes: ClassMaterial,
    outlines: OutlineStudy,
    strategy: str,
    seed: int,
    budgets: Sequence[int],
    noise: float = 0.0,
) -> list[Outcome]:
    """Replay the loop once on photographs with a known class and a known outline.

    The class of a proposal is decided as in the clinic, where naevi are frequent; the outcomes hold it and
    the Jaccard index of the outline.

    Parameters
    ----------
    classes, outlines
        Of the same photographs, with the same rows in the pool and in the report.
    noise
        Share of wrong classes that the clinician names.
    """
    rng = np.random.default_rng([seed, 4])
    archive = rng.permutation(classes.pool)[: max(outlines.archive, budgets[-1])]
    answers = Oracle(classes.diagnosis, noise, seed).answers()
    outline_head = OutlineHead(outlines.material.maps, seed, outlines.start)
    labelled = archive[: min(FIRST, budgets[0])]
    outline_head.learn(outlines.material, labelled, outlines.steps)
    outcomes = []
    for budget in budgets:
        if budget > len(labelled):
            open_rows = np.setdiff1d(archive, labelled)
            pool = _scored(classes, outlines, outline_head, open_rows, labelled, answers, strategy)
            known = Labelled(classes.compact[labelled], answers[labelled], "head")
            row_of = {str(name): int(row) for row, name in zip(open_rows, pool.image_id, strict=True)}
            chosen = choose(strategy, pool, known, budget - len(labelled), rng)
            labelled = np.concatenate([labelled, [row_of[choice.image_id] for choice in chosen]])
            outline_head.learn(outlines.material, labelled, outlines.steps)
        counts = np.bincount(classes.diagnosis[labelled], minlength=len(CLASSES))
        reduced = classes.reduced
        decided = decide_naturally(
            reduced[labelled], answers[labelled], reduced[archive], reduced[classes.report]
        )
        jaccard = outline_head.jaccard(outlines.material, classes.report)
        outcomes.append(Outcome(budget, decided.astype(float), tuple(counts.tolist()), jaccard))
    return outcomes


def _scored(
    classes: ClassMaterial,
    outlines: OutlineStudy,
    outline_head: OutlineHead,
    open_rows: npt.NDArray[np.intp],
    labelled: npt.NDArray[np.intp],
    answers: npt.NDArray[np.int64],
    strategy: str,
) -> Pool:
    """Score what may be chosen, class and outline; the random strategy looks at no score."""
    if strategy == "random":
        even = np.full((len(open_rows), len(CLASSES)), 1 / len(CLASSES))
        return Pool.of(classes.image_id[open_rows], even, classes.compact[open_rows], "head")
    doubt = expected_disagreement(outline_head.logits(outlines.material, open_rows))
    balanced = ClassHead.train(classes.reduced[labelled], answers[labelled]).probabilities(
        classes.reduced[open_rows]
    )
    natural = at_frequencies(balanced, natural_prior(balanced))
    return Pool.of(
        classes.image_id[open_rows], natural, classes.compact[open_rows], "head", outline_disagreement=doubt
    )
