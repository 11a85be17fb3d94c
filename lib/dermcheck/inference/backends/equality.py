"""Whether a back end answers as PyTorch does, on pictures drawn for that.

In float32 nothing but the order of additions differs: every probability (of the seven classes, and of each
pixel of an outline) must be within `F32_BOUND`. Where a network is computed in fewer bits, at least
99.8 % of the decisions must be equal and the masks' mean Jaccard index at least 0.995; as a few dozen
pictures cannot show 99.8 %, all decisions must be equal there and no probability of a class may move by more
than `REDUCED_BOUND`. On photographs of HAM10000, bfloat16 moved probabilities by up to 0.06 and changed
0.8 % of the decisions; `benchmarks/inference.py --data` measures it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from dermcheck.inference.backends.base import Answer, Picture
from dermcheck.inference.backends.sizes import usual_sizes
from dermcheck.inference.calibration import calibrated_probabilities, decide
from dermcheck.networks.cards import ModelCard

__all__ = ["F32_BOUND", "REDUCED_BOUND", "Difference", "compare", "drawn_pictures"]

FloatArray = npt.NDArray[np.float32]

F32_BOUND: Final = 1e-3
REDUCED_BOUND: Final = 0.01
_DECISIONS: Final = 0.998
_JACCARD: Final = 0.995


@dataclass(frozen=True)
class Difference:
    """How far answers to the same pictures lie apart."""

    probability: float
    """The largest difference of a probability: of a class, or of a pixel to be lesion."""
    outlines: bool
    """Whether it is pixels that are compared, not classes."""
    decisions: float = 1.0
    """Share of equal decisions."""
    jaccard: float = 1.0
    """Mean Jaccard index of the masks; 1 where both are empty."""

    def holds(self, *, reduced: bool) -> bool:
        """Return whether the answers may take each other's place; NaN never does."""
        if not reduced:
            return self.probability <= F32_BOUND
        near = self.outlines or self.probability <= REDUCED_BOUND  # a pixel at an outline's edge moves more
        return near and self.decisions >= _DECISIONS and self.jaccard >= _JACCARD

    def __str__(self) -> str:
        """Give the figures in words."""
        share = (
            f"Jaccard index {self.jaccard:.4f}" if self.outlines else f"{self.decisions:.2%} equal decisions"
        )
        return f"probabilities within {self.probability:.2g}, {share}"


def compare(card: ModelCard, reference: Sequence[Answer], other: Sequence[Answer]) -> Difference:
    """Compare a back end's answers with PyTorch's."""
    if any(
        one.shape != two.shape or not np.isfinite(two).all()
        for ours, theirs in zip(reference, other, strict=True)
        for one, two in zip(ours, theirs, strict=True)
    ):
        return Difference(np.inf, card.calibration is None, 0.0, 0.0)
    if card.calibration is None:
        pairs = [(ours[0], theirs[0]) for ours, theirs in zip(reference, other, strict=True)]
        return Difference(
            probability=max(float(np.abs(_sigmoid(one) - _sigmoid(two)).max()) for one, two in pairs),
            outlines=True,
            jaccard=float(np.mean([_jaccard(one > 0, two > 0) for one, two in pairs])),
        )
    one, two = (
        calibrated_probabilities(np.stack([answer[0] for answer in answers]), card.calibration)
        for answers in (reference, other)
    )
    return Difference(
        probability=float(np.abs(one - two).max()),
        outlines=False,
        decisions=float(np.mean(decide(one, card.calibration) == decide(two, card.calibration))),
    )


def drawn_pictures(card: ModelCard, count: int) -> list[Picture]:
    """Draw lesions on skin, of sizes that photographs have in the network's input, one in four unusual."""
    shapes = usual_sizes(card.input)[:3]
    if card.input.geometry == "short_side":
        shapes.append((shapes[0][0], 2 * shapes[0][1] + card.input.multiple))
    rng = np.random.default_rng(0)
    return [_draw(rng, *shapes[i % len(shapes)]) for i in range(count)]


def _draw(rng: np.random.Generator, rows: int, columns: int) -> Picture:
    """Draw one to three blots with wavy edges on uneven skin, some noise, sometimes hairs."""
    y, x = (np.arange(rows)[:, None] / rows - 0.5), (np.arange(columns)[None] / columns - 0.5)
    skin = rng.uniform((0.6, 0.4, 0.35), (0.95, 0.8, 0.75))
    light = 1 + rng.normal(0, 0.3) * x + rng.normal(0, 0.3) * y
    picture = light[..., None] * skin
    for _ in range(rng.integers(1, 4)):
        dy, dx = y - rng.uniform(-0.2, 0.2), x - rng.uniform(-0.2, 0.2)
        angle = np.arctan2(dy, dx)
        edge = rng.uniform(0.06, 0.3) * (1 + 0.2 * np.sin(rng.integers(2, 6) * angle + rng.uniform(0, 6)))
        inside = 1 / (1 + np.exp((np.hypot(dy, dx) - edge) / rng.uniform(0.005, 0.04)))
        colour = rng.uniform((0.15, 0.08, 0.08), (0.7, 0.5, 0.5))
        picture = picture + inside[..., None] * (colour - picture)
    for _ in range(rng.integers(0, 5)):
        line = np.abs(np.cos(t := rng.uniform(0, 3.1)) * x + np.sin(t) * y - rng.uniform(-0.4, 0.4))
        picture = np.where((line < 0.004)[..., None], 0.1, picture)
    noisy = picture + rng.normal(0, rng.uniform(0.005, 0.04), (rows, columns, 3))
    return np.ascontiguousarray(noisy.clip(0, 1), np.float32)


def _sigmoid(logits: FloatArray) -> npt.NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64).clip(-60, 60))))


def _jaccard(one: npt.NDArray[np.bool_], two: npt.NDArray[np.bool_]) -> float:
    union = int((one | two).sum())
    return int((one & two).sum()) / union if union else 1.0
