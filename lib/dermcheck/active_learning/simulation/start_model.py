"""A model to start from that has seen other clinics' photographs, and none that the simulation chooses from.

A clinic that begins to correct does not begin with an encoder of cats and cars: DermCheck brings models.
Those it brings have seen HAM10000, so the simulation trains one of its own: EfficientNet-Lite0 from ImageNet
on another data set, outlines and, where they are known, diagnoses. It is kept in the cache, and a training
that was stopped goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from dermcheck.active_learning.simulation.features import MAP_CHANNELS, load_start_network
from dermcheck.active_learning.simulation.outline_head import OutlineDecoder, outline_loss
from dermcheck.errors import StorageError
from dermcheck.files import replace_file
from dermcheck.lesions import CLASSES
from dermcheck.networks.efficientnet import EfficientNetLite0
from dermcheck.training.data import DataError, Photographs
from dermcheck.training.numerics import Numerics

__all__ = ["SIDE", "StartModel", "refuse_shared_photographs", "train_start_model"]

VERSION: Final = 1
"""Raised whenever the same photographs would give another model."""
SIDE: Final = 160
"""In pixels, of the training and of the photographs' features."""
_STEPS: Final = 650
_BATCH: Final = 16
_RATES: Final = (5e-4, 3e-3)
"""Highest rates of the encoder, which has learnt something, and of the decoder."""
_DECAY: Final = 0.02
_CLASS_WEIGHT: Final = 0.5
"""Of the diagnosis in the loss; the outline has 1."""
_KEPT_EVERY: Final = 100
"""Steps between two states on the disk: what a stopped training may lose."""


@dataclass(frozen=True, eq=False)
class StartModel:
    """What the simulation starts from."""

    network: EfficientNetLite0
    decoder: Mapping[str, Tensor]
    """Weights of an `OutlineDecoder`."""
    words: str
    """Which weights these are."""


def refuse_shared_photographs(start: Photographs, simulated: Photographs) -> None:
    """Raise DataError if a photograph is in both data sets, by its pixels or its name."""
    shared = set(start.content.tolist()) & set(simulated.content.tolist())
    named = set(start.image_id.tolist()) & set(simulated.image_id.tolist())
    if shared or named:
        count = max(len(shared), len(named))
        raise DataError(
            f"{count} photographs of the start data are among the simulated ones (by pixels or name): a "
            "model that has seen them would make the figures too good. Choose another --start-data."
        )


def train_start_model(
    photographs: Photographs, name: str, cache: Path, numerics: Numerics, *, progress: bool = True
) -> StartModel:
    """Train on all outlined photographs of a data set, or read what was trained before.

    Parameters
    ----------
    name
        Of the data set, in words.
    cache
        Folder, made if missing: 60 MB, 20 MB in the end.

    Raises
    ------
    DataError
        If fewer than one batch of photographs have an outline.
    StorageError
        If the disk refuses.
    """
    rows = np.flatnonzero(photographs.has_mask)
    if len(rows) < _BATCH:
        raise DataError(
            f"{len(rows)} photographs of the start data have an outline, expected {_BATCH} at least. Choose "
            "another data set for --start-data."
        )
    path = cache / f"start-{_key(photographs)}.pt"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with torch.random.fork_rng(devices=[]):
            training = _train(photographs, rows, path, numerics, progress)
    except OSError as error:
        raise StorageError(
            f"{path}: the start model cannot be kept ({error.strerror}). Make room, or name another cache "
            "folder with DERMCHECK_CACHE."
        ) from error
    words = f"EfficientNet-Lite0 trained on ImageNet, then on {len(rows):,} photographs of {name}"
    decoder = {key: value.cpu() for key, value in training.decoder.state_dict().items()}
    return StartModel(training.network.eval().cpu(), decoder, words)


def _train(
    photographs: Photographs, rows: npt.NDArray[np.intp], path: Path, numerics: Numerics, progress: bool
) -> _Training:
    """Train from the state on the disk, or from the beginning, to the end."""
    training = _Training(photographs, rows, numerics)
    if path.is_file():
        training.restore(torch.load(path, weights_only=True))
    with tqdm(
        total=_STEPS, initial=training.step, desc="training the start model", unit="step",
        disable=not (progress and training.step < _STEPS),
    ) as bar:  # fmt: skip
        while training.step < _STEPS:
            training.learn_from_a_batch()
            bar.update()
            if training.step % _KEPT_EVERY == 0 or training.step == _STEPS:
                replace_file(path, partial(torch.save, training.state()))
    return training


class _Training:
    """The training and its state."""

    def __init__(self, photographs: Photographs, rows: npt.NDArray[np.intp], numerics: Numerics) -> None:
        self._photographs, self._rows, self._numerics = photographs, rows, numerics
        known = photographs.diagnosis[photographs.diagnosis >= 0]
        present = np.unique(known)
        # Position among the classes present; -1 where the diagnosis is not known.
        position = np.full(len(CLASSES) + 1, -1)
        position[present] = np.arange(len(present))
        self._classes = torch.from_numpy(position[photographs.diagnosis])
        frequency = np.bincount(position[known], minlength=max(1, len(present))) / max(1, len(known))
        self._prior = torch.from_numpy(frequency).float().clamp(min=1e-6).log()
        torch.manual_seed(0)
        self._rng = np.random.default_rng(0)
        self.network, _ = load_start_network()
        self.network.out = nn.Linear(self.network.out.in_features, len(self._prior))
        self.decoder = OutlineDecoder(MAP_CHANNELS)
        for module in (self.network, self.decoder):
            numerics.place_network(module).train()
        self._optimizer = torch.optim.AdamW(
            [
                {"params": module.parameters(), "lr": rate}
                for module, rate in zip((self.network, self.decoder), _RATES, strict=True)
            ],
            weight_decay=_DECAY,
        )
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, list(_RATES), total_steps=_STEPS, pct_start=0.15
        )
        self._order: list[int] = []
        self.step = 0

    def learn_from_a_batch(self) -> None:
        """Make one step."""
        if len(self._order) < _BATCH:
            self._order = self._rng.permutation(self._rows).tolist()
        rows = [self._order.pop() for _ in range(_BATCH)]
        pixels, masks = self._drawn_views(rows)
        place = self._numerics.place
        with self._numerics.autocast():
            maps = self.network.encoder(place(pixels))
            logits = self.decoder(maps)
            answers = self.network.out(self.network.pool(self.network.top(maps[-1])))
        target = F.adaptive_avg_pool2d(masks, logits.shape[-1])[:, 0]
        loss = outline_loss(logits.float().cpu(), target)
        classes = self._classes[rows]
        if (known := classes >= 0).any():
            # Logit adjustment (Menon et al. 2021): rare classes shape the features as frequent ones do.
            adjusted = answers.float().cpu()[known] + self._prior
            loss = loss + _CLASS_WEIGHT * F.cross_entropy(adjusted, classes[known], label_smoothing=0.05)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._schedule.step()
        self.step += 1

    def _drawn_views(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        """Turn, zoom, shift, mirror and tint: (N, 3, S, S) pixels and (N, 1, S, S) masks."""
        rng, count = self._rng, len(rows)
        images = torch.from_numpy(np.stack([self._photographs.images[row] for row in rows]))
        pixels = images.permute(0, 3, 1, 2).float().sub(127).div(128)
        masks = torch.from_numpy(np.stack([self._photographs.masks[row] for row in rows])).float()[:, None]
        zoom = torch.from_numpy(np.exp(rng.uniform(np.log(0.6), np.log(1.15), count))).float()
        right, down = (torch.from_numpy(rng.uniform(-0.12, 0.12, count)).float() for _ in range(2))
        angle = torch.from_numpy(rng.uniform(0, 2 * np.pi, count)).float()
        cosine, sine = zoom * angle.cos(), zoom * angle.sin()
        turned = torch.stack(
            [torch.stack([cosine, -sine, right], 1), torch.stack([sine, cosine, down], 1)], 1
        )
        grid = F.affine_grid(turned, [count, 3, SIDE, SIDE], align_corners=False)
        pixels = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
        masks = F.grid_sample(masks, grid, padding_mode="reflection", align_corners=False)
        if rng.random() < 0.5:
            pixels, masks = pixels.flip(3), masks.flip(3)
        contrast = torch.from_numpy(rng.uniform(0.85, 1.15, (count, 3, 1, 1))).float()
        brightness = torch.from_numpy(rng.uniform(-0.15, 0.15, (count, 1, 1, 1))).float()
        return pixels * contrast + brightness, masks

    def state(self) -> dict[str, Any]:
        """Return the weights, and until the last step all that the next one depends on."""
        weights = {
            "step": self.step,
            "network": self.network.state_dict(),
            "decoder": self.decoder.state_dict(),
        }
        if self.step == _STEPS:
            return weights
        return weights | {
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "order": self._order,
            "drawing": self._rng.bit_generator.state,
            "torch": torch.get_rng_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.decoder.load_state_dict(state["decoder"])
        if self.step < _STEPS:
            self._optimizer.load_state_dict(state["optimizer"])
            self._schedule.load_state_dict(state["schedule"])
            self._order = state["order"]
            self._rng.bit_generator.state = state["drawing"]
            torch.set_rng_state(state["torch"])


def _key(photographs: Photographs) -> str:
    digest = hashlib.sha256(f"{VERSION} {SIDE} {_STEPS} {_BATCH}".encode())
    digest.update(f"{photographs.fingerprint} {photographs.diagnosis.tolist()}".encode())
    return digest.hexdigest()[:16]
