"""What a classifier's answer means: calibrated probabilities, a decision, and how far it may be relied on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from dermcheck.errors import ModelError
from dermcheck.inference.calibration import calibrated_probabilities, decide, normalised_entropy
from dermcheck.inference.report import Diagnosis
from dermcheck.inference.rules import caution
from dermcheck.inference.running import algorithm, check_task
from dermcheck.lesions import LESION_CLASSES
from dermcheck.networks.cards import ModelCard
from dermcheck.networks.photograph_probe import PhotographProbe

__all__ = ["Diagnostician"]

FloatArray = npt.NDArray[np.float32]


class Diagnostician:
    """Turns logits and features into diagnoses, as a card asks.

    Parameters
    ----------
    card
        Of a classifier.
    probe
        The network's, where the card has a `photograph_check`.
    natural_prior
        Shares of the seven classes among this clinic's patients, in place of the card's.

    Raises
    ------
    ModelError
        If the card is for another task, or `natural_prior` is not seven shares that sum to 1.
    """

    def __init__(
        self, card: ModelCard, probe: PhotographProbe | None, natural_prior: Sequence[float] | None = None
    ) -> None:
        check_task(card, "classification")
        if card.calibration is None:  # a valid card of a classifier has one
            raise ModelError(f"The card of {card.name} {card.version} has no calibration.")
        self.card = card
        self._probe = probe if card.photograph_check is not None else None
        self._own = card.calibration
        self._shown = (
            self._own
            if natural_prior is None
            else replace(self._own, natural_prior=tuple(float(share) for share in natural_prior))
        )

    def diagnosis(self, logits: FloatArray, features: FloatArray | None) -> Diagnosis:
        """Diagnose one photograph.

        Parameters
        ----------
        logits
            (7,) in the order of `CLASSES`.
        features
            (D,), what the network's head reads; None where the architecture names no head.
        """
        own = calibrated_probabilities(logits, self._own)
        shown = own if self._shown is self._own else calibrated_probabilities(logits, self._shown)
        score = None
        if self._probe is not None and features is not None:
            score = float(self._probe.score(torch.from_numpy(features)))
        return Diagnosis(
            probabilities=dict(zip(self.card.classes, shown.tolist(), strict=True)),
            decision=LESION_CLASSES[int(decide(shown, self._shown))],
            uncertainty=float(normalised_entropy(shown)),
            classifier=algorithm(self.card),
            caution=caution(own, self._own, self.card.rules, score, self.card.photograph_check),
        )
