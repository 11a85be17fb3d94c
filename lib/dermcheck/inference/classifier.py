"""The classifier by itself, run with PyTorch: what training and evaluation ask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import nn

from dermcheck.dicom.pixels import RGBImage
from dermcheck.inference.diagnosing import Diagnostician
from dermcheck.inference.preprocessing import prepare
from dermcheck.inference.report import Diagnosis
from dermcheck.inference.running import run_network
from dermcheck.inference.turning import reader_of
from dermcheck.networks.cards import ModelCard
from dermcheck.networks.photograph_probe import probe_of

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
        probe = probe_of(network)
        self._diagnostician = Diagnostician(card, probe, natural_prior)
        self.card = card
        self._read = reader_of(network, card)

    def logits(self, photographs: Sequence[RGBImage]) -> npt.NDArray[np.float64]:
        """Give (N, 7) logits as they leave the network, before any calibration."""
        inputs = [prepare(pixels, self.card.input) for pixels in photographs]
        return np.stack([output[0].double().numpy() for output in run_network(self._read, inputs)])

    def diagnose(self, photographs: Sequence[RGBImage]) -> list[Diagnosis]:
        """Diagnose several photographs, (rows, columns, 3) uint8 each, of any size."""
        inputs = [prepare(pixels, self.card.input) for pixels in photographs]
        return [
            self._diagnostician.diagnosis(logits.numpy(), features[0].numpy() if features else None)
            for logits, *features in run_network(self._read, inputs)
        ]
