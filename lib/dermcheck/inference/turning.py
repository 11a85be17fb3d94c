"""Averaging a classifier's answers over the quarter turns of a photograph, which mean nothing on skin."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from dermcheck.networks.architectures import ARCHITECTURES
from dermcheck.networks.cards import ModelCard
from dermcheck.networks.photograph_probe import HeadInput

__all__ = ["Reader", "over_quarter_turns", "reader_of"]

Reader: TypeAlias = Callable[[Tensor], tuple[Tensor, ...]]
"""Takes (N, 3, H, W) normalised pixels; gives logits (N, 7) and, where a head is named, its input (N, D)."""

_TURNS = 4


def reader_of(network: nn.Module, card: ModelCard) -> Reader:
    """Say how a classifier is asked: with what its head reads, and averaged over turns if its card says so.

    The turned pictures are one batch, so that a batch of N takes the memory of 4 N.
    """
    head = ARCHITECTURES[card.architecture].head
    read: Reader = HeadInput.of(network, head) if head else lambda pixels: (network(pixels),)
    return over_quarter_turns(read) if card.input.quarter_turns else read


def over_quarter_turns(read: Reader) -> Reader:
    """Average what `read` gives of square pictures over their four quarter turns.

    The average is the same however a photograph is turned by quarters; mirrored ones differ from it.
    """

    def averaged(pixels: Tensor) -> tuple[Tensor, ...]:
        quarter = pixels.transpose(2, 3).flip(2)  # as torch.rot90, which not every export knows
        turned = torch.cat([pixels, quarter, pixels.flip((2, 3)), quarter.flip((2, 3))])
        return tuple(each.reshape(_TURNS, -1, each.shape[-1]).mean(0) for each in read(turned))

    return averaged
