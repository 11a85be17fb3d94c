"""The correlation-inspired auxiliary loss of the newest dendrite (derived in docs/dendrites.md)."""

from __future__ import annotations

import weakref
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["HeadWatch", "correlation_loss", "remaining_error"]

_LEAST_IMAGES: Final = 4
"""Two points always correlate perfectly; below this many, a batch says nothing."""
_VARIANCE_FLOOR: Final = 1e-8
"""Keeps the gradient finite where an output is the same for all images."""


def remaining_error(logits: Tensor, target: Tensor) -> Tensor:
    """Give the cross entropy's derivative by the logits, softmax(z) - y: (N, C) float32, without gradient.

    Parameters
    ----------
    target
        (N,) class indices, or (N, C) shares of the classes.
    """
    logits = logits.detach().float()
    if target.dim() == 1:
        target = F.one_hot(target, logits.shape[1])
    return logits.softmax(1) - target.to(logits)


def correlation_loss(output: Tensor, error: Tensor) -> Tensor:
    """Minus the mean over classes of |correlation| between a dendrite's output and the error, in [-1, 0].

    Parameters
    ----------
    output, error
        (N, C). A batch of fewer than 4 images gives 0.

    >>> error = torch.tensor([[0.4], [-0.2], [0.1], [-0.3]])
    >>> round(correlation_loss(2 * error + 5, error).item(), 3)
    -1.0
    """
    if len(output) < _LEAST_IMAGES:
        return output.new_zeros((), dtype=torch.float32)
    output, error = output.float(), error.float()
    output, error = output - output.mean(0), error - error.mean(0)
    spread = (output.square().mean(0) + _VARIANCE_FLOOR) * (error.square().mean(0) + _VARIANCE_FLOOR)
    return -((output * error).mean(0) / spread.sqrt()).abs().mean()


class HeadWatch:
    """Remembers what the perforated head saw in the last training step, to ask its newest dendrite again."""

    def __init__(self, head: nn.Module) -> None:
        self._head: Any = head
        self._seen: list[Tensor] = []
        # Averaged copies of the network carry this hook along, but must not be heard.
        only = weakref.ref(head)
        seen = self._seen

        def remember(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if module.training and module is only():
                seen[:] = [inputs[0].detach().float()]  # bfloat16 under mixed precision

        head.register_forward_pre_hook(remember)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """L_dendrite of the last training batch; a constant 0 before a dendrite exists."""
        grown = self._head.dendrite_module
        newest = grown.num_dendrites - 1
        if newest < 0 or not self._seen or len(self._seen[0]) != len(logits):
            return logits.new_zeros((), dtype=torch.float32)
        features = self._seen[0]
        drive = grown.layers[newest](features)
        if newest > 0:
            with torch.no_grad():  # earlier dendrites are heard, but not taught by this loss
                earlier = grown(features)[0]
            for j in range(newest):
                drive = drive + grown.dendrites_to_dendrites[newest][j] * earlier[j]
        return correlation_loss(torch.sigmoid(drive), remaining_error(logits, target))
