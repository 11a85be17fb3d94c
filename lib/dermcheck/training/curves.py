"""The picture of the learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from dermcheck.files import replace_file

__all__ = ["draw_curves"]

_NOT_FIGURES: Final = ("epoch", "side", "rate", "loss", "minutes", "data_share", "dendrites")


def draw_curves(history: Sequence[Mapping[str, float]], path: Path, best_epoch: int | None = None) -> None:
    """Draw loss and figures by epoch to a PNG file, completely or not at all.

    Parameters
    ----------
    history
        One row an epoch, with `epoch`, `loss` and any figures, as in ``log.csv``.
    best_epoch
        Marked with a line: the epoch whose weights are kept so far.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    left.plot(epochs, [row["loss"] for row in history], marker=".", color="#0072B2")
    left.set(title="Training loss", xlabel="epoch")
    names = dict.fromkeys(name for row in history for name in row if name not in _NOT_FIGURES)
    for name in names:
        right.plot(epochs, [row.get(name, float("nan")) for row in history], marker=".", label=name)
    right.set(title="Fold 8 (selects, is not trained on)", xlabel="epoch")
    if names:
        right.legend(fontsize="small")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if best_epoch is not None:
            axes.axvline(best_epoch, color="0.5", linestyle=":")
    replace_file(path, lambda file: figure.savefig(file, dpi=100, format="png"))
