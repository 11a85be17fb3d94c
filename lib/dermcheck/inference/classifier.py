"""The classifier by itself, run with PyTorch: what training and evaluation ask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from dermcheck.dicom.pixels import RGBImage
from dermcheck.errors import ModelError
from dermcheck.inference.closer_look import cut, square_around
from dermcheck.inference.diagnosing import Diagnostician
from dermcheck.inference.fitting import Fitter
from dermcheck.inference.outliner import Outliner
from dermcheck.inference.preprocessing import prepare
from dermcheck.inference.report import Diagnosis
from dermcheck.inference.running import run_network
from dermcheck.inference.turning import reader_of
from dermcheck.networks.cards import ModelCard
from dermcheck.networks.checkpoint import LoadedModel
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
    outliner
        Network and card of what outlines the lesion; needed, and used, only where the card asks for a closer
        look.

    Raises
    ------
    ModelError
        If a card is for another task, `natural_prior` is not seven shares that sum to 1, or the card asks for
        a closer look and there is no outliner.
    """

    def __init__(
        self,
        network: nn.Module,
        card: ModelCard,
        natural_prior: Sequence[float] | None = None,
        *,
        outliner: LoadedModel | None = None,
    ) -> None:
        if card.input.closer_look and outliner is None:
            raise ModelError(
                f"{card.name} {card.version} looks closer at the lesion (input.closer_look in its card): it "
                "can be asked only together with an outliner."
            )
        self._diagnostician = Diagnostician(card, probe_of(network), natural_prior)
        self.card = card
        self._read = reader_of(network, card)
        self._outliner = Outliner(*outliner) if outliner is not None and card.input.closer_look else None

    def answers(self, photographs: Sequence[RGBImage]) -> list[tuple[Tensor, ...]]:
        """Give each photograph's logits (7,) and what the head reads, (D,), if the architecture names one."""
        inputs = [prepare(pixels, self.card.input).pixels for pixels in photographs]
        if self._outliner is None:
            return run_network(self._read, inputs)
        whole = run_network(self._read, [pixels.rot90(1, (2, 3)) for pixels in inputs])
        outlines = self._outliner.logits(photographs)
        squares = [self._square(self._outliner, *each) for each in zip(photographs, outlines, strict=True)]
        closer = run_network(self._read, squares)
        return [
            tuple((one + other) / 2 for one, other in zip(*both, strict=True))
            for both in zip(whole, closer, strict=True)
        ]

    def _square(self, outliner: Outliner, pixels: RGBImage, outline: Tensor) -> Tensor:
        """Fit the square around the outline."""
        detail = Fitter(pixels).detail(outliner.card.input)
        return prepare(cut(detail, square_around(outline.numpy())), self.card.input).pixels

    def logits(self, photographs: Sequence[RGBImage]) -> npt.NDArray[np.float64]:
        """Give (N, 7) logits as they leave the network, before any calibration."""
        return np.stack([output[0].double().numpy() for output in self.answers(photographs)])

    def diagnose(self, photographs: Sequence[RGBImage]) -> list[Diagnosis]:
        """Diagnose several photographs, (rows, columns, 3) uint8 each, of any size."""
        return [
            self._diagnostician.diagnosis(logits.numpy(), features[0].numpy() if features else None)
            for logits, *features in self.answers(photographs)
        ]
