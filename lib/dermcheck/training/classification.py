"""Training of classifiers on labelled photographs, with or without a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F

from dermcheck.lesions import CLASSES
from dermcheck.training.augmentation import centre_view, normalise, random_view
from dermcheck.training.fitting import Schedule, fit
from dermcheck.training.photographs import Photographs

__all__ = ["SAMPLING_POWER", "class_figures", "mean_logits", "sampling_prior", "train_classifier"]

SAMPLING_POWER = 0.6
"""Rare classes are drawn by frequency**(1 - power): 0 is natural, 1 balanced sampling."""


def sampling_prior(diagnosis: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Share of each class among the drawn training images, given all training diagnoses."""
    counts = np.bincount(diagnosis[diagnosis >= 0], minlength=len(CLASSES)).astype(float)
    drawn = counts ** (1 - SAMPLING_POWER)
    return np.asarray(drawn / drawn.sum())


def train_classifier(
    network: nn.Module,
    photographs: Photographs,
    schedule: Schedule,
    run: Path,
    teacher: nn.Module | None = None,
    teacher_share: float = 0.7,
    temperature: float = 2.0,
) -> nn.Module:
    """Train on folds 0 to 7 of both data sets; figures of fold 8 are logged each epoch.

    With a teacher, the loss is ``(1 - share) * CE + share * T**2 * KL(teacher || student)`` on the
    very same augmented crops, half of them mixed (Hinton et al. 2015; Beyer et al. 2022,
    "Knowledge distillation: a good teacher is patient and consistent").
    """
    train = photographs.rows(range(8))
    train = train[photographs.diagnosis[train] >= 0]
    counts = np.bincount(photographs.diagnosis[train], minlength=len(CLASSES))
    weight = (1.0 / counts[photographs.diagnosis[train]]) ** SAMPLING_POWER
    prior = sampling_prior(photographs.diagnosis[train])
    select = photographs.rows(range(8, 9), "ham10000")

    def draw(epoch: int) -> npt.NDArray[np.int64]:
        chance = np.random.default_rng((schedule.seed, epoch))
        drawn: npt.NDArray[np.int64] = chance.choice(train, len(train), p=weight / weight.sum())
        return drawn

    def loss(
        network: nn.Module, rows: npt.NDArray[np.int64], side: int, generator: torch.Generator
    ) -> Tensor:
        pixels, _ = random_view(photographs.images[rows], side, generator)
        target = F.one_hot(torch.from_numpy(photographs.diagnosis[rows]), len(CLASSES)).float()
        if teacher is not None and torch.rand((), generator=generator) < 0.5:
            share = torch.rand((), generator=generator)
            pixels = share * pixels + (1 - share) * pixels.flip(0)
            target = share * target + (1 - share) * target.flip(0)
        view = normalise(pixels)
        logits = network(view).float()
        hard = F.cross_entropy(logits, target, label_smoothing=0.05)
        if teacher is None:
            return hard
        with torch.no_grad():
            wisdom = teacher(view).float()
        soft = F.kl_div(
            F.log_softmax(logits / temperature, 1),
            F.log_softmax(wisdom / temperature, 1),
            log_target=True,
            reduction="batchmean",
        )
        return (1 - teacher_share) * hard + teacher_share * temperature**2 * soft

    def evaluate(network: nn.Module) -> dict[str, float]:
        logits = mean_logits(network, photographs, select, schedule.sides[-1], views=1)
        return class_figures(logits, photographs.diagnosis[select], prior)

    return fit(network, schedule, draw, loss, evaluate, run)


@torch.no_grad()
def mean_logits(
    network: nn.Module, photographs: Photographs, rows: npt.NDArray[np.int64], side: int, views: int = 1
) -> npt.NDArray[np.float64]:
    """Mean log-probabilities over 1, 2 or 4 mirrored views, (N, 7), float64, in float32 arithmetic."""
    network.eval()
    outputs: list[npt.NDArray[np.float64]] = []
    for i in range(0, len(rows), 64):
        pixels = normalise(centre_view(photographs.images[rows[i : i + 64]], side))
        mirrored: Sequence[Tensor] = (pixels, pixels.flip(3), pixels.flip(2), pixels.transpose(2, 3))
        logs = [F.log_softmax(network(view).double(), 1) for view in mirrored[:views]]
        outputs.append(torch.stack(logs).mean(0).numpy())
    return np.concatenate(outputs)


def class_figures(
    logits: npt.NDArray[np.float64], truth: npt.NDArray[np.int64], prior: npt.NDArray[np.float64]
) -> dict[str, float]:
    """Balanced accuracy after adjustment to a flat prior (Menon et al. 2021), and AUCs."""
    adjusted = logits - np.log(prior)
    probability = np.exp(adjusted - np.logaddexp.reduce(adjusted, 1, keepdims=True))
    melanoma = CLASSES.index("mel")
    return {
        "balanced_accuracy": float(balanced_accuracy_score(truth, adjusted.argmax(1))),
        "macro_auc": float(roc_auc_score(truth, probability, multi_class="ovr")),
        "melanoma_auc": float(roc_auc_score(truth == melanoma, probability[:, melanoma])),
    }
