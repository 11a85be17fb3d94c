"""Training of classifiers on labelled photographs, with or without a teacher."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F

from dermcheck.lesions import CLASSES
from dermcheck.training.configuration import SAMPLING_POWER
from dermcheck.training.data.picture_cache import Photographs
from dermcheck.training.data.sampling import draw_rows, sampling_prior
from dermcheck.training.data.splits import FIT, SELECT
from dermcheck.training.data.transforms import to_batch, training_transforms, validation_transforms
from dermcheck.training.examination import classification_evaluator, run_evaluator
from dermcheck.training.fitting import Batch, Rows, Schedule, fit
from dermcheck.training.mixing import draw_mixed, mixed_weights, most_even
from dermcheck.training.numerics import Numerics
from dermcheck.training.stopping import StopRequest

if TYPE_CHECKING:
    from dermcheck.training.dendrites import DendriteGrowth

__all__ = ["ClassificationLesson", "Teacher", "class_figures", "mean_logits", "train_classifier"]

_HAIR: Final = 0.1
_COLOUR_CONSTANCY: Final = 0.1
_LEAST_SHARE: Final = 1e-3
"""Share that a class counts with at least, where none of it is drawn."""
MELANOMA: Final = CLASSES.index("mel")


@dataclass(frozen=True)
class Teacher:
    """A trained network whose opinion is part of the loss (Hinton et al. 2015).

    The loss is ``(1 - share) * CE + share * T**2 * KL(teacher || student)`` on the very same augmented
    crops, half of the batches mixed (Beyer et al. 2022, "Knowledge distillation: a good teacher is
    patient and consistent").
    """

    network: nn.Module
    share: float = 0.7
    temperature: float = 2.0

    def loss(self, hard: Tensor, logits: Tensor, view: Tensor) -> Tensor:
        """Blend the cross entropy `hard` of the student's `logits` with the teacher's opinion on `view`."""
        with torch.no_grad():
            wisdom = self.network(view).float()
        soft = F.kl_div(
            F.log_softmax(logits / self.temperature, 1),
            F.log_softmax(wisdom / self.temperature, 1),
            log_target=True,
            reduction="batchmean",
        )
        return (1 - self.share) * hard + self.share * self.temperature**2 * soft


@dataclass(eq=False, kw_only=True)
class ClassificationLesson:
    """Teaches the seven classes from folds 0 to 7 and examines on fold 8.

    Rare classes are drawn more often than they occur. The loss is that of ``logits / temperature +
    log(share drawn / training_prior)``: so the network keeps answering as if it had been trained with the
    shares `training_prior`, whatever happens to be drawn (logit adjustment, Menon et al. 2021). From
    scratch both are the same, and the term vanishes; going on from a model, they are its card's.
    """

    photographs: Photographs
    seed: int
    sampling_power: float = SAMPLING_POWER
    label_smoothing: float = 0.05
    corrections_share: float | None = None
    """See `TrainingConfiguration.corrections_share`."""
    temperature: float = 1.0
    training_prior: npt.NDArray[np.float64] | None = None
    """(7,) shares that sum to 1; None: those that are drawn."""
    teacher: Teacher | None = None
    select_source: str | None = None
    """Examine on photographs of this source only."""
    side: int = 128
    """At which it is examined."""
    most_examined: int | None = None
    """Examine on so many photographs of fold 8 at most, all classes alike as far as there are enough."""
    hair: float = _HAIR
    growth: DendriteGrowth | None = field(default=None, init=False)
    """Set by whoever grows dendrites on the network."""
    key: str = field(default="balanced_accuracy", init=False)

    def __post_init__(self) -> None:
        """Find the rows, and the shares in which the classes are drawn."""
        diagnosis = self.photographs.diagnosis
        self._fit = self._known(self.photographs.rows(FIT))
        select = self._known(self.photographs.rows(SELECT, self.select_source))
        self._select = most_even(self.photographs, select, self.most_examined)
        if self.corrections_share is None:
            self._weights = None
            drawn = sampling_prior(diagnosis[self._fit], self.sampling_power)
        else:
            self._weights = mixed_weights(
                self.photographs, self._fit, self.corrections_share, self.sampling_power
            )
            drawn = np.bincount(diagnosis[self._fit], self._weights, minlength=len(CLASSES)).astype(float)
        drawn = np.maximum(drawn, _LEAST_SHARE)
        drawn /= drawn.sum()
        self.prior = drawn if self.training_prior is None else self.training_prior
        """The shares that the network answers for."""
        self._adjustment = torch.from_numpy(np.log(drawn / self.prior)).float()

    def draw(self, epoch: int) -> Rows:
        """Draw with replacement, by class and source."""
        chance = np.random.default_rng((self.seed, epoch))
        if self._weights is None:
            return draw_rows(self._fit, self.photographs.diagnosis, self.sampling_power, chance)
        return draw_mixed(self.photographs, self._fit, self._weights, chance)

    def batch(self, rows: Rows, side: int, generator: torch.Generator) -> Batch:
        """Make random views ``image`` and their classes ``target`` (N, 7); with a teacher, half are mixed."""
        transforms = training_transforms(side, hair=self.hair, colour_constancy=_COLOUR_CONSTANCY)
        image = transforms(to_batch(self.photographs, rows, generator))["image"]
        target = F.one_hot(torch.from_numpy(self.photographs.diagnosis[rows]), len(CLASSES)).float()
        if self.teacher is not None and torch.rand((), generator=generator) < 0.5:
            share = torch.rand((), generator=generator)
            image = share * image + (1 - share) * image.flip(0)
            target = share * target + (1 - share) * target.flip(0)
        return {"image": image, "target": target}

    def loss(self, network: nn.Module, batch: Batch, numerics: Numerics) -> Tensor:
        """Cross entropy, with the teacher's and the dendrites' part where there are such."""
        view, target = numerics.place(batch["image"]), batch["target"].to(numerics.device)
        with numerics.autocast():
            logits = network(view)
        logits = logits.float()
        adjusted = logits / self.temperature + self._adjustment.to(numerics.device)
        value = F.cross_entropy(adjusted, target, label_smoothing=self.label_smoothing)
        if self.teacher is not None:
            value = self.teacher.loss(value, logits, view)
        return value if self.growth is None else self.growth.add_to(value, logits, target)

    def examine(self, network: nn.Module, numerics: Numerics, stop: StopRequest) -> dict[str, float]:
        """Give balanced accuracy, AUCs and the log loss of equally frequent classes on fold 8."""
        figures = {
            name: lambda logits, truth, name=name: class_figures(
                logits / self.temperature, truth, self.prior
            )[name]
            for name in ("balanced_accuracy", "macro_auc", "melanoma_auc", "log_loss")
        }
        evaluator = classification_evaluator(network, self.photographs, self.side, numerics, figures)
        return run_evaluator(evaluator, self._select, stop)

    def _known(self, rows: Rows) -> Rows:
        return rows[self.photographs.diagnosis[rows] >= 0]


def train_classifier(
    network: nn.Module,
    photographs: Photographs,
    schedule: Schedule,
    run: Path,
    teacher: nn.Module | None = None,
    teacher_share: float = 0.7,
    temperature: float = 2.0,
) -> nn.Module:
    """Train on folds 0 to 7, from a teacher too if there is one; figures of fold 8 are logged each epoch.

    Where there are photographs of ``ham10000`` in fold 8, these alone are looked at.

    Parameters
    ----------
    teacher, teacher_share, temperature
        See `Teacher`.
    """
    ham10000 = len(photographs.rows(SELECT, "ham10000")) > 0
    lesson = ClassificationLesson(
        photographs=photographs,
        seed=schedule.seed,
        teacher=Teacher(teacher, teacher_share, temperature) if teacher is not None else None,
        select_source="ham10000" if ham10000 else None,
        side=schedule.sides[-1],
    )
    return fit(network, schedule, lesson, run)


@torch.no_grad()
def mean_logits(
    network: nn.Module, photographs: Photographs, rows: Rows, side: int, views: int = 1
) -> npt.NDArray[np.float64]:
    """Mean log-probabilities over 1, 2 or 4 mirrored views, (N, 7), float64, in float32 arithmetic."""
    network.eval()
    transforms = validation_transforms(side)
    outputs: list[npt.NDArray[np.float64]] = []
    for i in range(0, len(rows), 64):
        pixels = transforms(to_batch(photographs, rows[i : i + 64]))["image"]
        mirrored = (pixels, pixels.flip(3), pixels.flip(2), pixels.transpose(2, 3))
        logs = [F.log_softmax(network(view).double(), 1) for view in mirrored[:views]]
        outputs.append(torch.stack(logs).mean(0).numpy())
    return np.concatenate(outputs)


def class_figures(
    logits: npt.NDArray[np.float64], truth: npt.NDArray[np.int64], prior: npt.NDArray[np.float64]
) -> dict[str, float]:
    """Figures after adjustment to a flat prior (Menon et al. 2021), over the classes that occur.

    Returns
    -------
    dict
        `balanced_accuracy`; `macro_auc`, one class against the rest; `melanoma_auc`; `log_loss`, each
        class weighing the same. An AUC without two sides is NaN.
    """
    adjusted = logits - np.log(prior)
    logs = adjusted - np.logaddexp.reduce(adjusted, 1, keepdims=True)
    right = logs.argmax(1) == truth
    own = logs[np.arange(len(truth)), truth]
    classes = np.unique(truth)
    areas = {c: float(roc_auc_score(truth == c, np.exp(logs[:, c]))) for c in classes if (truth != c).any()}
    return {
        "balanced_accuracy": float(np.mean([right[truth == c].mean() for c in classes])),
        "macro_auc": float(np.mean(list(areas.values()))) if areas else float("nan"),
        "melanoma_auc": areas.get(MELANOMA, float("nan")),
        "log_loss": float(-np.mean([own[truth == c].mean() for c in classes])),
    }
