"""The outliner by itself: from decoded photographs to masks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from dermcheck.dicom.pixels import RGBImage
from dermcheck.dicom.segmentation import LesionMask
from dermcheck.inference.postprocessing import mask_at_size, without_islands
from dermcheck.inference.preprocessing import prepare
from dermcheck.inference.running import check_task, run_network
from dermcheck.networks.cards import ModelCard

__all__ = ["Outliner"]


class Outliner:
    """An outliner with its card. Any number of threads may use one at the same time.

    Parameters
    ----------
    network, card
        As `load_model` gives them.

    Raises
    ------
    ModelError
        If the card is for another task.
    """

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        check_task(card, "segmentation")
        self.card = card
        self._network = network

    def logits(self, photographs: Sequence[RGBImage]) -> list[Tensor]:
        """Give each photograph's (H, W) logits on the grid of the network's input, without its padding."""
        inputs = [prepare(pixels, self.card.input) for pixels in photographs]
        outputs = run_network(self._network, [seen.pixels for seen in inputs])
        return [
            logits[0, : seen.rows, : seen.columns] for seen, (logits,) in zip(inputs, outputs, strict=True)
        ]

    def outline(self, photographs: Sequence[RGBImage]) -> list[LesionMask]:
        """Find the lesion of each photograph: (rows, columns) bool of its own size."""
        return [
            mask_at_size(without_islands(logits), *pixels.shape[:2])
            for pixels, logits in zip(photographs, self.logits(photographs), strict=True)
        ]
