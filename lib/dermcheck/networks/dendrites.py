"""The dendritic head in plain torch: what a network trained with dendrites becomes when it is served.

Training grows dendrites with perforatedai; serving needs torch only (docs/architecture.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["DendriticLinear", "replace_head"]


class DendriticLinear(nn.Module):
    """A linear layer whose outputs ("neurons") each have several dendrites.

    Dendrite i is a neuron of its own on the same input, which also sees the dendrites grown before
    it, and adds its activation to the neuron it belongs to::

        z_i = sigmoid(W_i x + b_i + sum over j < i of between[i, j] * z_j)
        y   = W x + b + sum over i of to_neuron[i] * z_i

    This is the network that perforatedai 3.2.9 computes with its default settings (sigmoid, one
    dendrite a cycle). Fresh dendrites have no influence: `to_neuron` and `between` start at 0.

    Parameters
    ----------
    in_features, out_features
        As of `torch.nn.Linear`: (N, in_features) to (N, out_features).
    dendrites
        How many each neuron has, 1 or more.
    """

    def __init__(self, in_features: int, out_features: int, dendrites: int) -> None:
        super().__init__()
        if dendrites < 1:
            raise ValueError(f"dendrites is {dendrites}, expected 1 or more; without any, use nn.Linear")
        self.neuron = nn.Linear(in_features, out_features)
        self.dendrites = nn.ModuleList(nn.Linear(in_features, out_features) for _ in range(dendrites))
        self.to_neuron = nn.Parameter(torch.zeros(dendrites, out_features))
        self.between = nn.Parameter(torch.zeros(dendrites, dendrites, out_features))
        """(later, earlier, out_features): only entries below the diagonal are used."""

    def forward(self, features: Tensor) -> Tensor:
        """Compute the outputs, shape (N, out_features)."""
        output: Tensor = self.neuron(features)
        activations: list[Tensor] = []
        for i, dendrite in enumerate(self.dendrites):
            drive = dendrite(features)
            for j, earlier in enumerate(activations):
                drive = drive + self.between[i, j] * earlier
            activations.append(torch.sigmoid(drive))
            output = output + self.to_neuron[i] * activations[i]
        return output


def replace_head(network: nn.Module, head: str, dendrites: int) -> None:
    """Put a `DendriticLinear` in the place of the linear layer `head` of `network`, in place.

    Parameters
    ----------
    head
        Dotted path of the layer, e.g. ``class_layers.out``.
    """
    layer = network.get_submodule(head)
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"{head} is a {type(layer).__name__}, expected a Linear layer")
    parent, _, name = head.rpartition(".")
    dendritic = DendriticLinear(layer.in_features, layer.out_features, dendrites)
    setattr(network.get_submodule(parent), name, dendritic)
