"""A study: all runs of it, then its figures. Where it was stopped it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from torch import Tensor
from tqdm import tqdm

from dermcheck.active_learning.pool import compact_embedding
from dermcheck.active_learning.simulation.class_head import reduce_features
from dermcheck.active_learning.simulation.class_replay import ClassMaterial, replay_classes
from dermcheck.active_learning.simulation.features import Features
from dermcheck.active_learning.simulation.outline_head import OutlineMaterial
from dermcheck.active_learning.simulation.outline_replay import OutlineStudy, replay_outlines
from dermcheck.active_learning.simulation.proposal_replay import replay_proposals
from dermcheck.active_learning.simulation.runs import Outcome, RunKey, Runs, Task
from dermcheck.errors import ArgumentError
from dermcheck.training.data import DataError, Photographs

__all__ = [
    "CLASS_BUDGETS",
    "OUTLINE_BUDGETS",
    "POOL_FOLDS",
    "PROPOSAL_BUDGETS",
    "StudyPlan",
    "check_data",
    "run_study",
]

CLASS_BUDGETS: Final = (50, 100, 200, 300, 400, 500, 600, 700, 800, 1000, 1200, 1500, 2000)
OUTLINE_BUDGETS: Final = (40, 80, 120, 200, 300, 400)
PROPOSAL_BUDGETS: Final = (100, 250, 500)
POOL_FOLDS: Final = tuple(range(8))


@dataclass(frozen=True)
class StudyPlan:
    """What is run."""

    strategies: tuple[str, ...]
    seeds: int
    tasks: tuple[Task, ...] = ("class", "outline")
    report_folds: tuple[int, ...] = (9,)
    class_budgets: tuple[int, ...] = CLASS_BUDGETS
    outline_budgets: tuple[int, ...] = OUTLINE_BUDGETS
    proposal_budgets: tuple[int, ...] = PROPOSAL_BUDGETS
    noise: tuple[float, ...] = (0.0,)
    """Shares of wrong diagnoses, each a study of its own; outlines are replayed without."""
    outline_archive: int = 1000
    outline_steps: int = 200
    proposal_archive: int = 1000
    proposal_steps: int = 150
    pool_folds: tuple[int, ...] = POOL_FOLDS

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if set(self.report_folds) & set(self.pool_folds):
            raise ArgumentError("The folds of the report must not be among those of the pool, 0 to 7.")

    def keys(self) -> Iterator[RunKey]:
        """Return all runs, seed by seed, so that a study that is stopped has whole seeds."""
        for seed in range(self.seeds):
            for task in self.tasks:
                for noise in self.noises(task):
                    for strategy in self.strategies:
                        yield RunKey(task, strategy, seed, noise)

    def noises(self, task: Task) -> tuple[float, ...]:
        """Return the shares of wrong diagnoses with which a task is replayed."""
        return (0.0,) if task == "outline" else self.noise

    def bound_to(self, photographs: Photographs, start: str) -> dict[str, Any]:
        """Say what all runs in one folder have in common; seeds and strategies may be added later."""
        return {
            "data": photographs.fingerprint,
            "start": start,
            "pool_folds": list(self.pool_folds),
            "report_folds": list(self.report_folds),
            "class_budgets": list(self.class_budgets),
            "outline_budgets": list(self.outline_budgets),
            "outline_archive": self.outline_archive,
            "outline_steps": self.outline_steps,
            "proposal_budgets": list(self.proposal_budgets),
            "proposal_archive": self.proposal_archive,
            "proposal_steps": self.proposal_steps,
        }


@dataclass(frozen=True, eq=False)
class StudyData:
    """Photographs and what the encoder saw in them, ready to be replayed."""

    classes: ClassMaterial
    outlines: OutlineStudy
    both_classes: ClassMaterial
    both_outlines: OutlineStudy
    """Of the photographs whose class and outline are known."""

    def report(self, task: Task) -> npt.NDArray[np.intp]:
        """Return the rows that a task's figures are computed on."""
        if task == "class":
            return self.classes.report
        return self.outlines.report if task == "outline" else self.both_classes.report


def run_study(
    plan: StudyPlan,
    photographs: Photographs,
    features: Features,
    folder: Path,
    *,
    decoder: Mapping[str, Tensor] | None = None,
    progress: bool = True,
) -> tuple[Runs, StudyData]:
    """Make the runs that the folder lacks.

    Parameters
    ----------
    decoder
        Weights that outlines begin with; None if nothing has learnt to outline yet.

    Raises
    ------
    DataError
        If the data are too few for the budgets.
    StorageError
        If the folder holds another study or the disk refuses.
    """
    check_data(plan, photographs)
    data = _prepare(plan, photographs, features, decoder)
    runs = Runs(folder, plan.bound_to(photographs, features.start))
    keys = list(plan.keys())
    missing = [key for key in keys if key not in runs]
    with tqdm(
        total=len(keys), initial=len(keys) - len(missing), desc="replaying", unit="run",
        disable=not (progress and missing),
    ) as bar:  # fmt: skip
        for key in missing:
            bar.set_postfix_str(f"{key.task} {key.strategy} seed {key.seed}")
            runs.add(key, _run(plan, data, key))
            bar.update()
    return runs, data


def _run(plan: StudyPlan, data: StudyData, key: RunKey) -> Sequence[Outcome]:
    if key.task == "class":
        return replay_classes(data.classes, key.strategy, key.seed, plan.class_budgets, key.noise)
    if key.task == "outline":
        return replay_outlines(data.outlines, key.strategy, key.seed, plan.outline_budgets)
    return replay_proposals(
        data.both_classes, data.both_outlines, key.strategy, key.seed, plan.proposal_budgets, key.noise
    )


def _prepare(
    plan: StudyPlan, photographs: Photographs, features: Features, decoder: Mapping[str, Tensor] | None
) -> StudyData:
    pool, report = photographs.rows(plan.pool_folds), photographs.rows(plan.report_folds)
    known = photographs.diagnosis >= 0
    drawn = photographs.has_mask
    reduced = reduce_features(features.embedding, features.colour, pool)
    compact = compact_embedding(reduced)
    classes = ClassMaterial(
        image_id=photographs.image_id,
        diagnosis=photographs.diagnosis,
        reduced=reduced,
        compact=compact,
        pool=pool[known[pool]],
        report=report[known[report]],
    )
    outlines = OutlineStudy(
        image_id=photographs.image_id,
        diagnosis=photographs.diagnosis,
        material=OutlineMaterial(features.maps, photographs.masks),
        compact=compact,
        pool=pool[drawn[pool]],
        report=report[drawn[report]],
        archive=plan.outline_archive,
        steps=plan.outline_steps,
        start=decoder,
    )
    both_pool, both_report = (rows[known[rows] & drawn[rows]] for rows in (pool, report))
    return StudyData(
        classes,
        outlines,
        replace(classes, pool=both_pool, report=both_report),
        replace(
            outlines,
            pool=both_pool,
            report=both_report,
            archive=plan.proposal_archive,
            steps=plan.proposal_steps,
        ),
    )


def check_data(plan: StudyPlan, photographs: Photographs) -> None:
    """Check that there are enough labelled photographs. Raises DataError."""
    pool, report = photographs.rows(plan.pool_folds), photographs.rows(plan.report_folds)
    known, drawn = photographs.diagnosis >= 0, photographs.has_mask
    if "class" in plan.tasks:
        _check("diagnosis", pool[known[pool]], report[known[report]], plan.class_budgets, plan)
    if "outline" in plan.tasks:
        _check("outline", pool[drawn[pool]], report[drawn[report]], plan.outline_budgets, plan)
    if "proposal" in plan.tasks:
        both = known & drawn
        _check("class and outline", pool[both[pool]], report[both[report]], plan.proposal_budgets, plan)


def _check(
    what: str,
    pool: npt.NDArray[np.intp],
    report: npt.NDArray[np.intp],
    budgets: tuple[int, ...],
    plan: StudyPlan,
) -> None:
    if len(pool) < budgets[-1] or not len(report):
        raise DataError(
            f"{len(pool)} photographs of folds 0 to 7 and {len(report)} of folds "
            f"{', '.join(map(str, plan.report_folds))} have a known {what}; the simulation needs at least "
            f"{budgets[-1]}, as many as the largest budget, and one. Use more data, or smaller budgets."
        )
