"""Drawing rare classes more often, and the prior that this teaches a classifier.

A classifier that saw class *c* with share ``prior[c]`` gives probabilities for such a world. The share goes
into the model's card (`Calibration.training_prior`), and inference exchanges it for the clinic's own
(`dermcheck.inference.calibration`), so that rare classes are learnt without being overstated.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dermcheck.lesions import CLASSES
from dermcheck.training.data.data_set import DataError

__all__ = ["draw_rows", "sampling_prior"]


def sampling_prior(diagnosis: npt.NDArray[np.int64], power: float) -> npt.NDArray[np.float64]:
    """Return the share of each class among the drawn photographs, (7,) float64, sums to 1.

    Parameters
    ----------
    diagnosis
        Classes of all training photographs; -1 (unknown) is left out.
    power
        A photograph of a class with *n* of them is drawn with weight ``n ** -power``: 0 draws as they are,
        1 draws all classes alike.

    Raises
    ------
    DataError
        If no photograph has a diagnosis, or the power is not between 0 and 1.

    >>> sampling_prior(np.array([5, 5, 5, 5, 4]), 0.5).round(3).tolist()
    [0.0, 0.0, 0.0, 0.0, 0.333, 0.667, 0.0]
    """
    counts = _counts(diagnosis, power).astype(float)
    drawn = np.where(counts > 0, np.maximum(counts, 1) ** (1 - power), 0)
    return np.asarray(drawn / drawn.sum())


def draw_rows(
    rows: npt.NDArray[np.int64],
    diagnosis: npt.NDArray[np.int64],
    power: float,
    chance: np.random.Generator,
    count: int | None = None,
) -> npt.NDArray[np.int64]:
    """Draw one epoch: `count` (all) of `rows`, with replacement, by the weights of `sampling_prior`.

    Parameters
    ----------
    rows
        Of the photographs to draw from; those without diagnosis are never drawn.
    diagnosis
        Classes of *all* photographs, indexed by row.
    """
    known = rows[diagnosis[rows] >= 0]
    counts = _counts(diagnosis[known], power)
    weight = counts[diagnosis[known]].astype(float) ** -power
    drawn: npt.NDArray[np.int64] = chance.choice(
        known, len(known) if count is None else count, p=weight / weight.sum()
    )
    return drawn


def _counts(diagnosis: npt.NDArray[np.int64], power: float) -> npt.NDArray[np.int64]:
    if not 0 <= power <= 1:
        raise DataError(f"the sampling power is {power}, expected 0 (as they are) to 1 (all classes alike).")
    known = diagnosis[diagnosis >= 0]
    if not len(known):
        raise DataError(
            "none of the photographs to train on has a diagnosis. Add diagnoses, or train the outliner only."
        )
    return np.bincount(known, minlength=len(CLASSES))
