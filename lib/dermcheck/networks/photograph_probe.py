"""The score "is this a lesion photograph?": one linear layer beside the classifier's head.

It reads what the head reads, so it costs nothing and fits every architecture that names its head. The
probe belongs to a network but is not a part of it: it is neither trained with it nor in its
`state_dict`. `save_model` writes its two tensors into the weights file, so that the hash covers them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

__all__ = ["PROBE_PREFIX", "HeadInput", "PhotographProbe", "attach_probe", "probe_of"]

PROBE_PREFIX: Final = "photograph_probe."
"""Begins the names of the probe's tensors in the weights file."""
_ATTRIBUTE: Final = "dermcheck_photograph_probe"
_READER: Final = "dermcheck_head_input"


@dataclass(frozen=True, eq=False)
class PhotographProbe:
    """A logistic model of the input of a classifier's head."""

    weight: Tensor
    """(features,) float32."""
    bias: Tensor
    """() float32."""

    def score(self, features: Tensor) -> Tensor:
        """Give (N,) float32 scores of 0 (no lesion photograph) to 1 for (N, features)."""
        return torch.sigmoid(features.float() @ self.weight + self.bias)

    def tensors(self) -> dict[str, Tensor]:
        """Give the tensors under their names in the weights file."""
        return {f"{PROBE_PREFIX}weight": self.weight, f"{PROBE_PREFIX}bias": self.bias}


def attach_probe(network: nn.Module, probe: PhotographProbe | None) -> None:
    """Make `probe` the network's, in place of any other; None removes it."""
    setattr(network, _ATTRIBUTE, probe)


def probe_of(network: nn.Module) -> PhotographProbe | None:
    """Return the network's probe, if it has one."""
    probe = getattr(network, _ATTRIBUTE, None)
    return probe if isinstance(probe, PhotographProbe) else None


class _Seen(threading.local):
    """What the latest call in this thread saw; a copied network begins without."""

    features: Tensor

    def __deepcopy__(self, memo: dict[int, object]) -> _Seen:
        """Begin anew: threads share nothing that could be copied."""
        return _Seen()


class HeadInput:
    """Runs a network and also gives what went into its head.

    Any number of threads may use one at the same time: each sees the features of its own call.

    Parameters
    ----------
    network
        The classifier; a forward hook is registered on it.
    head
        Dotted path of its last linear layer, as `Architecture.head` names it.
    """

    def __init__(self, network: nn.Module, head: str) -> None:
        self._network = network
        self._seen = _Seen()
        network.get_submodule(head).register_forward_pre_hook(self._keep)

    @classmethod
    def of(cls, network: nn.Module, head: str) -> HeadInput:
        """Return the network's own, so that it has one hook however often a predictor is made of it."""
        known = getattr(network, _READER, None)
        if not isinstance(known, HeadInput):
            known = cls(network, head)
            object.__setattr__(network, _READER, known)
        return known

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits (N, classes) and features (N, F) of a batch."""
        logits: Tensor = self._network(pixels)
        features: Tensor = self._seen.features
        del self._seen.features
        return logits, features.flatten(1)

    def _keep(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._seen.features = inputs[0]
