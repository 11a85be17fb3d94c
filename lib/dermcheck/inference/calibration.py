"""From a classifier's logits to calibrated probabilities, a decision and its uncertainty.

1. Temperature: ``log_softmax(logits / T)`` (Guo et al. 2017, "On calibration of modern neural
   networks").
2. Exchange of priors: training draws rare classes more often than patients bring them, so the
   training prior is divided out and the natural one multiplied in (Saerens et al. 2002, "Adjusting
   the outputs of a classifier to new a priori probabilities"). The result, normalised to sum 1, is
   what is shown.
3. Decision: the class with the largest probability divided by its natural prior. This is the most
   likely class if all seven were equally frequent, which maximises balanced accuracy (Menon et al.
   2021, "Long-tail learning via logit adjustment"). The plain argmax would seldom name a rare
   malignant class: two of three photographs of HAM10000 are naevi. So the decision may differ
   from the largest probability: "most likely a naevus, but suspicious of melanoma".
4. Uncertainty: entropy of the probabilities divided by log 7, from 0 (sure) to 1 (no idea).

All in float64: the same logits give the same figures on every machine.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dermcheck.lesions import CLASSES
from dermcheck.networks.cards import Calibration

__all__ = ["calibrated_probabilities", "decide", "normalised_entropy"]

Float64Array = npt.NDArray[np.float64]


def calibrated_probabilities(logits: npt.ArrayLike, calibration: Calibration) -> Float64Array:
    """Take steps 1 and 2: probabilities for patients as they come.

    Parameters
    ----------
    logits
        (..., 7) in the order of `CLASSES`, finite.

    Returns
    -------
    numpy.ndarray
        (..., 7) float64, each row sums to 1.

    Raises
    ------
    ValueError
        If there are not seven logits or one is not finite.
    """
    values = np.asarray(logits, np.float64)
    if values.shape[-1:] != (len(CLASSES),) or not np.isfinite(values).all():
        raise ValueError(f"logits are {values!r}, expected {len(CLASSES)} finite numbers each")
    prior_change = np.log(calibration.natural_prior) - np.log(calibration.training_prior)
    # log_softmax's own constant cancels in the normalisation below.
    adjusted = values / calibration.temperature + prior_change
    adjusted -= adjusted.max(-1, keepdims=True)
    odds = np.exp(adjusted)
    return np.asarray(odds / odds.sum(-1, keepdims=True))


def decide(probabilities: npt.ArrayLike, calibration: Calibration) -> npt.NDArray[np.intp]:
    """Take step 3: index of the decided class of each row of (..., 7) calibrated probabilities."""
    ratio = np.asarray(probabilities, np.float64) / np.asarray(calibration.natural_prior)
    return np.asarray(ratio.argmax(-1))


def normalised_entropy(probabilities: npt.ArrayLike) -> Float64Array:
    """Take step 4: uncertainty in [0, 1] of each row of (..., 7) probabilities."""
    p = np.asarray(probabilities, np.float64)
    logs = np.log(p, where=p > 0, out=np.zeros_like(p))  # 0 log 0 is 0
    return np.asarray(np.clip(-(p * logs).sum(-1) / np.log(p.shape[-1]), 0.0, 1.0))
