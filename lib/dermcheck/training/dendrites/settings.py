"""What is grown where, and the layers of each architecture that can have dendrites."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

from torch import nn

from dermcheck.errors import ArgumentError, DermCheckError, ModelError
from dermcheck.networks.architectures import dendritic_layers
from dermcheck.networks.dendrites import DendritePlace

__all__ = ["DendriteError", "DendriteSettings", "perforated_layers"]


class DendriteError(DermCheckError, RuntimeError):
    """Dendrites cannot be grown, or perforatedai failed; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class DendriteSettings:
    """How dendrites grow.

    Raises
    ------
    ArgumentError
        If a value is out of its range.
    """

    where: DendritePlace = "head"
    """`head` perforates the last linear layer; `last_block` the convolutions of the last block too;
    `network` every convolution and linear layer."""
    weight: float = 0.0
    """λ of L_total = L_CE + λ L_dendrite, 0 or more; 0 trains dendrites by the cross entropy alone."""
    most: int = 2
    """Dendrites per neuron at the most, 1 or more."""
    patience: int = 6
    """Epochs without improvement before the next dendrite is tried, 1 or more."""
    tries: int = 1
    """How many new dendrites in a row may bring no improvement before growth ends, 1 or more."""
    improvement: float = 0.001
    """Relative rise of the score that counts as improvement, at least 0 and below 1."""
    seed: int = 0
    """Draws the first weights of new dendrites."""

    def __post_init__(self) -> None:
        """Refuse what perforatedai would accept and then ignore or crash on."""
        _expect(
            "where", self.where, self.where in get_args(DendritePlace), " or ".join(get_args(DendritePlace))
        )
        weight = _is_number(self.weight) and self.weight >= 0
        _expect("weight", self.weight, weight, "a number, 0 or more")
        for name in ("most", "patience", "tries"):
            value = getattr(self, name)
            _expect(name, value, isinstance(value, int) and value >= 1, "a whole number, 1 or more")
        rise = _is_number(self.improvement) and 0 <= self.improvement < 1
        _expect("improvement", self.improvement, rise, "a number from 0 to below 1")
        _expect("seed", self.seed, isinstance(self.seed, int) and self.seed >= 0, "a whole number, 0 or more")


def perforated_layers(network: nn.Module, architecture: str, where: DendritePlace) -> tuple[str, ...]:
    """Dotted paths of the layers of a plain `network` that get dendrites, the head last.

    Raises
    ------
    DendriteError
        If the architecture has no such place.
    """
    try:
        return dendritic_layers(network, architecture, where)
    except ModelError as error:
        raise DendriteError(str(error)) from error


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _expect(name: str, value: object, fits: bool, expected: str) -> None:
    if not fits:
        raise ArgumentError(f"The dendrite setting {name} is {value!r}, expected {expected}.")
