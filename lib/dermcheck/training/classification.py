"""Training of classifiers on labelled photographs."""

from __future__ import annotations

from dataclasses import dataclass, field
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
from dermcheck.training.data.transforms import to_batch, training_transforms
from dermcheck.training.examination import classification_evaluator, run_evaluator
from dermcheck.training.fitting import Batch, Rows
from dermcheck.training.mixing import draw_mixed, mixed_weights, most_even
from dermcheck.training.numerics import Numerics
from dermcheck.training.stopping import StopRequest

if TYPE_CHECKING:
    from dermcheck.training.dendrites import DendriteGrowth

__all__ = ["ClassificationLesson", "class_figures"]

_HAIR: Final = 0.1
_COLOUR_CONSTANCY: Final = 0.1
_LEAST_SHARE: Final = 1e-3
"""Share that a class counts with at least, where none of it is drawn."""
MELANOMA: Final = CLASSES.index("mel")


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
    side: int = 128
    """At which it is examined."""
    most_examined: int | None = None
    """Examine on so many photographs of fold 8 at most, all classes alike as far as there are enough."""
    growth: DendriteGrowth | None = field(default=None, init=False)
    """Set by whoever grows dendrites on the network."""
    key: str = field(default="balanced_accuracy", init=False)

    def __post_init__(self) -> None:
        """Find the rows, and the shares in which the classes are drawn."""
        diagnosis = self.photographs.diagnosis
        self._fit = self._known(self.photographs.rows(FIT))
        select = self._known(self.photographs.rows(SELECT))
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
        """Make random views ``image`` and their classes ``target`` (N, 7)."""
        transforms = training_transforms(side, hair=_HAIR, colour_constancy=_COLOUR_CONSTANCY)
        image = transforms(to_batch(self.photographs, rows, generator))["image"]
        target = F.one_hot(torch.from_numpy(self.photographs.diagnosis[rows]), len(CLASSES)).float()
        return {"image": image, "target": target}

    def loss(self, network: nn.Module, batch: Batch, numerics: Numerics) -> Tensor:
        """Cross entropy, with the dendrites' part where there are such."""
        view, target = numerics.place(batch["image"]), batch["target"].to(numerics.device)
        with numerics.autocast():
            logits = network(view)
        logits = logits.float()
        adjusted = logits / self.temperature + self._adjustment.to(numerics.device)
        value = F.cross_entropy(adjusted, target, label_smoothing=self.label_smoothing)
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
