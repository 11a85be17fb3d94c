"""The pictures of an evaluation: curves, confusion matrix, worst cases. All as PNG in memory."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

from dermcheck.dicom.pixels import RGBImage
from dermcheck.dicom.segments import LesionMask
from dermcheck.lesions import CLASSES, LESION_CLASSES
from dermcheck.training.evaluation.answers import ClassificationAnswers, OutlineAnswers
from dermcheck.training.evaluation.figures import MELANOMA, THRESHOLD
from dermcheck.training.evaluation.reports import confusion_matrix, reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Picture", "draw_case", "draw_classification", "draw_outlines"]

_EXPERT: Final = (86, 180, 233)
_MODEL: Final = (230, 159, 0)
_CASE_PX: Final = 240


@dataclass(frozen=True)
class Picture:
    """A PNG file and what it shows."""

    png: bytes
    caption: str


def draw_classification(answers: ClassificationAnswers) -> list[Picture]:
    """Draw ROC curves, confusion matrix, reliability, and error over coverage."""
    return [
        _plot(
            lambda axes: _roc_curves(axes, answers),
            "ROC curves of each class against the rest, with their area.",
        ),
        _plot(
            lambda axes: _confusion(axes, answers),
            "Confusion matrix: photographs of each diagnosis (row) by decision (column); the shade is the "
            "share of the row.",
        ),
        _plot(
            lambda axes: _reliability(axes, answers),
            "Reliability: how often the most probable class is right, by its probability. Points on the line "
            "are honest; their area shows the number of photographs.",
        ),
        _plot(
            lambda axes: _coverage(axes, answers),
            "Error of the decisions over the share of photographs that are answered, the surest first. The "
            'line marks where the model begins to say "not sure".',
        ),
    ]


def draw_outlines(answers: OutlineAnswers) -> list[Picture]:
    """Draw the distribution of the Jaccard index."""

    def draw(axes: Axes) -> None:
        axes.hist(answers.jaccard, bins=np.linspace(0, 1, 41).tolist(), color="#0072B2")
        axes.axvline(THRESHOLD, color="0.3", linestyle=":")
        axes.set(xlabel="Jaccard index", ylabel="photographs", xlim=(0, 1))

    return [_plot(draw, f"Jaccard index of the outlines; below {THRESHOLD} an outline counts as failed.")]


def draw_case(
    pixels: RGBImage, caption: str, mask: LesionMask | None = None, expert: LesionMask | None = None
) -> Picture:
    """Draw one photograph, small, with the model's outline in orange and the expert's in blue."""
    rows, columns = pixels.shape[:2]
    scale = _CASE_PX / max(rows, columns)
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    small = np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    for outline, colour in ((expert, _EXPERT), (mask, _MODEL)):
        if outline is not None:
            inside = np.array(Image.fromarray(outline.astype(np.uint8) * 255).resize(size)) > 127
            small[binary_dilation(inside) & ~binary_erosion(inside)] = colour
    file = io.BytesIO()
    Image.fromarray(small).save(file, format="PNG")
    return Picture(file.getvalue(), caption)


def _roc_curves(axes: Axes, answers: ClassificationAnswers) -> None:
    for lesion in LESION_CLASSES:
        positive = answers.truth == lesion.index
        if positive.any() and not positive.all():
            false, true = _roc(positive, answers.probability[:, lesion.index])
            area = float((np.diff(false) * (true[1:] + true[:-1]) / 2).sum())
            width = 2.5 if lesion.index == MELANOMA else 1.2
            colour = tuple(value / 255 for value in lesion.colour)
            axes.plot(false, true, color=colour, linewidth=width, label=f"{lesion.name} {area:.3f}")
    axes.plot((0, 1), (0, 1), color="0.7", linestyle=":")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="lower right", fontsize="small")


def _roc(
    positive: npt.NDArray[np.bool_], score: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Give the rates of false and true positives at every distinct threshold, from (0, 0) to (1, 1)."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    true, false = positive[order].cumsum()[ends], (~positive[order]).cumsum()[ends]
    return np.append(0, false / false[-1]), np.append(0, true / true[-1])


def _confusion(axes: Axes, answers: ClassificationAnswers) -> None:
    counts = confusion_matrix(answers)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(CLASSES)):
        for column in range(len(CLASSES)):
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(CLASSES)), CLASSES)
    axes.set_yticks(range(len(CLASSES)), CLASSES)
    axes.set(xlabel="decision", ylabel="diagnosis")


def _reliability(axes: Axes, answers: ClassificationAnswers) -> None:
    bins = reliability(answers)
    area = [300 * each["images"] / len(answers) + 8 for each in bins]
    axes.plot((0, 1), (0, 1), color="0.7", linestyle=":")
    axes.scatter(
        [each["confidence"] for each in bins], [each["accuracy"] for each in bins], s=area, color="#0072B2"
    )
    axes.set(xlabel="probability of the most probable class", ylabel="share right", xlim=(0, 1), ylim=(0, 1))


def _coverage(axes: Axes, answers: ClassificationAnswers) -> None:
    known = not np.isnan(answers.confidence).any()
    order = np.argsort(-(answers.confidence if known else answers.probability.max(1)), kind="stable")
    wrong = (answers.decision != answers.truth)[order]
    answered = np.arange(1, len(wrong) + 1)
    axes.plot(answered / len(wrong), wrong.cumsum() / answered, color="#0072B2")
    if known and not answers.sure.all():
        axes.axvline(float(answers.sure.mean()), color="0.3", linestyle=":")
    axes.set(xlabel="share of photographs answered", ylabel="share of wrong decisions", xlim=(0, 1))
    axes.set_ylim(bottom=0)


def _plot(draw: Callable[[Axes], None], caption: str) -> Picture:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.grid(alpha=0.2)
    draw(axes)
    file = io.BytesIO()
    figure.savefig(file, dpi=110, format="png")
    return Picture(file.getvalue(), caption)
