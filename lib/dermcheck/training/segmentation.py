"""Training of the outliner: a binary lesion mask from a photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from monai.losses.dice import DiceCELoss
from torch import Tensor, nn
from torch.nn import functional as F

from dermcheck.training.augmentation import centre_view, normalise, random_view
from dermcheck.training.fitting import Schedule, fit
from dermcheck.training.photographs import SIDE, Photographs

__all__ = ["jaccard_indices", "train_outliner"]


def train_outliner(network: nn.Module, photographs: Photographs, schedule: Schedule, run: Path) -> nn.Module:
    """Train on folds 0 to 7 of both data sets with Dice + cross entropy; fold 8 is logged.

    Views reach past the picture's border (scale up to 1.3) so that lesions of all sizes are seen.
    Masks that are all foreground are known mistakes of the data set and left out.
    """
    train = photographs.rows(range(8))
    train = np.array([row for row in train if not photographs.masks[row].all()])
    select = {
        name: photographs.rows(range(8, 9), name)
        for name in np.unique(photographs.source[photographs.fold == 8])
    }
    criterion = DiceCELoss(sigmoid=True, batch=False)

    def draw(epoch: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng((schedule.seed, epoch)).permutation(train)

    def loss(
        network: nn.Module, rows: npt.NDArray[np.int64], side: int, generator: torch.Generator
    ) -> Tensor:
        pixels, inside = random_view(
            photographs.images[rows], side, generator, photographs.masks[rows], largest_scale=1.3
        )
        value: Tensor = criterion(network(normalise(pixels)).float(), inside)
        return value

    def evaluate(network: nn.Module) -> dict[str, float]:
        return {
            f"jaccard_{name}": float(jaccard_indices(network, photographs, rows, schedule.sides[-1]).mean())
            for name, rows in select.items()
        }

    return fit(network, schedule, draw, loss, evaluate, run)


@torch.no_grad()
def jaccard_indices(
    network: nn.Module, photographs: Photographs, rows: npt.NDArray[np.int64], side: int
) -> npt.NDArray[np.float64]:
    """Intersection over union of each image's mask with the expert's, at 256 px."""
    network.eval()
    indices: list[float] = []
    for i in range(0, len(rows), 32):
        batch = rows[i : i + 32]
        logits = network(normalise(centre_view(photographs.images[batch], side)))
        logits = F.interpolate(logits, (SIDE, SIDE), mode="bilinear", antialias=False)
        predicted = logits[:, 0].numpy() > 0
        expert = photographs.masks[batch] > 0
        union = (predicted | expert).sum((1, 2))
        indices.extend(((predicted & expert).sum((1, 2)) / np.maximum(union, 1)).tolist())
    return np.array(indices)
