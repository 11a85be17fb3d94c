"""Dendrites in plain torch: what a network trained with dendrites becomes when it is served.

Training grows dendrites with perforatedai; serving needs torch only (docs/architecture.md).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["DendritePlace", "DendriticLayer", "DendriticLinear", "replace_head", "replace_layers"]

DendritePlace = Literal["head", "last_block", "network"]
"""The last linear layer; the convolutions of the last block too; or every convolution and linear layer."""


class DendriticLayer(nn.Module):
    """A linear or convolutional layer whose outputs ("neurons") each have several dendrites.

    Dendrite i is a layer of its own on the same input, which also sees the dendrites grown before
    it, and adds its activation to the neuron it belongs to::

        z_i = sigmoid(W_i x + b_i + sum over j < i of between[i, j] * z_j)
        y   = W x + b + sum over i of to_neuron[i] * z_i

    For a convolution, W x is the convolution, and `between` and `to_neuron` hold one number a
    channel. This is the network that perforatedai 3.2.9 computes with its default settings
    (sigmoid, one dendrite a cycle). Fresh dendrites have no influence: `to_neuron` and `between`
    start at 0.

    Parameters
    ----------
    neuron
        The layer that gets the dendrites, (N, C_in, ...) to (N, C_out, ...). It becomes part of this module.
    dendrites
        How many each neuron has, 1 or more.
    """

    def __init__(self, neuron: nn.Module, dendrites: int) -> None:
        super().__init__()
        if dendrites < 1:
            raise ValueError(f"dendrites is {dendrites}, expected 1 or more; without any, use nn.Linear")
        channels = _channels(neuron)
        self.neuron = neuron
        self.dendrites = nn.ModuleList(_fresh(neuron) for _ in range(dendrites))
        self.to_neuron = nn.Parameter(torch.zeros(dendrites, channels))
        self.between = nn.Parameter(torch.zeros(dendrites, dendrites, channels))
        """(later, earlier, channels): only entries below the diagonal are used."""

    def forward(self, features: Tensor) -> Tensor:
        """Compute the outputs, of the shape that the plain layer gives."""
        output: Tensor = self.neuron(features)
        per_channel = (-1, *(1,) * (output.dim() - 2))  # broadcasts (C,) over N and the picture's axes
        activations: list[Tensor] = []
        for i, dendrite in enumerate(self.dendrites):
            drive = dendrite(features)
            for j, earlier in enumerate(activations):
                drive = drive + self.between[i, j].view(per_channel) * earlier
            activations.append(torch.sigmoid(drive))
            output = output + self.to_neuron[i].view(per_channel) * activations[i]
        return output


class DendriticLinear(DendriticLayer):
    """A linear layer with dendrites: (N, in_features) to (N, out_features).

    Parameters
    ----------
    in_features, out_features
        As of `torch.nn.Linear`.
    dendrites
        How many each neuron has, 1 or more.
    """

    def __init__(self, in_features: int, out_features: int, dendrites: int) -> None:
        super().__init__(nn.Linear(in_features, out_features), dendrites)


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
    _put(network, head, DendriticLinear(layer.in_features, layer.out_features, dendrites))


def replace_layers(network: nn.Module, layers: Iterable[str], dendrites: int) -> None:
    """Give each named layer of `network` dendrites, in place; its own weights are kept.

    Parameters
    ----------
    layers
        Dotted paths of linear or convolutional layers.

    Raises
    ------
    TypeError
        If one is another kind of layer.
    AttributeError
        If the network has no such layer.
    """
    for name in layers:
        layer = network.get_submodule(name)
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            raise TypeError(f"{name} is a {type(layer).__name__}, expected a Linear or Conv2d layer")
        _put(network, name, DendriticLayer(layer, dendrites))


def _put(network: nn.Module, path: str, layer: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, layer)


def _channels(layer: nn.Module) -> int:
    if isinstance(layer, nn.Linear):
        return layer.out_features
    if isinstance(layer, nn.Conv2d):
        return layer.out_channels
    raise TypeError(f"the layer is a {type(layer).__name__}, expected a Linear or Conv2d layer")


def _fresh(layer: nn.Module) -> nn.Module:
    """Give a layer of the same shape with random weights of its own."""
    other = copy.deepcopy(layer)
    other.reset_parameters()  # type: ignore[operator]
    return other
