"""How far a diagnosis may be relied on, by the rules of the classifier's card.

- **Not sure**: the confidence, the decided class's share were all seven classes equally frequent, is below
  the card's `sure_from`. The decision maximises just this share, and leaving out the answers where it is low
  lowers the error of the others.
- **Possible classes**: every class whose probability reaches the card's threshold for it, and the decision.
  The thresholds are class-conditional conformal ones (Vovk 2012, "Conditional validity of inductive
  conformal predictors"): whatever the true class, it is among the possible ones for the share of
  photographs that the card states.
- **Melanoma not excluded**: its probability reaches the threshold that the card's share of melanomas reaches.
- **Lesion photograph**: the score of `networks.photograph_probe` reaches the card's threshold.

All but the last act on the probabilities under the card's own prior, also where a clinic has set another one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dermcheck.inference.calibration import decide
from dermcheck.lesions import CLASSES, LESION_CLASSES, LesionClass
from dermcheck.networks.cards import AnswerRules, Calibration, PhotographCheck

__all__ = ["Caution", "caution", "confidence", "possible_classes"]

Float64Array = npt.NDArray[np.float64]

_MELANOMA = CLASSES.index("mel")


@dataclass(frozen=True)
class Caution:
    """How far an answer may be relied on; None where the classifier's card has no rule for it."""

    confidence: float | None = None
    """Share of the decided class were all classes equally frequent, 0 to 1."""
    not_sure: bool = False
    possible_classes: tuple[LesionClass, ...] | None = None
    """In the order of `LESION_CLASSES`; the decision is always among them."""
    melanoma_not_excluded: bool | None = None
    lesion_photograph_score: float | None = None
    """0 (something else) to 1 (a lesion photograph)."""
    is_lesion_photograph: bool = True
    """False if the picture seems to show something else, or nothing that can be recognised: the rest of the
    answer then means nothing."""


def confidence(probabilities: npt.ArrayLike, calibration: Calibration) -> Float64Array:
    """Give the largest share of each row of (..., 7) probabilities were all classes equally frequent."""
    ratio = np.asarray(probabilities, np.float64) / np.asarray(calibration.natural_prior)
    return np.asarray(ratio.max(-1) / ratio.sum(-1))


def possible_classes(
    probabilities: npt.ArrayLike, calibration: Calibration, rules: AnswerRules
) -> npt.NDArray[np.bool_]:
    """Tell which classes remain possible: (..., 7) bool for (..., 7) probabilities."""
    p = np.asarray(probabilities, np.float64)
    decided = decide(p, calibration)
    return np.asarray(
        (p >= np.asarray(rules.possible_from)) | (np.arange(len(CLASSES)) == decided[..., None])
    )


def caution(
    probabilities: Float64Array,
    calibration: Calibration,
    rules: AnswerRules | None,
    photograph_score: float | None = None,
    check: PhotographCheck | None = None,
) -> Caution:
    """Apply the rules to one answer.

    Parameters
    ----------
    probabilities
        (7,) under the card's own prior, which is that of `calibration`.
    photograph_score
        Of the network's probe, if it has one.
    """
    told = Caution()
    if rules is not None:
        sure = float(confidence(probabilities, calibration))
        possible = possible_classes(probabilities, calibration, rules)
        told = Caution(
            confidence=sure,
            not_sure=sure < rules.sure_from,
            possible_classes=tuple(c for c in LESION_CLASSES if possible[c.index]),
            melanoma_not_excluded=None
            if rules.melanoma_from is None
            else bool(probabilities[_MELANOMA] >= rules.melanoma_from),
        )
    if photograph_score is None or check is None:
        return told
    return replace(
        told,
        lesion_photograph_score=photograph_score,
        is_lesion_photograph=photograph_score >= check.lesion_from,
    )
