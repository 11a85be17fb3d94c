"""An outliner small enough to be trained often: a decoder on the maps of a frozen encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dermcheck.active_learning.simulation.features import FeatureMap
from dermcheck.training.data.blocks import PixelRows

__all__ = ["OutlineDecoder", "OutlineHead", "OutlineMaterial", "expected_disagreement", "outline_loss"]

_WIDTHS: Final = (12, 16, 24, 32, 48)
"""Channels at the five resolutions, the finest first."""
_BATCH: Final = 16
_RATE: Final = 3e-3
_DECAY: Final = 1e-3
_ANSWERED_AT_ONCE: Final = 64


@dataclass(frozen=True, eq=False)
class OutlineMaterial:
    """What an outliner learns from; row *i* of each array belongs to photograph *i*."""

    maps: tuple[FeatureMap, ...]
    """Five arrays (N, C, S, S)."""
    masks: PixelRows
    """(N, side, side) uint8, 1 inside the lesion."""

    def inputs(self, rows: npt.NDArray[np.intp]) -> list[Tensor]:
        """Read the maps of some photographs as float32."""
        return [
            torch.from_numpy(np.asarray(values[rows], np.float32)).to(memory_format=torch.channels_last)
            for values in self.maps
        ]

    def truth(self, rows: npt.NDArray[np.intp]) -> Tensor:
        """Read some masks: (len(rows), side, side) uint8."""
        return torch.from_numpy(np.stack([self.masks[int(row)] for row in rows]))


class OutlineDecoder(nn.Module):
    """From the coarsest map to the finest, each added after a projection (Lin et al. 2017, "FPN").

    Parameters
    ----------
    channels
        Of the five maps, the finest first.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        after = (_WIDTHS[0], *_WIDTHS[:-1])
        self.projections = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(inputs), nn.Conv2d(inputs, width, 1))
            for inputs, width in zip(channels, _WIDTHS, strict=True)
        )
        self.blends = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
            )
            for width, outputs in zip(_WIDTHS, after, strict=True)
        )
        self.out = nn.Conv2d(_WIDTHS[0], 1, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Five maps to logits (N, S, S), as large as the finest map."""
        values: Tensor | None = None
        for number in reversed(range(len(maps))):
            projected = self.projections[number](maps[number])
            if values is not None:
                projected = projected + F.interpolate(values, scale_factor=2.0, mode="bilinear")
            values = self.blends[number](projected)
        logits: Tensor = self.out(values)
        return logits[:, 0]


class OutlineHead:
    """Learns on from round to round.

    Parameters
    ----------
    maps
        Of the photographs, for their numbers of channels.
    seed
        Of the first weights and the order of the photographs.
    start
        Weights of an `OutlineDecoder` to begin with, instead of drawn ones.
    """

    def __init__(
        self, maps: Sequence[FeatureMap], seed: int, start: Mapping[str, Tensor] | None = None
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = OutlineDecoder([values.shape[1] for values in maps])
        if start is not None:
            self._network.load_state_dict(start)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # four times as fast
        self._optimizer = torch.optim.AdamW(self._network.parameters(), lr=_RATE, weight_decay=_DECAY)
        self._rng = np.random.default_rng([seed, 2])

    def learn(self, material: OutlineMaterial, rows: npt.NDArray[np.intp], steps: int) -> None:
        """Train on some photographs for so many steps; the rate falls to zero and begins anew next time."""
        self._network.train()
        for step in range(steps):
            for group in self._optimizer.param_groups:
                group["lr"] = _RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
            chosen = self._rng.choice(rows, min(_BATCH, len(rows)), replace=False)
            inputs, truth = material.inputs(chosen), material.truth(chosen)
            target = F.adaptive_avg_pool2d(truth.float(), inputs[0].shape[-1])
            # Maps of a mirrored photograph are nearly the mirrored maps.
            axes = [axis for axis in (-1, -2) if self._rng.random() < 0.5]
            logits = self._network([values.flip(axes) for values in inputs])
            loss = outline_loss(logits, target.flip(axes))
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()

    def weights(self) -> dict[str, Tensor]:
        """Return the weights, to begin another with."""
        return self._network.state_dict()

    @torch.inference_mode()
    def logits(self, material: OutlineMaterial, rows: npt.NDArray[np.intp]) -> Tensor:
        """Answer: (len(rows), S, S), as large as the finest map."""
        self._network.eval()
        parts = [
            self._network(material.inputs(rows[start : start + _ANSWERED_AT_ONCE]))
            for start in range(0, len(rows), _ANSWERED_AT_ONCE)
        ]
        return torch.cat(parts) if parts else torch.empty(0, *material.maps[0].shape[2:])

    def jaccard(self, material: OutlineMaterial, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        """Return (len(rows),) Jaccard indices at the masks' own size."""
        answers = self.logits(material, rows)
        side = material.masks.shape[1]
        found = []
        for start in range(0, len(rows), _ANSWERED_AT_ONCE):
            part = slice(start, start + _ANSWERED_AT_ONCE)
            large = F.interpolate(answers[part, None], size=(side, side), mode="bilinear")[:, 0] > 0
            truth = material.truth(rows[part]) > 0
            both, either = (large & truth).sum((1, 2)), (large | truth).sum((1, 2))
            found.append(torch.where(either > 0, both / either.clamp(min=1), 1.0).numpy())
        return np.concatenate(found).astype(np.float64) if found else np.empty(0)


def expected_disagreement(logits: Tensor) -> npt.NDArray[np.float64]:
    """Estimate (N,) how much of its own outline a model doubts, from logits (N, H, W).

    One minus the Jaccard index that it would expect of its outline if its pixels' probabilities were right;
    1 where it finds no lesion at all.
    """
    probability = logits.sigmoid()
    inside = probability > 0.5
    agreed = (probability * inside).sum((1, 2))
    either = inside.sum((1, 2)) + (probability * ~inside).sum((1, 2))
    return np.asarray(1 - agreed / either.clamp(min=1e-6), np.float64)


def outline_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of pixels and one minus a soft Jaccard index, as the reference outliner learns."""
    probability = logits.sigmoid()
    both = (probability * target).sum((1, 2))
    either = (probability + target - probability * target).sum((1, 2))
    jaccard: Tensor = 1 - (both + 1) / (either + 1)
    return F.binary_cross_entropy_with_logits(logits, target) + jaccard.mean()
