"""Saving and loading of models: a folder with `weights.safetensors` and `card.json`.

Weights are safetensors, never pickle: reading them runs no code. The card holds the SHA-256 of the
weights, so a damaged or exchanged file is refused instead of giving wrong diagnoses.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, TypeAlias

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from dermcheck.errors import ModelError, StorageError
from dermcheck.files import write_folder
from dermcheck.networks.architectures import build_network
from dermcheck.networks.cards import ModelCard
from dermcheck.networks.photograph_probe import PROBE_PREFIX, PhotographProbe, attach_probe, probe_of

__all__ = [
    "CARD_NAME",
    "REFERENCE_MODELS",
    "WEIGHTS_NAME",
    "LoadedModel",
    "StoredModel",
    "in_half_precision",
    "in_single_precision",
    "load_model",
    "read_card",
    "save_model",
]

CARD_NAME: Final = "card.json"
WEIGHTS_NAME: Final = "weights.safetensors"
REFERENCE_MODELS: Final = Path(__file__).parents[1] / "reference_models"
"""The models that come with DermCheck, in `classifier/` and `outliner/`."""
LoadedModel: TypeAlias = tuple[nn.Module, ModelCard]
"""As `load_model` gives it."""


def save_model(folder: Path, network: nn.Module, card: ModelCard) -> ModelCard:
    """Write weights in half precision and the card with their hash, completely or not at all.

    Half precision halves the file; on loading, the weights become float32 again. Integer buffers
    (the batch counts of batch normalisation) are kept as they are. The network is not changed.

    Parameters
    ----------
    folder
        Must not exist yet (or be empty): a version of a model is never overwritten.
    network
        With exactly the parameters and buffers of the architecture that the card names, and with a
        `PhotographProbe` if the card has a `photograph_check`.

    Returns
    -------
    ModelCard
        `card` with `sha256` (and `created`, if it was empty) filled in.

    Raises
    ------
    ModelError
        If the network is not what the card says, a weight is not finite or too large for half
        precision, or `folder` is taken.
    StorageError
        If the disk refuses.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(
            f"{folder} exists already; a model is never overwritten: choose a new folder or remove it."
        )
    weights = in_half_precision(network.state_dict())
    expected = build_network(card.architecture, card.task, card.dendrites, card.dendrites_on).state_dict()
    _check_same_tensors(expected, weights, f"This network is not the {card.architecture} of its card")
    weights |= _probe_tensors(network, card)
    content = safetensors.torch.save(weights)
    created = card.created or datetime.now(timezone.utc).isoformat(timespec="seconds")
    card = replace(card, sha256=hashlib.sha256(content).hexdigest(), created=created)
    _save(folder, {WEIGHTS_NAME: content, CARD_NAME: card.to_json().encode()})
    return card


class StoredModel:
    """A model's files, read and found to be what its card says; the network is built when asked for.

    Whoever runs an exported form of the network needs the card and the probe, and saves the second that
    building takes. Any number of threads may use one at the same time.

    Parameters
    ----------
    folder
        With card and weights.

    Raises
    ------
    ModelError
        If a file is missing or unreadable, or the hash differs.
    """

    def __init__(self, folder: Path) -> None:
        self.card = read_card(folder)
        self._folder = Path(folder)
        path = self._folder / WEIGHTS_NAME
        content = _read(path, "weights")
        found = hashlib.sha256(content).hexdigest()
        if found != self.card.sha256:
            raise ModelError(
                f"{path}: the SHA-256 of the weights is {found}, but the card says "
                f"{self.card.sha256 or 'nothing'}. The file is damaged or was exchanged: install the model "
                "again."
            )
        try:
            weights = safetensors.torch.load(content)
        except SafetensorError as error:
            raise ModelError(
                f"{path}: this is not a safetensors file ({error}). Install the model again."
            ) from error
        self.probe = _take_probe(weights, self.card, path)
        """The classifier's, if its card has a `photograph_check`."""
        self._weights = weights
        self._network: nn.Module | None = None
        self._building = threading.Lock()

    def network(self) -> nn.Module:
        """Return the network: float32, evaluation mode, channels-last memory; always the same object.

        Raises
        ------
        ModelError
            If the weights are not exactly those of the architecture.
        """
        with self._building:
            if self._network is None:
                self._network = self._build()
            return self._network

    def _build(self) -> nn.Module:
        network = _network_of(self.card, self._folder)
        single = in_single_precision(self._weights)
        problem = f"{self._folder / WEIGHTS_NAME} does not hold a {self.card.architecture}"
        _check_same_tensors(network.state_dict(), single, problem)
        network.load_state_dict(single, strict=True)
        attach_probe(network, self.probe)
        network.eval()
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def load_model(folder: Path) -> tuple[nn.Module, ModelCard]:
    """Load a model for prediction: float32, evaluation mode, channels-last memory.

    Raises
    ------
    ModelError
        If a file is missing or unreadable, the hash differs, or the weights are not exactly those
        of the architecture.
    """
    model = StoredModel(folder)
    return model.network(), model.card


def read_card(folder: Path) -> ModelCard:
    """Read the card of a model without its weights.

    Raises
    ------
    ModelError
        If it is missing or not a valid card.
    """
    path = Path(folder) / CARD_NAME
    content = _read(path, "card")
    try:
        return ModelCard.from_json(content.decode())
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: this is not UTF-8 text. Install the model again.") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _network_of(card: ModelCard, folder: Path) -> nn.Module:
    try:
        return build_network(card.architecture, card.task, card.dendrites, card.dendrites_on)
    except ModelError as error:
        raise ModelError(f"{Path(folder) / CARD_NAME}: {error}") from error


def _probe_tensors(network: nn.Module, card: ModelCard) -> dict[str, Tensor]:
    """Give what the card's `photograph_check` needs; without one, a probe left from training is dropped.

    In single precision: it takes a few kilobytes, and its scale is that of the features, whatever that is.
    """
    if card.photograph_check is None:
        return {}
    probe = probe_of(network)
    if probe is None:
        raise ModelError(
            "The card has a photograph_check, but the network has no probe: fit both again, or leave it out."
        )
    return {name: tensor.detach().cpu().float().contiguous() for name, tensor in probe.tensors().items()}


def _take_probe(weights: dict[str, Tensor], card: ModelCard, path: Path) -> PhotographProbe | None:
    """Remove the probe's tensors from `weights`. Others are left, to be found superfluous."""
    if card.photograph_check is None:
        return None
    names = [f"{PROBE_PREFIX}weight", f"{PROBE_PREFIX}bias"]
    if not all(name in weights for name in names):
        raise ModelError(
            f"{path}: the card has a photograph_check, but its weights are missing. Install the model again."
        )
    weight, bias = (weights.pop(name) for name in names)
    if weight.dim() != 1 or bias.dim() != 0:
        raise ModelError(
            f"{path}: the photograph_check has shapes {tuple(weight.shape)} and {tuple(bias.shape)}, "
            "expected one row of weights and a number. Install the model again."
        )
    return PhotographProbe(weight.float(), bias.float())


def in_half_precision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert float tensors to contiguous float16 of their own on the processor, others to contiguous copies.

    Raises
    ------
    ModelError
        If a value does not survive it.
    """
    weights: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if tensor.is_floating_point():
            half = tensor.detach().to("cpu", torch.float16, memory_format=torch.contiguous_format, copy=True)
            if not torch.isfinite(half).all():
                largest = tensor.detach().abs().max().item()
                raise ModelError(
                    f"The tensor {name} reaches {largest:.4g}, but half precision ends at 65504: "
                    "the network diverged or needs another scale."
                )
            weights[name] = half
        else:
            weights[name] = tensor.detach().to("cpu", memory_format=torch.contiguous_format, copy=True)
    return weights


def in_single_precision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert float tensors to float32, and leave others as they are."""
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def _check_same_tensors(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], problem: str) -> None:
    """Compare names, shapes and kinds (float or integer), and name the first difference."""
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    if missing or unexpected:
        counts = f"{len(missing)} tensors are missing and {len(unexpected)} unexpected"
        raise ModelError(f"{problem}: {counts}, e.g. {(missing + unexpected)[0]}.")
    for name, tensor in expected.items():
        other = found[name]
        if tensor.shape != other.shape:
            raise ModelError(
                f"{problem}: {name} has the shape {tuple(other.shape)}, expected {tuple(tensor.shape)}."
            )
        if tensor.is_floating_point() != other.is_floating_point():
            raise ModelError(f"{problem}: {name} has the type {other.dtype}, expected {tensor.dtype}.")


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(
            f"{path}: the model's {what} is missing. Install the model again or name its folder."
        ) from error
    except OSError as error:
        raise ModelError(f"{path}: the model's {what} cannot be read ({error.strerror}).") from error


def _save(folder: Path, files: Mapping[str, bytes]) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_folder(folder, files)
    except OSError as error:
        raise StorageError(f"{folder}: the model cannot be saved ({error.strerror}).") from error
