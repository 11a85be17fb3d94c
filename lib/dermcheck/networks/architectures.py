"""The networks a model card may name, built with random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from torch import nn

from dermcheck.errors import ModelError
from dermcheck.lesions import CLASSES
from dermcheck.networks.cards import Task
from dermcheck.networks.dendrites import DendritePlace, replace_head, replace_layers
from dermcheck.networks.efficientnet import (
    build_efficientnet_lite0,
    build_efficientnet_lite0_pair,
    build_efficientnet_lite0_unet,
)

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "build_densenet121",
    "build_network",
    "build_unet",
    "dendritic_layers",
]


def build_densenet121() -> nn.Module:
    """MONAI's DenseNet121: (N, 3, H, W) in [-1, 1] to (N, 7) logits. Its head is `class_layers.out`."""
    from monai.networks.nets.densenet import DenseNet121  # importing MONAI takes seconds

    return DenseNet121(spatial_dims=2, in_channels=3, out_channels=len(CLASSES))


def build_unet() -> nn.Module:
    """MONAI's UNet: (N, 3, H, W) in [-1, 1], H and W multiples of 16, to (N, 1, H, W) logits."""
    from monai.networks.nets.unet import UNet

    return UNet(
        spatial_dims=2,
        in_channels=3,
        out_channels=1,
        channels=(16, 32, 64, 128, 256),
        strides=(2, 2, 2, 2),
        num_res_units=2,
        norm="batch",
    )


@dataclass(frozen=True)
class Architecture:
    """How to build one kind of network, and what it is for."""

    task: Task
    build: Callable[[], nn.Module]
    """Gives (N, 7) logits for classification, (N, 1, H, W) for segmentation."""
    head: str | None = None
    """Dotted path of the last linear layer, the place of the dendrites; None if it has none."""
    last_block: str | None = None
    """Dotted path of the last block of convolutions, where dendrites may grow too; None if it has none."""


ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    "densenet121": Architecture(
        "classification", build_densenet121, head="class_layers.out", last_block="features.denseblock4"
    ),
    "efficientnet_lite0": Architecture(
        "classification", build_efficientnet_lite0, head="out", last_block="encoder.blocks.15"
    ),
    "efficientnet_lite0_pair": Architecture("classification", build_efficientnet_lite0_pair, head="out"),
    "unet": Architecture("segmentation", build_unet),
    "efficientnet_lite0_unet": Architecture("segmentation", build_efficientnet_lite0_unet),
}
"""From the name in a card to the network. A new architecture is one more entry."""


def build_network(
    architecture: str, task: Task, dendrites: int = 0, dendrites_on: DendritePlace = "head"
) -> nn.Module:
    """Build the network a card names, with random weights.

    Parameters
    ----------
    dendrites
        Of each neuron of the layers that `dendrites_on` names.

    Raises
    ------
    ModelError
        If the architecture is unknown, is for another task, or has no place for dendrites.
    """
    if architecture not in ARCHITECTURES:
        raise ModelError(
            f"The architecture {architecture!r} is unknown; expected one of "
            f"{', '.join(sorted(ARCHITECTURES))}. The model may come from a newer DermCheck."
        )
    entry = ARCHITECTURES[architecture]
    if entry.task != task:
        raise ModelError(
            f"The architecture {architecture} is for {entry.task}, but the model's task is {task}."
        )
    network = entry.build()
    if dendrites:
        if entry.head is None:
            raise ModelError(
                f"The card says {dendrites} dendrites, but {architecture} has no place for them."
            )
        replace_layers(network, dendritic_layers(network, architecture, dendrites_on)[:-1], dendrites)
        replace_head(network, entry.head, dendrites)
    return network


def dendritic_layers(network: nn.Module, architecture: str, place: DendritePlace) -> tuple[str, ...]:
    """Dotted paths of the layers of a plain `network` that have dendrites at `place`, the head last.

    Raises
    ------
    ModelError
        If the architecture has no such place.
    """
    entry = ARCHITECTURES.get(architecture)
    if entry is None or entry.head is None:
        raise ModelError(
            f"{architecture} has no linear layer of classes, so it has no place for dendrites; "
            "train it without them."
        )
    if place == "head":
        return (entry.head,)
    if place == "last_block" and entry.last_block is None:
        raise ModelError(f"{architecture} has no last block for dendrites; choose head or network.")
    start = f"{entry.last_block}." if place == "last_block" else ""
    layers = [
        name
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear) and name.startswith(start) and name != entry.head
    ]
    return (*layers, entry.head)
