"""Learning curves as a table and as a picture."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from dermcheck.active_learning.simulation.figures import Curve, paired_difference

__all__ = ["draw_curves", "write_curves"]

_COLOURS: Final = {"random": "#666666", "uncertain": "#E69F00", "diverse": "#56B4E9", "hybrid": "#0072B2"}
"""From Okabe and Ito's palette for colour-vision deficiency."""
_TITLE_WIDTH: Final = 90
"""Letters of a title above one panel."""
_NAMES: Final = {
    "class": "balanced accuracy",
    "outline": "mean Jaccard index",
    "proposal": "proposals that need no change",
}


def write_curves(path: Path, curves: Mapping[str, Mapping[str, Curve]]) -> None:
    """Write a CSV with one row a task, strategy and budget; the difference is to `random`, paired.

    Parameters
    ----------
    curves
        By panel (the task, with the noise if there was any), then by strategy.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "task",
            "strategy",
            "labels",
            "figure",
            "low95",
            "high95",
            "above_random",
            "above_low95",
            "above_high95",
        ]
    )
    for panel, strategies in curves.items():
        for name, curve in strategies.items():
            for budget in curve.budgets:
                found = [curve.estimate(budget)]
                if name != "random" and "random" in strategies:
                    found.append(paired_difference(curve, strategies["random"], budget))
                numbers = [f"{value:.4f}" for e in found for value in (e.value, e.low, e.high)]
                writer.writerow([panel, name, budget, *numbers, *[""] * (6 - len(numbers))])
    path.write_text(text.getvalue(), encoding="utf-8")


def draw_curves(path: Path, curves: Mapping[str, Mapping[str, Curve]], title: str) -> None:
    """Draw one panel a task with bands of 95 % intervals, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2 * len(curves), 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels: Sequence[object] = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (panel, strategies) in zip(panels, curves.items(), strict=True):
        for name, curve in strategies.items():
            estimates = [curve.estimate(budget) for budget in curve.budgets]
            colour = _COLOURS.get(name)
            axes.plot(curve.budgets, curve.values, "o-", ms=3, color=colour, label=name)  # type: ignore[attr-defined]
            axes.fill_between(  # type: ignore[attr-defined]
                curve.budgets,
                [e.low for e in estimates],
                [e.high for e in estimates],
                color=colour,
                alpha=0.12,
                lw=0,
            )
        axes.set(xlabel="labels", ylabel=_NAMES[panel.split()[0]], title=panel)  # type: ignore[attr-defined]
        axes.grid(alpha=0.3)  # type: ignore[attr-defined]
        axes.legend()  # type: ignore[attr-defined]
    lines = [textwrap.fill(line, _TITLE_WIDTH * len(curves)) for line in title.splitlines()]
    figure.suptitle("\n".join(lines), fontsize=9)
    figure.savefig(path, dpi=110, metadata={"Software": None})
