"""Averaging a classifier's answers over turns of a photograph, which mean nothing on skin."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from dermcheck.networks.architectures import ARCHITECTURES
from dermcheck.networks.cards import ModelCard
from dermcheck.networks.photograph_probe import HeadInput

__all__ = ["Reader", "over_half_turns", "over_quarter_turns", "reader_of"]

Reader: TypeAlias = Callable[[Tensor], tuple[Tensor, ...]]
"""Takes (N, 3, H, W) normalised pixels; gives logits (N, 7) and, where a head is named, its input (N, D)."""


def reader_of(network: nn.Module, card: ModelCard) -> Reader:
    """Say how a classifier is asked: with what its head reads, and averaged over turns if its card says so.

    With a closer look, each of the two pictures of a photograph (`inference.closer_look`) is asked in two
    turns. The turned pictures are one batch, so that a batch of N takes the memory of 4 N, or of 2 N.
    """
    head = ARCHITECTURES[card.architecture].head
    read: Reader = HeadInput.of(network, head) if head else lambda pixels: (network(pixels),)
    if card.input.closer_look:
        return over_half_turns(read)
    return over_quarter_turns(read) if card.input.quarter_turns else read


def over_quarter_turns(read: Reader) -> Reader:
    """Average what `read` gives of square pictures over their four quarter turns.

    The average is the same however a photograph is turned by quarters; mirrored ones differ from it.
    """
    halves = over_half_turns(read)

    def averaged(pixels: Tensor) -> tuple[Tensor, ...]:
        quarter = pixels.transpose(2, 3).flip(2)  # as torch.rot90, which not every export knows
        return _mean_of_parts(halves(torch.cat([pixels, quarter])))

    return averaged


def over_half_turns(read: Reader) -> Reader:
    """Average what `read` gives of pictures as they are and upside down."""

    def averaged(pixels: Tensor) -> tuple[Tensor, ...]:
        return _mean_of_parts(read(torch.cat([pixels, pixels.flip((2, 3))])))

    return averaged


def _mean_of_parts(answers: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Average the answers to both halves of a batch."""
    return tuple(each.reshape(2, -1, each.shape[-1]).mean(0) for each in answers)
