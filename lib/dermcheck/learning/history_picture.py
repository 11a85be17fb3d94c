"""The picture of how the models came on.

Run as a program (``python -m dermcheck.learning.history_picture``), it reads a `History` as JSON from its
input and writes the picture as SVG: so a server needs no plotting package in its own process.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dermcheck.errors import ArgumentError, StorageError
from dermcheck.files import replace_file
from dermcheck.learning.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dermcheck.networks.cards import Task

__all__ = ["SUFFIXES", "draw_history", "save_history"]

SUFFIXES: Final = (".svg", ".png")

_TITLES: Final[Mapping[Task, str]] = {
    "classification": "Diagnoses: balanced accuracy on the untouched photographs",
    "segmentation": "Outlines: mean Jaccard index on the untouched photographs",
}
_LOOKS: Final[Mapping[str, dict[str, Any]]] = {
    "promoted": {"marker": "o", "color": "#0072B2", "label": "taken into use"},
    "refused": {"marker": "o", "color": "#D55E00", "label": "refused", "facecolors": "none"},
    "rolled back": {"marker": "D", "color": "#009E73", "label": "gone back to"},
}
_MOST_NAMED: Final = 12


def draw_history(history: History) -> Figure:
    """Draw figures by date for both models, and below them the number of corrections."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 7.5), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    _draw_task(top, history, "classification")
    _draw_task(middle, history, "segmentation")
    _draw_corrections(bottom, history)
    start, end = _span(history)
    bottom.set_xlim(_days(start), _days(end))
    for axes in (top, middle, bottom):
        axes.grid(alpha=0.3)
    locator = AutoDateLocator(maxticks=8)  # type: ignore[no-untyped-call]
    bottom.xaxis.set_major_locator(locator)
    bottom.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    return figure


def save_history(history: History, path: Path) -> None:
    """Write the picture to a file, completely or not at all.

    Raises
    ------
    ArgumentError
        If the file's name ends otherwise than in ``.svg`` or ``.png``.
    StorageError
        If it cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ArgumentError(f"{path}: pictures are written as .svg or .png. Name such a file.")
    content = _rendered(history, path.suffix.lower()[1:])
    try:
        replace_file(path, content)
    except OSError as error:
        raise StorageError(
            f"{path}: the picture cannot be written ({error.strerror}). Choose another place."
        ) from error


def _rendered(history: History, kind: str) -> bytes:
    from matplotlib import rc_context

    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "dermcheck", "svg.fonttype": "path"}):
        draw_history(history).savefig(
            content, format=kind, dpi=110, metadata={"Date": None} if kind == "svg" else None
        )
    return content.getvalue()


def _draw_task(axes: Axes, history: History, task: Task) -> None:
    axes.set_title(_TITLES[task], fontsize="medium", loc="left")
    decisions = history.of(task)
    line = history.in_use(task)
    if decisions and decisions[0].current is not None:
        line.insert(0, (_span(history)[0], decisions[0].current))
    if line:
        days = [_days(moment) for moment, _ in line]
        values = [value for _, value in line]
        days.append(_days(_span(history)[1]))
        axes.step(days, [*values, values[-1]], where="post", color="0.5", label="in use")
    measured = dict(line)
    for what, look in _LOOKS.items():
        points = [
            (_days(each.moment), value)
            for each in decisions
            if each.what == what
            and (value := measured.get(each.moment) if what == "rolled back" else each.candidate) is not None
        ]
        if points:
            days, values = ([point[axis] for point in points] for axis in (0, 1))
            axes.scatter(days, values, s=45, zorder=3, **look)
    unmeasured = [
        _days(each.moment) for each in decisions if each.what != "rolled back" and each.candidate is None
    ]
    if unmeasured:
        axes.plot(
            unmeasured, [0.03] * len(unmeasured), "x", color="0.3", transform=axes.get_xaxis_transform(),
            label="decided without figures",
        )  # fmt: skip
        if not line:
            axes.set_yticks([])
    for each in decisions[-_MOST_NAMED:]:
        if each.candidate is not None:
            axes.annotate(
                each.version.rpartition("-")[2], (_days(each.moment), each.candidate),
                xytext=(0, 7), textcoords="offset points", ha="center", fontsize="small",
            )  # fmt: skip
    if decisions:
        axes.legend(fontsize="small", loc="best")
    else:
        _say(axes, "No further version yet")
    axes.margins(y=0.25)


def _draw_corrections(axes: Axes, history: History) -> None:
    axes.set_title("Corrected photographs", fontsize="medium", loc="left")
    days = [_days(datetime.fromisoformat(text)) for text in history.corrected]
    if days:
        end = _days(_span(history)[1])
        counts = list(range(1, len(days) + 1))
        axes.step([days[0], *days, end], [0, *counts, counts[-1]], where="post", color="#0072B2")
    learnt = [
        (_days(each.moment), each.corrections)
        for each in history.decisions
        if each.corrections is not None and each.what != "rolled back"
    ]
    if learnt:
        learnt_on, numbers = ([point[axis] for point in learnt] for axis in (0, 1))
        axes.scatter(learnt_on, numbers, marker="|", color="0.3", label="learnt from", zorder=3)
        axes.legend(fontsize="small", loc="upper left")
    if not days and not learnt:
        _say(axes, "None known")
    axes.set_ylim(bottom=0)


def _days(moment: datetime) -> float:
    """Turn a moment into the number of days that matplotlib's axes count in."""
    from matplotlib.dates import date2num

    return float(date2num(moment))  # type: ignore[no-untyped-call]


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="0.4")
    axes.set_yticks([])


def _span(history: History) -> tuple[datetime, datetime]:
    """Return first and last moment of the picture, with some air."""
    moments = [each.moment for each in history.decisions]
    moments += [datetime.fromisoformat(text) for text in (*history.corrected[:1], *history.corrected[-1:])]
    moments = moments or [datetime(2000, 1, 1)]
    air = max((max(moments) - min(moments)) * 0.04, timedelta(hours=1))
    return min(moments) - air, max(moments) + air


def main() -> None:
    """Read a history, write its picture."""
    history = History.from_json(json.load(sys.stdin))
    sys.stdout.buffer.write(_rendered(history, "svg"))


if __name__ == "__main__":
    main()
