"""HAM10000 and ISIC 2018 Task 1 as arrays of one size, and packed into one small file that travels.

The packed file holds folds 0 to 8 only: a machine that trains never sees the photographs that report.
"""

from __future__ import annotations

import csv
import io
import json
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from dermcheck.lesions import CLASSES

__all__ = ["SIDE", "Pictures", "compress", "pack", "unpack"]

SIDE = 256
"""Side of the squares; what HAM10000 is stored in here."""
REPORT_FOLD = 9
_UNKNOWN = -1
_MAGIC = b"DERMPACK"


@dataclass(frozen=True)
class Pictures:
    """Photographs in memory, with what is known of them."""

    images: npt.NDArray[np.uint8]
    """(N, 3, SIDE, SIDE) RGB."""
    masks: npt.NDArray[np.uint8]
    """(N, SIDE, SIDE), 1 inside the lesion; all zeros where there is no usable mask."""
    has_mask: npt.NDArray[np.bool_]
    diagnosis: npt.NDArray[np.int64]
    """Index in `CLASSES`, or -1."""
    fold: npt.NDArray[np.int64]
    source: npt.NDArray[np.int64]
    """0: HAM10000, 1: ISIC 2018 Task 1."""


@dataclass(frozen=True)
class _Entry:
    folder: Path
    image_id: str
    fold: int
    diagnosis: int
    source: int


def pack(ham10000: Path, task1: Path, diagnoses: Path, packed: Path, quality: int = 100) -> None:
    """Write folds 0 to 8 of both sets as WebP and PNG squares into one file.

    Parameters
    ----------
    ham10000, task1
        Folders with ``images``, ``masks`` and ``labels.csv``.
    diagnoses
        CSV of the diagnoses of Task 1.
    packed
        The file to write.
    quality
        Of WebP: 76 makes a file of 50 MB, which travels; 100 one of 170 MB. A network that was trained on
        quality 76 decides one in twelve of fold 8's originals otherwise, and tells melanomas of Task 1 apart
        less well.
    """
    entries = [*_entries(ham10000, 0, {}), *_entries(task1, 1, _read_diagnoses(diagnoses))]
    entries = [entry for entry in entries if entry.fold != REPORT_FOLD]
    with ThreadPoolExecutor() as pool:
        encoded = list(
            tqdm(
                pool.map(lambda entry: _encode(entry, quality), entries),
                total=len(entries),
                unit="photograph",
            )
        )
    index = [
        {"image": len(image), "mask": len(mask), "fold": e.fold, "diagnosis": e.diagnosis, "source": e.source}
        for e, (image, mask) in zip(entries, encoded, strict=True)
    ]
    header = json.dumps(index).encode()
    with packed.open("wb") as file:
        file.write(_MAGIC + struct.pack("<Q", len(header)) + header)
        for image, mask in encoded:
            file.write(image + mask)


def unpack(packed: Path) -> Pictures:
    """Read a packed file and decode all of it; 2.2 GB of memory.

    Raises
    ------
    ValueError
        If the file is not one that `pack` wrote, or is cut off.
    """
    data = packed.read_bytes()
    start = len(_MAGIC) + 8
    if data[: len(_MAGIC)] != _MAGIC:
        raise ValueError(f"{packed}: this is no packed set of photographs; write one with the stage `pack`.")
    (length,) = struct.unpack("<Q", data[len(_MAGIC) : start])
    index = json.loads(data[start : start + length])
    if len(data) != start + length + sum(row["image"] + row["mask"] for row in index):
        raise ValueError(f"{packed}: the file is cut off; write it again with the stage `pack`.")
    images = np.empty((len(index), 3, SIDE, SIDE), np.uint8)
    masks = np.zeros((len(index), SIDE, SIDE), np.uint8)

    def decode(job: tuple[int, int, int, int]) -> None:
        number, begin, middle, end = job
        image = np.asarray(Image.open(io.BytesIO(data[begin:middle])).convert("RGB"))
        images[number] = image.transpose(2, 0, 1)
        masks[number] = np.asarray(Image.open(io.BytesIO(data[middle:end])).convert("L")) > 127

    with ThreadPoolExecutor() as pool:
        list(pool.map(decode, _places(index, start + length), chunksize=64))
    inside = masks.mean((1, 2))
    return Pictures(
        images=images,
        masks=masks,
        has_mask=(inside > 0) & (inside < 1),  # a mask without an outside outlines nothing
        diagnosis=np.array([row["diagnosis"] for row in index]),
        fold=np.array([row["fold"] for row in index]),
        source=np.array([row["source"] for row in index]),
    )


def compress(images: npt.NDArray[np.uint8], seed: int = 0) -> npt.NDArray[np.uint8]:
    """Show photographs, (N, 3, S, S) uint8, as a JPEG of a random quality from 30 to 95 would."""
    qualities = np.random.default_rng(seed).integers(30, 96, len(images))
    compressed = np.empty_like(images)

    def each(number: int) -> None:
        file = io.BytesIO()
        Image.fromarray(images[number].transpose(1, 2, 0)).save(file, "JPEG", quality=int(qualities[number]))
        compressed[number] = np.asarray(Image.open(file)).transpose(2, 0, 1)

    with ThreadPoolExecutor() as pool:
        list(pool.map(each, range(len(images)), chunksize=64))
    return compressed


def _places(index: list[dict[str, int]], start: int) -> Iterator[tuple[int, int, int, int]]:
    for number, row in enumerate(index):
        middle = start + row["image"]
        yield number, start, middle, middle + row["mask"]
        start = middle + row["mask"]


def _entries(folder: Path, source: int, diagnoses: dict[str, str]) -> Iterator[_Entry]:
    with (folder / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            name = row.get("dx") or diagnoses.get(row["image_id"])
            diagnosis = CLASSES.index(name) if name else _UNKNOWN
            yield _Entry(folder, row["image_id"], int(row["fold"]), diagnosis, source)


def _read_diagnoses(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return {row["image_id"]: row["dx"] for row in csv.DictReader(file)}


def _encode(entry: _Entry, quality: int) -> tuple[bytes, bytes]:
    image = Image.open(entry.folder / "images" / f"{entry.image_id}.jpg").convert("RGB")
    mask = Image.open(entry.folder / "masks" / f"{entry.image_id}_segmentation.png").convert("L")
    if image.size != (SIDE, SIDE):
        image = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        mask = mask.resize((SIDE, SIDE), Image.Resampling.BOX)
    files = io.BytesIO(), io.BytesIO()
    image.save(files[0], "WEBP", quality=quality, method=4)
    mask.point(lambda value: 255 * (value > 127)).convert("1").save(files[1], "PNG", optimize=True)
    return files[0].getvalue(), files[1].getvalue()
