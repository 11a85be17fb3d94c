"""How much a photograph could teach the models: what they say of it, and how far they agree with themselves.

Each photograph is shown to both networks three times: as it is, mirrored, and turned by a quarter. (By a half
would tell nothing of a classifier that is asked in several turns: it sees the same ones again.) A lesion's
diagnosis and outline do not depend on how the camera was held, so where the answers differ the networks have
not learnt this kind of lesion. This is test-time augmentation (Ayhan and Berens 2018,
"Test-time data augmentation for estimation of heteroscedastic aleatoric uncertainty"); dropout or an ensemble
would need other networks than those in use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dermcheck.active_learning.pool import compact_embedding
from dermcheck.dicom.pixels import RGBImage
from dermcheck.lesions import CLASSES

if TYPE_CHECKING:
    from dermcheck.inference.predictor import Predictor
    from dermcheck.inference.report import LesionReport
    from dermcheck.inference.steps import ComputedPhotograph

__all__ = ["PhotographScores", "model_key", "score_photographs"]

_KIND: Final = "3"
"""Of the scores: another one makes all stored scores old. 3: the third view is turned by a quarter."""
_VIEWS: Final = 3
_EPSILON: Final = 1e-12


@dataclass(frozen=True, eq=False)
class PhotographScores:
    """What one version of the models says of one photograph."""

    probabilities: npt.NDArray[np.float64]
    """(7,) calibrated, of the photograph as it is, in the order of `CLASSES`."""
    entropy: float
    """Of `probabilities`, 0 (sure) to 1."""
    margin: float
    """Difference of the two largest probabilities: 0 where two classes are alike, 1 where one is certain."""
    class_disagreement: float
    """Mutual information of answer and view, divided by log 7: 0 where all views get the same answer."""
    outline_disagreement: float
    """1 minus the mean Jaccard index of the views' outlines: 0 where they are equal."""
    not_a_lesion: float
    """0 (a lesion photograph) to 1 (something else); 0 where the classifier has no check."""
    decision: int
    """Index of the decided class; not always that of the largest probability."""
    confidence: float
    """Share of the decided class were all classes equally frequent, 0 to 1."""
    embedding: npt.NDArray[np.float32]
    """(D,) what the classifier's head reads, as `compact_embedding` makes it."""


def model_key(classifier: str, outliner: str, natural_prior: Sequence[float] | None = None) -> str:
    """Name what scores depend on: weights, the clinic's mix of diagnoses, kind of scores. 16 hex digits.

    `classifier` and `outliner` are the SHA-256 of the weights, `natural_prior` is `clinic_prior`'s.

    Scores of one key may be compared with each other, those of two keys never.
    """
    prior = "" if natural_prior is None else ",".join(f"{share:.6f}" for share in natural_prior)
    parts = (_KIND, classifier, outliner, prior)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def score_photographs(predictor: Predictor, photographs: Sequence[RGBImage]) -> list[PhotographScores]:
    """Score several photographs, (rows, columns, 3) uint8 RGB each, of any size."""
    prepared = [predictor.prepare(view) for pixels in photographs for view in _views(pixels)]
    computed = predictor.compute(prepared)
    return [_score(predictor, computed[first : first + _VIEWS]) for first in range(0, len(computed), _VIEWS)]


def _views(pixels: RGBImage) -> tuple[RGBImage, RGBImage, RGBImage]:
    return pixels, pixels[:, ::-1], np.rot90(pixels)


def _turned_back(outlines: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    upright, mirrored, turned = outlines
    return np.stack([upright, mirrored[:, ::-1], np.rot90(turned, -1)])


def _score(predictor: Predictor, views: Sequence[ComputedPhotograph]) -> PhotographScores:
    reports = [predictor.finish(view) for view in views]
    seen, report = views[0], reports[0]
    probabilities = np.stack([_values(each) for each in reports])
    ranked = np.sort(probabilities[0])
    score = report.caution.lesion_photograph_score
    confidence = report.caution.confidence
    features = seen.logits if seen.features is None else seen.features
    return PhotographScores(
        probabilities=probabilities[0],
        entropy=float(report.uncertainty),
        margin=float(ranked[-1] - ranked[-2]),
        class_disagreement=mutual_information(probabilities),
        outline_disagreement=outline_disagreement(_turned_back([view.outline for view in views])),
        not_a_lesion=0.0 if score is None else 1.0 - score,
        decision=report.decision.index,
        confidence=float(ranked[-1]) if confidence is None else confidence,
        embedding=compact_embedding(np.atleast_2d(features))[0],
    )


def _values(report: LesionReport) -> npt.NDArray[np.float64]:
    return np.array([report.probabilities[name] for name in CLASSES])


def mutual_information(probabilities: npt.NDArray[np.float64]) -> float:
    """Tell how much the answers to several views differ: 0 to 1 for (views, classes) probabilities.

    It is the entropy of the mean answer minus the mean entropy of the answers (Houlsby et al. 2011, "Bayesian
    active learning for classification and preference learning"), so views that are alike unsure give 0.

    >>> mutual_information(np.array([[0.5, 0.5], [0.5, 0.5]]))
    0.0
    >>> round(mutual_information(np.array([[1.0, 0.0], [0.0, 1.0]])), 6)
    1.0
    """
    information = _entropy(probabilities.mean(0)) - float(np.mean([_entropy(row) for row in probabilities]))
    return float(np.clip(information / np.log(probabilities.shape[1]), 0.0, 1.0))


def _entropy(probabilities: npt.NDArray[np.float64]) -> float:
    return float(-(probabilities * np.log(np.maximum(probabilities, _EPSILON))).sum())


def outline_disagreement(outlines: npt.NDArray[np.float32]) -> float:
    """Tell how much outlines of one lesion differ: 0 to 1 for (views, H, W) logits.

    Taken on the probability of each pixel (sum of the smaller over sum of the larger one) rather than on cut
    masks, where a pixel just above and one just below the cut would differ as much as black and white. Views
    that all find nothing agree.
    """
    inside = 1.0 / (1.0 + np.exp(-np.clip(outlines.astype(np.float64), -30, 30)))
    pairs = [(first, second) for first in range(len(inside)) for second in range(first + 1, len(inside))]
    overlaps = [_soft_jaccard(inside[first], inside[second]) for first, second in pairs]
    return float(np.clip(1.0 - np.mean(overlaps), 0.0, 1.0))


def _soft_jaccard(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    union = float(np.maximum(first, second).sum())
    return float(np.minimum(first, second).sum()) / union if union > 0.5 else 1.0  # half a pixel: nothing
