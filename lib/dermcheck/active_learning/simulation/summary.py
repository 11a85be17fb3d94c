"""What a study says, as values and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dermcheck.active_learning.simulation.figures import (
    GOOD_OUTLINE,
    RARE,
    Curve,
    Estimate,
    Resamples,
    by_strategy,
    curve,
    labels_needed_estimate,
    needs_no_change,
    paired_difference,
    rare_share,
)
from dermcheck.active_learning.simulation.picture import draw_curves, write_curves
from dermcheck.active_learning.simulation.runs import Outcome, RunKey, Runs
from dermcheck.active_learning.simulation.study import StudyData, StudyPlan
from dermcheck.lesions import CLASSES
from dermcheck.training.data import Photographs

__all__ = ["in_words", "summarise", "write_figures"]

_FIRST: Final = 500
"""Labels among which rare classes are counted."""
_FROM: Final = 200
"""Budget from which a strategy should never be below random."""
_MEASURES: Final = {
    "class": "balanced accuracy",
    "outline": "mean Jaccard index",
    "proposal": f"proposals that need no change (class right, Jaccard index of {GOOD_OUTLINE} or more)",
}


def summarise(
    plan: StudyPlan, runs: Runs, data: StudyData, photographs: Photographs
) -> tuple[dict[str, dict[str, Curve]], dict[str, Any]]:
    """Compute the learning curves, by panel and strategy, and the figures of each strategy against random."""
    curves: dict[str, dict[str, Curve]] = {}
    figures: dict[str, Any] = {}
    for task in plan.tasks:
        rows = data.report(task)
        diagnosis = photographs.diagnosis[rows]
        truth = diagnosis if task == "class" else None
        for noise in plan.noises(task):
            found = {name: _runs(plan, runs, keys) for name, keys in by_strategy(runs, task, noise).items()}
            found = {name: found[name] for name in plan.strategies if found.get(name)}
            resamples = Resamples.draw(plan.seeds, photographs.lesion_id[rows])
            panel = task if noise == 0 else f"{task} ({noise:.0%} wrong answers)"
            scored = found
            if task == "proposal":
                scored = {
                    name: [[needs_no_change(outcome, diagnosis) for outcome in run] for run in runs_of_one]
                    for name, runs_of_one in found.items()
                }
            curves[panel] = {name: curve(outcomes, truth, resamples) for name, outcomes in scored.items()}
            figures[panel] = {
                name: _figures(task, name, curves[panel], found, diagnosis) for name in curves[panel]
            }
    return curves, figures


def write_figures(
    folder: Path, curves: Mapping[str, Mapping[str, Curve]], plan: StudyPlan, start: str
) -> None:
    """Write ``curves.csv`` and ``curves.png``."""
    write_curves(folder / "curves.csv", curves)
    folds = ", ".join(map(str, plan.report_folds))
    draw_curves(
        folder / "curves.png",
        curves,
        f"Pool: folds 0-7; figures on fold {folds}; {plan.seeds} seeds; bands: 95 %\nHeads on frozen {start}",
    )


def in_words(figures: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Put the figures into lines for a terminal."""
    lines = []
    for panel, strategies in figures.items():
        lines.append(f"\n{panel}")
        for name, values in strategies.items():
            lines.append(f"  {name}")
            lines += [f"    {label}: {_text(value)}" for label, value in values.items()]
    return "\n".join(lines)


def _runs(plan: StudyPlan, runs: Runs, keys: list[RunKey]) -> list[list[Outcome]]:
    return [list(runs[key]) for key in keys if key.seed < plan.seeds]


def _figures(
    task: str,
    name: str,
    curves: Mapping[str, Curve],
    found: Mapping[str, list[list[Outcome]]],
    diagnosis: npt.NDArray[np.int64],
) -> dict[str, Any]:
    own, budget = curves[name], curves[name].budgets[-1]
    values: dict[str, Any] = {f"{_MEASURES[task]} with {budget:,} labels": _json(own.estimate(budget))}
    first = max((b for b in own.budgets if b <= _FIRST), default=own.budgets[0])
    if task == "class":
        values[f"share of {', '.join(CLASSES[c] for c in RARE)} in the first {first}"] = rare_share(
            found[name], first
        )
    else:
        last = [run[-1] for run in found[name]]
        good = [(o.answers if o.jaccard is None else o.jaccard) >= GOOD_OUTLINE for o in last]
        values[f"share of outlines with a Jaccard index of {GOOD_OUTLINE} with {budget:,} labels"] = float(
            np.mean(good)
        )
    if task == "proposal":
        right = [outcome.answers == diagnosis for outcome in last]
        values[f"share of right classes with {budget:,} labels"] = float(np.mean(right))
    if name == "random" or "random" not in curves:
        return values
    reference = curves["random"]
    if task == "class":
        share = rare_share(found["random"], first)
        values["that share against random's"] = rare_share(found[name], first) / share if share else None
    values[f"labels needed for what random has with {budget:,}"] = _json(
        labels_needed_estimate(own, reference, budget)
    )
    differences = {b: paired_difference(own, reference, b) for b in own.budgets if b >= min(_FROM, budget)}
    values["smallest difference to random"] = _json(min(differences.values(), key=lambda e: e.value))
    values["budgets with the interval above random"] = [b for b, e in differences.items() if e.low > 0]
    values["budgets below random"] = [b for b, e in differences.items() if e.value < 0]
    return values


def _json(estimate: Estimate) -> dict[str, Any]:
    """None in the place of infinity, which JSON lacks."""
    finite = [None if math.isinf(v) else v for v in (estimate.value, estimate.low, estimate.high)]
    return {"value": finite[0], "interval95": finite[1:]}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return f"{_text(value['value'])} [{_text(value['interval95'][0])}, {_text(value['interval95'][1])}]"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if value is None:
        return "not reached"
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.3f}"
