"""A model that may come from a folder or from memory, as the back ends need it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import nn

from dermcheck.inference.backends.exportable import Exportable
from dermcheck.networks.cards import ModelCard
from dermcheck.networks.checkpoint import StoredModel
from dermcheck.networks.photograph_probe import PhotographProbe, probe_of

__all__ = ["RunnableModel"]

_FORMAT = 1
"""Raised whenever an `Exportable` of the same weights would give other answers."""


@dataclass(frozen=True, eq=False)
class RunnableModel:
    """A card, and a network that is built when it is needed."""

    card: ModelCard
    probe: PhotographProbe | None
    build: Callable[[], nn.Module]
    """Gives the `Exportable`, always the same."""
    weights: Callable[[], str]
    """Gives a hash of the network's weights."""

    @classmethod
    def of(cls, model: StoredModel | tuple[nn.Module, ModelCard]) -> RunnableModel:
        """Take a model as it was read, or a network in memory with its card."""
        if isinstance(model, StoredModel):
            stored = model
            return cls(
                stored.card,
                stored.probe,
                cache(lambda: Exportable(stored.network(), stored.card)),
                lambda: stored.card.sha256,
            )
        network, card = model
        probe = probe_of(network) if card.photograph_check is not None else None
        return cls(card, probe, cache(lambda: Exportable(network, card)), lambda: _hash_of(network))

    def key(self, backend: str) -> str:
        """Name an export: by the weights, by what is exported with them, and by the back end's version."""
        card = self.card
        about = [_FORMAT, backend, self.weights(), card.architecture, card.dendrites, card.dendrites_on]
        about += [card.input.mean, card.input.std, card.input.geometry, card.input.side, card.input.multiple]
        about += [card.input.quarter_turns, card.input.closer_look]
        digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()
        return f"{backend.replace(' ', '-')}-{card.task}-{digest[:24]}"

    def findings_key(self, processor: str) -> str:
        """Name what else decides which precision holds and is quickest: the weights are in `key`."""
        about = f"{processor}, torch {torch.__version__}, {self.card.calibration}"
        return hashlib.sha256(about.encode()).hexdigest()[:12]


def _hash_of(network: nn.Module) -> str:
    """Hash a network in memory: its card may tell of other weights."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()
