"""A network with everything around it that belongs to its model: what is run, and what is exported."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dermcheck.inference.turning import reader_of
from dermcheck.networks.cards import ModelCard

__all__ = ["Exportable"]


class Exportable(nn.Module):
    """Takes pictures as `prepare` makes them, and gives all that `finish` needs.

    Parameters
    ----------
    network, card
        As `load_model` gives them; the network is used, not copied.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        super().__init__()
        self.network = network
        self.classifies = card.task == "classification"
        self._reader = reader_of(network, card) if self.classifies else None
        self.register_buffer("mean", torch.tensor(card.input.mean), persistent=False)
        self.register_buffer("std", torch.tensor(card.input.std), persistent=False)
        self.eval()

    def forward(self, pictures: Tensor) -> Tensor | tuple[Tensor, ...]:
        """(N, H, W, 3) in [0, 1] to logits (N, 7) and the head's input (N, D), or to logits (N, H, W)."""
        pixels = ((pictures - self.mean) / self.std).permute(0, 3, 1, 2)
        if self._reader is not None:
            return self._reader(pixels)
        logits: Tensor = self.network(pixels)
        return logits[:, 0]
