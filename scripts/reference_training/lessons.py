"""What the stages teach: diagnoses, diagnoses as a teacher sees them, outlines."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F

from dermcheck.lesions import CLASSES
from dermcheck.training.numerics import Numerics
from reference_training.pictures import Pictures, compress
from reference_training.views import draw_hair, training_views, whole_views

__all__ = ["ClassificationLesson", "OutlineLesson"]

_SELECT_FOLD = 8
_EXAMINED_AT_ONCE = 128
_MELANOMA = CLASSES.index("mel")
_COMPRESSED = 0.4
"""Share of the views that are drawn from a more compressed photograph."""


@dataclass
class _Shelf:
    """Photographs on the device that trains."""

    pictures: Pictures
    device: torch.device
    images: Tensor = field(init=False)
    compressed: Tensor = field(init=False)
    """`images`, as a JPEG of some quality."""
    masks: Tensor = field(init=False)
    hair: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.images = torch.from_numpy(self.pictures.images).to(self.device)
        self.compressed = torch.from_numpy(compress(self.pictures.images)).to(self.device)
        self.masks = torch.from_numpy(self.pictures.masks).to(self.device)
        self.hair = draw_hair(64, self.pictures.images.shape[-1]).to(self.device)

    def draw(self, rows: Tensor) -> Tensor:
        """Photographs to make views of, (B, 3, SIDE, SIDE) uint8: a part of them more compressed."""
        some = torch.rand(len(rows), device=self.device) < _COMPRESSED
        return torch.where(some.view(-1, 1, 1, 1), self.compressed[rows], self.images[rows])

    def rows(self, choice: npt.NDArray[np.bool_]) -> Tensor:
        return torch.from_numpy(np.flatnonzero(choice)).to(self.device)


class ClassificationLesson:
    """Seven classes, rare ones drawn more often; with a teacher, its answer to the very same view counts.

    Parameters
    ----------
    pictures
        Folds 0 to 7 are fitted, fold 8 examined.
    device
        Where to keep them.
    side
        Of the views in examinations.
    teacher
        Gives logits, one network's or the mean of a group's; Beyer et al. 2022, "Knowledge distillation: a
        good teacher is patient and consistent".
    power
        Classes are drawn in proportion to frequency**(1 - power).
    """

    def __init__(
        self,
        pictures: Pictures,
        device: torch.device,
        side: int,
        teacher: Callable[[Tensor], Tensor] | None = None,
        power: float = 0.6,
        smoothing: float = 0.05,
    ) -> None:
        self._shelf, self._side, self._teacher, self._smoothing = (
            _Shelf(pictures, device),
            side,
            teacher,
            smoothing,
        )
        fitted = (pictures.fold < _SELECT_FOLD) & ((pictures.diagnosis >= 0) | (teacher is not None))
        self._rows = self._shelf.rows(fitted)
        self._diagnosis = torch.from_numpy(pictures.diagnosis).to(device)
        counts = np.bincount(pictures.diagnosis[fitted & (pictures.diagnosis >= 0)], minlength=len(CLASSES))
        shares = counts ** (1 - power) / (counts ** (1 - power)).sum()
        each = (shares / counts)[pictures.diagnosis.clip(min=0)]
        each[pictures.diagnosis < 0] = each.min()
        self._weights = torch.from_numpy(each[fitted]).to(device)
        self._log_prior = np.log(shares)

    def loss(self, network: nn.Module, side: int, batch: int, numerics: Numerics) -> Tensor:
        """Cross entropy of views, a part of them mixed; with a teacher, mostly the distance to its answer."""
        rows = self._rows[torch.multinomial(self._weights, batch, replacement=True)]
        pixels = training_views(self._shelf.draw(rows), side, self._shelf.hair).pixels
        target = F.one_hot(self._diagnosis[rows].clamp(min=0), len(CLASSES)).float()
        known = (self._diagnosis[rows] >= 0).float()
        target = target * (1 - self._smoothing) + self._smoothing / len(CLASSES)
        pixels, target, known = _mix(pixels, target, known)
        pixels = numerics.place(pixels)
        with numerics.autocast():
            logits = network(pixels).float()
            if self._teacher is None:
                return F.cross_entropy(logits, target)
            with torch.no_grad():
                answer = self._teacher(pixels).float()
        temperature = 2.0
        distance = F.kl_div(
            F.log_softmax(logits / temperature, 1),
            F.log_softmax(answer / temperature, 1),
            log_target=True,
            reduction="batchmean",
        )
        wrong = (F.cross_entropy(logits, target, reduction="none") * known).mean()
        return 0.8 * temperature**2 * distance + 0.2 * wrong

    @torch.no_grad()
    def examine(self, network: nn.Module, numerics: Numerics) -> dict[str, float]:
        """Balanced accuracy, macro AUC and melanoma AUC of fold 8 of HAM10000, and the latter of Task 1."""
        pictures, figures = self._shelf.pictures, {}
        for source, name in enumerate(("ham10000", "task1")):
            chosen = (pictures.fold == _SELECT_FOLD) & (pictures.source == source) & (pictures.diagnosis >= 0)
            truth, logits = (
                pictures.diagnosis[chosen],
                self._answer(network, numerics, self._shelf.rows(chosen)),
            )
            score = np.exp(logits - np.logaddexp.reduce(logits, 1, keepdims=True))
            if source == 0:
                decision = (logits - self._log_prior).argmax(1)
                figures["balanced_accuracy"] = float(balanced_accuracy_score(truth, decision))
                figures["macro_auc"] = float(roc_auc_score(truth, score, multi_class="ovr"))
            figures[f"melanoma_auc_{name}"] = float(roc_auc_score(truth == _MELANOMA, score[:, _MELANOMA]))
        return figures

    def _answer(self, network: nn.Module, numerics: Numerics, rows: Tensor) -> npt.NDArray[np.float64]:
        logits = []
        for some in rows.split(_EXAMINED_AT_ONCE):
            pixels = numerics.place(whole_views(self._shelf.images[some], self._side))
            with numerics.autocast():
                logits.append(network(pixels).double().cpu().numpy())
        return np.concatenate(logits)


class OutlineLesson:
    """Inside or outside of the lesion; both sets count the same."""

    def __init__(self, pictures: Pictures, device: torch.device, side: int) -> None:
        self._shelf, self._side = _Shelf(pictures, device), side
        fitted = (pictures.fold < _SELECT_FOLD) & pictures.has_mask
        self._rows = self._shelf.rows(fitted)
        counts = np.bincount(pictures.source[fitted])
        self._weights = torch.from_numpy((1 / counts)[pictures.source[fitted]]).to(device)

    def loss(self, network: nn.Module, side: int, batch: int, numerics: Numerics) -> Tensor:
        """Cross entropy and soft Jaccard index, half each."""
        rows = self._rows[torch.multinomial(self._weights, batch, replacement=True)]
        views = training_views(self._shelf.draw(rows), side, self._shelf.hair, self._shelf.masks[rows])
        assert views.masks is not None  # noqa: S101  # masks were given
        with numerics.autocast():
            logits = network(numerics.place(views.pixels)).float()
        inside = logits.sigmoid()
        both = (inside * views.masks).sum((1, 2, 3))
        either = (inside + views.masks - inside * views.masks).sum((1, 2, 3))
        return (
            F.binary_cross_entropy_with_logits(logits, views.masks) + (1 - (both + 1) / (either + 1)).mean()
        )

    @torch.no_grad()
    def examine(self, network: nn.Module, numerics: Numerics) -> dict[str, float]:
        """Jaccard index of fold 8 of each set, also counting those below 0.65 as 0."""
        pictures, figures = self._shelf.pictures, {}
        for source, name in enumerate(("ham10000", "task1")):
            chosen = (pictures.fold == _SELECT_FOLD) & (pictures.source == source) & pictures.has_mask
            index = []
            for some in self._shelf.rows(chosen).split(_EXAMINED_AT_ONCE):
                pixels = numerics.place(whole_views(self._shelf.images[some], self._side))
                with numerics.autocast():
                    logits = network(pixels).float()
                whole = F.interpolate(logits, pictures.images.shape[-2:], mode="bilinear")[:, 0] > 0
                labelled = self._shelf.masks[some] > 0
                index.append(
                    ((whole & labelled).sum((1, 2)) / (whole | labelled).sum((1, 2)).clamp(min=1)).cpu()
                )
            jaccard = torch.cat(index)
            figures[f"jaccard_{name}"] = float(jaccard.mean())
            figures[f"thresholded_{name}"] = float(jaccard.where(jaccard >= 0.65, 0).mean())
        return figures


def _mix(pixels: Tensor, target: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Blend every photograph with another (mixup), put a piece of another in (CutMix), or leave the batch.

    Zhang et al. 2018; Yun et al. 2019.
    """
    kind, share = float(torch.rand(())), float(torch.distributions.Beta(0.5, 0.5).sample())
    if kind < 0.4:
        return pixels, target, known
    other = pixels.roll(1, 0)
    if kind < 0.7:
        pixels = share * pixels + (1 - share) * other
    else:
        side = pixels.shape[-1]
        piece = int(side * math.sqrt(1 - share))
        top, left = (int(torch.randint(side - piece + 1, ())) for _ in range(2))
        pixels = pixels.clone()
        pixels[:, :, top : top + piece, left : left + piece] = other[
            :, :, top : top + piece, left : left + piece
        ]
        share = 1 - piece**2 / side**2
    return pixels, share * target + (1 - share) * target.roll(1, 0), known * known.roll(1, 0)
