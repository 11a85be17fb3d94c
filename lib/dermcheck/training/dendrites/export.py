"""From a perforated network to plain torch: the same outputs, and no perforatedai in it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from dermcheck.networks.dendrites import DendriticLayer, DendriticLinear

__all__ = ["export_network"]


def export_network(perforated: nn.Module, layers: Sequence[str]) -> nn.Module:
    """Copy a perforated network into one of plain torch modules, in evaluation mode.

    Parameters
    ----------
    perforated
        As grown, or an averaged copy of it. Not changed.
    layers
        Dotted paths of its perforated layers. Each becomes a `DendriticLinear` or `DendriticLayer`,
        or the plain layer again if it has no dendrites.
    """
    network = copy.deepcopy(perforated)
    for path in layers:
        parent, _, name = path.rpartition(".")
        grown = network.get_submodule(path)
        setattr(network.get_submodule(parent), name, _plain_layer(grown))
    for parameter in network.parameters():
        parameter.requires_grad_(True)
        parameter.grad = None
    return network.eval()


def _plain_layer(grown: Any) -> nn.Module:
    neuron: nn.Module = grown.main_module
    dendrites = grown.dendrite_module
    count: int = dendrites.num_dendrites
    if count == 0:
        return neuron
    layer: DendriticLayer
    if isinstance(neuron, nn.Linear):
        layer = DendriticLinear(neuron.in_features, neuron.out_features, count)
        layer.neuron = neuron
    else:
        layer = DendriticLayer(neuron, count)
    layer.to(next(neuron.parameters()).device)
    with torch.no_grad():
        for i in range(count):
            layer.dendrites[i].load_state_dict(dendrites.layers[i].state_dict())
            if i:  # the first hears no other dendrite
                layer.between[i, :i] = dendrites.dendrites_to_dendrites[i]
        layer.to_neuron.copy_(grown.dendrites_to_top[count - 1])  # earlier entries are history
    return layer
