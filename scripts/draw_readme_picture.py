"""Draw docs/images/prediction.png: what DermCheck answers for one sample study.

    python scripts/draw_readme_picture.py
    python scripts/draw_readme_picture.py --study sample_studies/synthetic-2/visit-1/05-hairy-naevus.dcm
    python scripts/draw_readme_picture.py --models DIR --output FILE

Run it with .venv/bin/python, again whenever the models or the sample studies change. matplotlib comes
with the locked packages, except on Linux for ARM.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from dermcheck.dicom import RGBImage, read_photograph
from dermcheck.inference import LesionReport, Predictor
from dermcheck.lesions import LESION_CLASSES
from dermcheck.networks.checkpoint import REFERENCE_MODELS

ROOT = Path(__file__).resolve().parents[1]
STUDY = ROOT / "sample_studies/synthetic-1/visit-1/01-melanoma.dcm"
PICTURE = ROOT / "docs/images/prediction.png"

INCHES = (10, 4)
DOTS_PER_INCH = 120
COLOURS = 192  # of the palette: a third of the bytes, and no difference to be seen in skin
GREY = "0.72"
NOTICE = "Research use only. Not a medical device."


def main() -> None:
    """Predict and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--models", type=Path, default=REFERENCE_MODELS, help="folder of both models")
    parser.add_argument("--study", type=Path, default=STUDY, help="DICOM photograph to predict on")
    parser.add_argument("--output", type=Path, default=PICTURE, help="PNG file to write")
    arguments = parser.parse_args()
    pixels = read_photograph(arguments.study).pixels
    report = Predictor.load(arguments.models).predict(pixels)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_bytes(draw(pixels, report))
    print(f"{arguments.output}: {arguments.output.stat().st_size // 1000} kB, {report.decision.meaning}")


def draw(pixels: RGBImage, report: LesionReport) -> bytes:
    """Return the picture as PNG."""
    figure = Figure(INCHES, DOTS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    draw_photograph(figure.add_axes((0.01, 0.11, 0.47, 0.87)), pixels, report)
    draw_probabilities(figure.add_axes((0.74, 0.27, 0.21, 0.71)), report)
    figure.text(
        0.5, 0.14, f"Decision: {report.decision.meaning}", fontsize=12, fontweight="bold", va="center"
    )
    figure.text(0.5, 0.06, f"Uncertainty: {report.uncertainty:.2f} of 1", fontsize=10, va="center")
    figure.text(0.99, 0.06, NOTICE, fontsize=9, ha="right", va="center", color="0.35")
    canvas.draw()
    # Without dithering, which would cost bytes and speckle the white ground.
    palette = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(COLOURS, dither=0)
    content = io.BytesIO()
    palette.save(content, format="PNG", optimize=True)
    return content.getvalue()


def draw_photograph(axes: Axes, pixels: RGBImage, report: LesionReport) -> None:
    """Show the photograph with the outline, in the decision's colour on a dark ground."""
    axes.set_axis_off()
    axes.imshow(pixels)
    if report.mask.any():
        framed = np.pad(report.mask, 1).astype(float)  # also closes an outline at the picture's edge
        rows, columns = (np.arange(-1, size + 1) for size in report.mask.shape)
        for colour, width in (("black", 3.5), (_rgb(report.decision.colour), 1.8)):
            axes.contour(columns, rows, framed, levels=[0.5], colors=[colour], linewidths=width)
    axes.set_xlim(-0.5, pixels.shape[1] - 0.5)
    axes.set_ylim(pixels.shape[0] - 0.5, -0.5)
    axes.text(
        0.0,
        -0.04,
        "Synthetic sample photograph",
        fontsize=9,
        color="0.35",
        va="top",
        transform=axes.transAxes,
    )


def draw_probabilities(axes: Axes, report: LesionReport) -> None:
    """Draw one bar a class; the decision's has its colour."""
    lesions = LESION_CLASSES[::-1]  # the first on top
    shares = [report.probabilities[lesion.name] for lesion in lesions]
    colours = [_rgb(lesion.colour) if lesion == report.decision else GREY for lesion in lesions]
    axes.barh(range(len(lesions)), shares, color=colours, height=0.65)
    axes.set_yticks(range(len(lesions)), [lesion.meaning.replace(" or ", " or\n") for lesion in lesions])
    for place, (lesion, share) in enumerate(zip(lesions, shares, strict=True)):
        weight = "bold" if lesion == report.decision else "normal"
        axes.text(share + 0.02, place, f"{share:.1%}", va="center", fontsize=9, fontweight=weight)
        axes.get_yticklabels()[place].set_fontweight(weight)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "50%", "100%"])
    axes.tick_params(labelsize=9, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel("Calibrated probability", fontsize=9)


def _rgb(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255


if __name__ == "__main__":
    main()
