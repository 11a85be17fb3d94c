"""Training of the outliner: a binary lesion mask from a photograph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from monai.losses.dice import DiceCELoss
from torch import Tensor, nn

from dermcheck.training.data.picture_cache import Photographs
from dermcheck.training.data.splits import FIT, SELECT
from dermcheck.training.data.transforms import to_batch, training_transforms
from dermcheck.training.examination import outline_evaluator, run_evaluator
from dermcheck.training.fitting import Batch, Rows
from dermcheck.training.mixing import draw_mixed, mixed_weights
from dermcheck.training.numerics import Numerics
from dermcheck.training.stopping import StopRequest

__all__ = ["SegmentationLesson"]

_LARGEST_SCALE: Final = 1.3
"""Views reach past the picture's border, so that lesions of all sizes are seen."""
_HAIR: Final = 0.1
_COLOUR_CONSTANCY: Final = 0.1


@dataclass(eq=False, kw_only=True)
class SegmentationLesson:
    """Teaches outlines with Dice + cross entropy from folds 0 to 7 and examines on fold 8.

    Masks that are all foreground are known mistakes of the data sets and left out.
    """

    photographs: Photographs
    seed: int
    corrections_share: float | None = None
    """See `TrainingConfiguration.corrections_share`."""
    side: int = 192
    """At which it is examined."""
    key: str = field(default="jaccard", init=False)

    def __post_init__(self) -> None:
        """Find the rows."""
        self._fit = self._outlined(self.photographs.rows(FIT))
        self._select = self._outlined(self.photographs.rows(SELECT))
        self._criterion = DiceCELoss(sigmoid=True, batch=False)
        self._weights = None
        if self.corrections_share is not None:
            self._weights = mixed_weights(self.photographs, self._fit, self.corrections_share)

    def draw(self, epoch: int) -> Rows:
        """Take every photograph once; corrections and reference data in their shares."""
        chance = np.random.default_rng((self.seed, epoch))
        if self._weights is None:
            return chance.permutation(self._fit)
        return draw_mixed(self.photographs, self._fit, self._weights, chance)

    def batch(self, rows: Rows, side: int, generator: torch.Generator) -> Batch:
        """Make random views ``image`` with their masks ``mask`` (N, 1, side, side)."""
        transforms = training_transforms(
            side, largest_scale=_LARGEST_SCALE, hair=_HAIR, colour_constancy=_COLOUR_CONSTANCY
        )
        view = transforms(to_batch(self.photographs, rows, generator, masks=True))
        return {"image": view["image"], "mask": view["mask"]}

    def loss(self, network: nn.Module, batch: Batch, numerics: Numerics) -> Tensor:
        """Dice + cross entropy."""
        with numerics.autocast():
            logits = network(numerics.place(batch["image"]))
        value: Tensor = self._criterion(logits.float(), batch["mask"].to(numerics.device))
        return value

    def examine(self, network: nn.Module, numerics: Numerics, stop: StopRequest) -> dict[str, float]:
        """Give the mean Jaccard index on fold 8, over all and by source."""
        sources = np.unique(self.photographs.source[self._select]).tolist()
        evaluator = outline_evaluator(network, self.photographs, self.side, numerics, sources)
        return run_evaluator(evaluator, self._select, stop)

    def _outlined(self, rows: Rows) -> Rows:
        masks = self.photographs.masks
        rows = rows[self.photographs.has_mask[rows]]
        return np.array([row for row in rows if not masks[int(row)].all()], np.int64)
