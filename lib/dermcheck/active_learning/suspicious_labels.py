"""Labels that are probably wrong: confident learning on out-of-fold probabilities.

After C. G. Northcutt, L. Jiang, I. L. Chuang, *Confident Learning: Estimating Uncertainty in Dataset Labels*,
Journal of Artificial Intelligence Research 70 (2021). A photograph labelled *i* counts as one of class *j* if
its probability of *j* is at least the mean probability of *j* among those labelled *j*. So a class that
the model is shy about needs less to be suspected than one that it is sure about, and no class frequency has
to be guessed. The probabilities of a photograph come from a model that has not seen its label.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dermcheck.errors import ArgumentError, DermCheckError
from dermcheck.lesions import CLASSES

__all__ = [
    "FOLDS",
    "MOST_CONFIDENCE",
    "NothingToCheckError",
    "Suspicion",
    "contradicted",
    "find_suspicious",
    "out_of_fold_probabilities",
]

FOLDS: Final = 5
MOST_CONFIDENCE: Final = 0.03
"""Chosen on half of the lesions of HAM10000's folds 0 to 7; see `benchmarks/suspicious_labels.py`."""
_COMPONENTS: Final = 128
_STRENGTH: Final = 6.4
"""Inverse of the regularisation of the mean loss."""
_MOST_STRENGTH: Final = 0.1
"""The same of the sum of losses, as scikit-learn counts it: few labels say little about 128 components."""
_STEPS: Final = 300

FloatArray = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.int64]


class NothingToCheckError(DermCheckError, ValueError):
    """There are too few labels to learn from some what others should be; the message says how many."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """One label that is probably wrong."""

    row: int
    """Which of the labels that were checked."""
    given: int
    """Its class; index in `CLASSES`."""
    likely: int
    """The class that the others suggest."""
    confidence: float
    """Probability of the given class, 0 to 1: the smaller the more suspicious."""
    likely_probability: float


def out_of_fold_probabilities(
    embedding: FloatArray, labels: Indices, groups: Sequence[str] | npt.NDArray[Any], seed: int = 0
) -> npt.NDArray[np.float64]:
    """Let a small head on frozen embeddings answer each photograph, trained on other patients' labels only.

    Parameters
    ----------
    embedding
        (N, D), finite; of an encoder that has not seen these labels.
    labels
        (N,) class indices.
    groups
        (N,) patients or lesions; none is on both sides.
    seed
        Of the division.

    Returns
    -------
    ndarray
        (N, 7) probabilities, 0 for classes that the others do not have.

    Raises
    ------
    ArgumentError
        If the arrays do not fit each other, or an embedding is not finite.
    NothingToCheckError
        If there are fewer than two groups or two classes in different groups.
    """
    groups = np.asarray(groups)
    _check(embedding, labels, groups)
    folds = min(FOLDS, len(np.unique(groups)))
    answers = np.zeros((len(labels), len(CLASSES)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a further step changes the third digit
        # Classes with fewer lesions than folds are on fewer sides; that is known and harmless here.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        division = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        for fit, ask in division.split(embedding, labels, groups):
            if len(ask):
                answers[ask] = _answers(embedding[fit], labels[fit], embedding[ask], seed)
    return answers


def contradicted(
    probabilities: npt.NDArray[np.float64], labels: Indices
) -> tuple[npt.NDArray[np.bool_], Indices]:
    """Find the labels off the diagonal of the confident joint (section 3.1 of the paper).

    Parameters
    ----------
    probabilities
        (N, 7) of `out_of_fold_probabilities`.
    labels
        (N,) class indices.

    Returns
    -------
    contradicted
        (N,) whether the photograph counts as one of another class than its label's.
    likely
        (N,) the most probable class among those that it counts as; its label where there is none.
    """
    thresholds = np.array(
        [
            probabilities[labels == each, each].mean() if (labels == each).any() else np.inf
            for each in range(len(CLASSES))
        ]
    )
    counts_as = np.where(probabilities >= thresholds, probabilities, -1.0)
    likely = np.where(counts_as.max(axis=1, initial=-1) >= 0, counts_as.argmax(axis=1), labels)
    return likely != labels, np.asarray(likely, np.int64)


def find_suspicious(
    probabilities: npt.NDArray[np.float64], labels: Indices, most_confidence: float = MOST_CONFIDENCE
) -> list[Suspicion]:
    """List the labels that are probably wrong, the worst first.

    Contradicted labels, ranked by self-confidence (section 3.2 of the paper): the probability of the class
    that the label gives.

    Parameters
    ----------
    probabilities, labels
        As for `contradicted`.
    most_confidence
        Labels whose class is more probable than that are not listed.
    """
    found, likely = contradicted(probabilities, labels)
    rows = np.arange(len(labels))
    confidence = probabilities[rows, labels]
    listed = np.flatnonzero(found & (confidence <= most_confidence))
    order = listed[np.argsort(confidence[listed], kind="stable")]
    return [
        Suspicion(
            row=int(row),
            given=int(labels[row]),
            likely=int(likely[row]),
            confidence=round(float(confidence[row]), 4),
            likely_probability=round(float(probabilities[row, likely[row]]), 4),
        )
        for row in order
    ]


def _check(embedding: FloatArray, labels: Indices, groups: npt.NDArray[Any]) -> None:
    if embedding.ndim != 2 or not len(embedding) == len(labels) == len(groups):
        raise ArgumentError(
            f"There are embeddings of shape {embedding.shape}, {len(labels)} labels and {len(groups)} "
            "groups, expected one of each for every photograph."
        )
    if not np.isfinite(embedding).all():
        raise ArgumentError("An embedding holds values that are no numbers. Compute the embeddings again.")
    classes, lesions = len(np.unique(labels)), len(np.unique(groups))
    if classes < 2 or lesions < 2:
        raise NothingToCheckError(
            f"There are {len(labels)} labels of {classes} {'class' if classes == 1 else 'classes'} and "
            f"{lesions} {'patient' if lesions == 1 else 'patients'}: at least two of each are needed to tell "
            "from some what others should be."
        )


def _answers(known: FloatArray, labels: Indices, asked: FloatArray, seed: int) -> npt.NDArray[np.float64]:
    answers = np.zeros((len(asked), len(CLASSES)))
    classes = np.unique(labels)
    if len(classes) == 1:
        answers[:, classes[0]] = 1
        return answers
    size = min(_COMPONENTS, len(known) - 1, known.shape[1])
    head = make_pipeline(
        StandardScaler(),
        PCA(max(1, size), random_state=seed),
        LogisticRegression(C=min(_MOST_STRENGTH, _STRENGTH / len(known)), max_iter=_STEPS),
    )
    head.fit(known, labels)
    answers[:, head.classes_] = head.predict_proba(asked)
    return answers
