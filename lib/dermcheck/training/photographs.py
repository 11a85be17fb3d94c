"""The reference data as memory-mapped arrays: HAM10000 at 256 px and ISIC 2018 Task 1.

Pictures are decoded once into a uint8 cache on disk, so that training costs bounded memory and
spends its time in the networks.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from dermcheck.lesions import CLASSES

__all__ = ["SIDE", "Photographs", "open_photographs"]

SIDE = 256
"""Side of the cached square pictures in pixels; HAM10000's own size in the reference data."""


@dataclass(frozen=True)
class Photographs:
    """Reference photographs with masks, diagnoses and folds; row *i* of each field is image *i*."""

    image_id: npt.NDArray[np.str_]
    lesion_id: npt.NDArray[np.str_]
    """Groups images of one lesion; where unknown (Task 1) the image's own id."""
    source: npt.NDArray[np.str_]
    """``ham10000`` or ``task1``."""
    diagnosis: npt.NDArray[np.int64]
    """Class index 0 to 6, or -1 where unknown."""
    fold: npt.NDArray[np.int64]
    """0 to 7 train, 8 selects and calibrates, 9 reports."""
    images: npt.NDArray[np.uint8]
    """(N, SIDE, SIDE, 3) RGB, memory-mapped, read-only."""
    masks: npt.NDArray[np.uint8]
    """(N, SIDE, SIDE), 1 inside the lesion, memory-mapped, read-only."""

    def rows(self, folds: range, source: str | None = None) -> npt.NDArray[np.int64]:
        """Row numbers of the images in `folds`, of one source or of both."""
        chosen = np.isin(self.fold, list(folds))
        if source is not None:
            chosen &= self.source == source
        return np.flatnonzero(chosen)


def open_photographs(ham10000: Path, task1: Path, task1_diagnoses: Path, cache: Path) -> Photographs:
    """Open both data sets, decoding them into `cache` on first use.

    Parameters
    ----------
    ham10000, task1
        Folders with ``images/``, ``masks/`` and ``labels.csv`` (image_id, [lesion_id, dx,] fold).
    task1_diagnoses
        CSV of image_id, dx, fold for Task 1's images.
    cache
        Folder for the decoded pictures: 256 KiB an image.
    """
    with task1_diagnoses.open(newline="") as file:
        diagnosed = {row["image_id"]: row["dx"] for row in csv.DictReader(file)}
    records: list[tuple[str, str, str, str, int, Path]] = []
    for source, folder in (("ham10000", ham10000), ("task1", task1)):
        with (folder / "labels.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                image_id = row["image_id"]
                dx = row.get("dx") or diagnosed.get(image_id, "")
                records.append(
                    (image_id, row.get("lesion_id") or image_id, source, dx, int(row["fold"]), folder)
                )
    images, masks = _decoded(records, cache)
    return Photographs(
        image_id=np.array([r[0] for r in records]),
        lesion_id=np.array([r[1] for r in records]),
        source=np.array([r[2] for r in records]),
        diagnosis=np.array([CLASSES.index(r[3]) if r[3] else -1 for r in records]),
        fold=np.array([r[4] for r in records]),
        images=images,
        masks=masks,
    )


def _decoded(
    records: list[tuple[str, str, str, str, int, Path]], cache: Path
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Build the cache under a name of its content, complete or not at all, and map it."""
    key = hashlib.sha256(repr([(r[0], r[2], SIDE) for r in records]).encode()).hexdigest()[:12]
    paths = cache / f"images-{key}.npy", cache / f"masks-{key}.npy"
    if not all(path.exists() for path in paths):
        cache.mkdir(parents=True, exist_ok=True)
        partial = [path.with_suffix(".partial") for path in paths]
        shapes = ((len(records), SIDE, SIDE, 3), (len(records), SIDE, SIDE))
        images, masks = (
            np.lib.format.open_memmap(path, "w+", np.uint8, shape)  # type: ignore[no-untyped-call]
            for path, shape in zip(partial, shapes, strict=True)
        )
        for i, (image_id, *_, folder) in enumerate(tqdm(records, desc="decoding photographs", unit="image")):
            with Image.open(folder / "images" / f"{image_id}.jpg") as picture:
                images[i] = np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
            with Image.open(folder / "masks" / f"{image_id}_segmentation.png") as mask:
                masks[i] = np.asarray(mask.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)) > 127
        images.flush()
        masks.flush()
        for source, target in zip(partial, paths, strict=True):
            source.replace(target)
    return np.load(paths[0], mmap_mode="r"), np.load(paths[1], mmap_mode="r")
