"""Which layers learn where few labels must not change everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import nn

from dermcheck.errors import ArgumentError
from dermcheck.training.configuration import Layers

__all__ = ["freeze"]

_LAST_LAYERS: Final[Mapping[str, tuple[str, ...]]] = {
    "densenet121": ("features.denseblock4.", "features.norm5.", "class_layers."),
    "efficientnet_lite0": ("encoder.blocks.15.", "top.", "out."),
    "efficientnet_lite0_pair": (
        *(f"{trunk}.{layer}." for trunk in ("first", "second") for layer in ("encoder.blocks.15", "top")),
        "out.",
    ),
    "unet": ("model.1.submodule.2.", "model.2."),
    "efficientnet_lite0_unet": ("decoder.", "segmentation_head."),
}
"""By architecture, how the names of the last block's and the head's parameters begin."""


def freeze(network: nn.Module, architecture: str, layers: Layers) -> None:
    """Let only `layers` require a gradient. Frozen layers are neither trained nor propagated through.

    Raises
    ------
    ArgumentError
        If the architecture's last block is not known.
    """
    if layers == "all":
        network.requires_grad_(True)
        return
    if architecture not in _LAST_LAYERS:
        raise ArgumentError(
            f"The last block of {architecture} is not known, only those of {', '.join(_LAST_LAYERS)}. "
            "Train all layers."
        )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith(_LAST_LAYERS[architecture]))
