"""The classifier by itself: from decoded photographs to diagnoses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from torch import nn

from dermcheck.dicom.pixels import RGBImage
from dermcheck.errors import ModelError
from dermcheck.inference.calibration import calibrated_probabilities, decide, normalised_entropy
from dermcheck.inference.preprocessing import prepare
from dermcheck.inference.report import Diagnosis
from dermcheck.inference.rules import caution
from dermcheck.inference.running import algorithm, check_task, run_network
from dermcheck.lesions import LESION_CLASSES
from dermcheck.networks.architectures import ARCHITECTURES
from dermcheck.networks.cards import ModelCard
from dermcheck.networks.photograph_probe import HeadInput, probe_of

__all__ = ["Classifier"]


class Classifier:
    """A classifier with its card. Any number of threads may use one at the same time.

    Parameters
    ----------
    network, card
        As `load_model` gives them.
    natural_prior
        Shares of the seven classes among this clinic's patients, in place of the card's.

    Raises
    ------
    ModelError
        If the card is for another task, or `natural_prior` is not seven shares that sum to 1.
    """

    def __init__(
        self, network: nn.Module, card: ModelCard, natural_prior: Sequence[float] | None = None
    ) -> None:
        check_task(card, "classification")
        if card.calibration is None:  # a valid card of a classifier has one
            raise ModelError(f"The card of {card.name} {card.version} has no calibration.")
        self.card = card
        self._own = card.calibration
        self._shown = (
            self._own
            if natural_prior is None
            else replace(self._own, natural_prior=tuple(float(share) for share in natural_prior))
        )
        self._network = network
        self._probe = probe_of(network) if card.photograph_check is not None else None
        head = ARCHITECTURES[card.architecture].head
        self._with_features = HeadInput.of(network, head) if self._probe is not None and head else None

    def logits(self, photographs: Sequence[RGBImage]) -> npt.NDArray[np.float64]:
        """Give (N, 7) logits as they leave the network, before any calibration."""
        inputs = [prepare(pixels, self.card.input) for pixels in photographs]
        return np.stack([output[0].double().numpy() for output in run_network(self._network, inputs)])

    def diagnose(self, photographs: Sequence[RGBImage]) -> list[Diagnosis]:
        """Diagnose several photographs, (rows, columns, 3) uint8 each, of any size."""
        inputs = [prepare(pixels, self.card.input) for pixels in photographs]
        made_by = algorithm(self.card)
        diagnoses = []
        for logits, *features in run_network(self._with_features or self._network, inputs):
            own = calibrated_probabilities(logits.numpy(), self._own)
            shown = calibrated_probabilities(logits.numpy(), self._shown)
            score = None
            if self._probe is not None and features:
                score = float(self._probe.score(features[0]))
            diagnoses.append(
                Diagnosis(
                    probabilities=dict(zip(self.card.classes, shown.tolist(), strict=True)),
                    decision=LESION_CLASSES[int(decide(shown, self._shown))],
                    uncertainty=float(normalised_entropy(shown)),
                    classifier=made_by,
                    caution=caution(own, self._own, self.card.rules, score, self.card.photograph_check),
                )
            )
        return diagnoses
