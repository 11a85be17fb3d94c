"""A classifier small enough to be trained hundreds of times: logistic regression on a frozen encoder."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from dermcheck.lesions import CLASSES

__all__ = [
    "ClassHead",
    "at_frequencies",
    "decide_naturally",
    "natural_prior",
    "reduce_embedding",
    "reduce_features",
]

_COMPONENTS: Final = 192
_COLOUR_COMPONENTS: Final = 60
_COLOUR_WEIGHT: Final = 0.7
_STRENGTH: Final = 0.003
"""Inverse of the regularisation, as scikit-learn counts it."""
_NATURAL_STRENGTH: Final = 0.03
"""The same where labels are not weighed: chosen on fold 8 by the accuracy with 500 labels."""
_STEPS: Final = 200
_PRIOR_STEPS: Final = 30
_PRIOR_FLOOR: Final = 0.003
"""Least share of a class: no class is ruled out for ever because the first head finds none."""

FloatArray = npt.NDArray[np.floating[Any]]


def reduce_embedding(
    embedding: FloatArray, fitted_on: npt.NDArray[np.intp], size: int = _COMPONENTS
) -> npt.NDArray[np.float32]:
    """Reduce embeddings (N, D) to (N, `size`) principal components at most, half whitened.

    Half whitened (divided by the root of their standard deviation): weak components count more than in the
    embedding, but less than strong ones, where noise is less of what they hold.

    Parameters
    ----------
    fitted_on
        Rows that the components are computed from: the pool's. No label is needed.
    """
    size = min(size, len(fitted_on), embedding.shape[1])
    spread = embedding[fitted_on].std(axis=0)
    scaled = (embedding - embedding[fitted_on].mean(axis=0)) / np.where(spread > 0, spread, 1)
    solver = "randomized" if size < min(len(fitted_on), embedding.shape[1]) else "full"
    reducer = PCA(size, svd_solver=solver, random_state=0).fit(scaled[fitted_on])
    components = reducer.transform(scaled) / np.maximum(reducer.explained_variance_, 1e-9) ** 0.25
    return np.asarray(components / components[fitted_on].std(), np.float32)


def reduce_features(
    embedding: FloatArray, colour: FloatArray, fitted_on: npt.NDArray[np.intp]
) -> npt.NDArray[np.float32]:
    """Join reduced embeddings and reduced colours to what a head learns from: (N, 252) at most."""
    shapes = reduce_embedding(embedding, fitted_on)
    colours = reduce_embedding(colour, fitted_on, _COLOUR_COMPONENTS)
    return np.concatenate([shapes, _COLOUR_WEIGHT * colours], axis=1)


@dataclass(frozen=True)
class ClassHead:
    """A trained head. Its answers are those of a world where all seven classes are equally frequent."""

    model: LogisticRegression | None
    """None if the labels are of one class only: nothing to tell apart yet."""
    only: int | None = None
    """That class."""

    @classmethod
    def train(cls, embedding: FloatArray, diagnosis: npt.NDArray[np.int64]) -> ClassHead:
        """Train on labels (M,) of embeddings (M, D), each class with the same weight."""
        present = np.unique(diagnosis)
        if len(present) < 2:
            return cls(None, int(present[0]) if len(present) else None)
        return cls(_fit(embedding, diagnosis, _STRENGTH, "balanced"))

    def probabilities(self, embedding: FloatArray) -> npt.NDArray[np.float64]:
        """Return (N, 7), as if all classes were equally frequent; 0 for a class that has no label."""
        answers = np.zeros((len(embedding), len(CLASSES)))
        if self.model is None:
            answers[:] = 1 / len(CLASSES)
            return answers
        answers[:, self.model.classes_] = self.model.predict_proba(embedding)
        return answers

    def decide(self, embedding: FloatArray) -> npt.NDArray[np.int64]:
        """Return (N,) class indices: the class with the best answer, whatever its frequency."""
        if self.model is None and self.only is not None:
            return np.full(len(embedding), self.only)
        return np.asarray(self.probabilities(embedding).argmax(axis=1), np.int64)


def decide_naturally(
    embedding: FloatArray,
    diagnosis: npt.NDArray[np.int64],
    archive: FloatArray,
    asked: FloatArray,
) -> npt.NDArray[np.int64]:
    """Decide the classes (N,) of what is asked (N, D) so that most answers are right, as the clinic counts.

    A head learns from the labels (M,) of embeddings (M, D) as they are; as a strategy chose them, they do not
    tell how frequent the classes are, so its answers are divided by the classes' shares of the labels and
    weighed by how frequent they seem to be in the archive (K, D).
    """
    present = np.unique(diagnosis)
    if len(present) < 2:
        return np.full(len(asked), present[0])
    head = ClassHead(_fit(embedding, diagnosis, _NATURAL_STRENGTH, None))
    # A class without a label has no answer either, whatever its share.
    shares = np.maximum(np.bincount(diagnosis, minlength=len(CLASSES)), 1) / len(diagnosis)
    prior = natural_prior(at_frequencies(head.probabilities(archive), 1 / shares))
    decided = at_frequencies(head.probabilities(asked), prior / shares).argmax(axis=1)
    return np.asarray(decided, np.int64)


def natural_prior(answers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Estimate how frequent the classes are from answers (N, 7) that hold for equal frequencies.

    The expectation-maximisation of Saerens et al. 2002. Labels chosen by a strategy do not tell how frequent
    the classes are; the answers to all photographs do.
    """
    prior = np.full(answers.shape[1], 1 / answers.shape[1])
    for _ in range(_PRIOR_STEPS):
        prior = np.maximum(at_frequencies(answers, prior).mean(axis=0), _PRIOR_FLOOR)
        prior /= prior.sum()
    return prior


def at_frequencies(
    answers: npt.NDArray[np.float64], prior: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Turn answers (N, 7) that hold for equal frequencies into those for frequencies (7,)."""
    weighted = answers * prior
    return np.asarray(weighted / weighted.sum(axis=1, keepdims=True), np.float64)


def _fit(
    embedding: FloatArray, diagnosis: npt.NDArray[np.int64], strength: float, weights: str | None
) -> LogisticRegression:
    model = LogisticRegression(C=strength, class_weight=weights, max_iter=_STEPS)
    with warnings.catch_warnings():
        # A step more would change the third digit of a head that lives for one round.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(embedding, diagnosis)
