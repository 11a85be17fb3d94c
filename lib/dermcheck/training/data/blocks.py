"""Decoded pictures on disk in blocks: each is written complete or not at all, and checked when opened.

A cache folder belongs to one side and one preprocessing. A picture is found by its content, so a cache is
shared by all data sets that hold it, and new corrections are decoded without decoding anything again.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from dermcheck.errors import StorageError
from dermcheck.files import TEMPORARY_PREFIX, Content, remove_abandoned, write_folder

__all__ = ["Block", "BlockRows", "PixelRows", "open_blocks", "write_block"]

logger = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]

_IMAGES: Final = "images.npy"
_MASKS: Final = "masks.npy"
_INDEX: Final = "index.json"
_ABANDONED_S: Final = 3600.0
"""A block takes minutes at most, so a partial one of this age was left by a process that was killed."""


class PixelRows(Protocol):
    """Pictures by row: a NumPy array, or what behaves like one without being in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, side, side, 3) for images, (N, side, side) for masks."""
        ...

    def __len__(self) -> int:
        """Return N."""
        ...

    def __getitem__(self, rows: Any, /) -> Any:
        """Return the uint8 pixels of a row number, a slice, or an array of row numbers or truth values."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some hundreds of decoded pictures, memory-mapped."""

    name: str
    """Of its folder in the cache."""
    keys: tuple[str, ...]
    """Contents of picture and mask, one a row."""
    images: Pixels
    masks: Pixels


class BlockRows:
    """Rows that lie in several memory-mapped blocks, read as one array. Read-only; rows are copied out."""

    def __init__(self, arrays: Sequence[Pixels], places: npt.NDArray[np.int64]) -> None:
        """Take the blocks and, for each row, (block, row in it): (N, 2)."""
        self._arrays = arrays
        self._places = places

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape as if it were one array."""
        return (len(self._places), *self._arrays[0].shape[1:])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._places)

    def __getitem__(self, rows: Any) -> Pixels:
        """Copy rows into memory; a single row number gives one picture."""
        places = self._places[rows]
        if places.ndim == 1:
            return np.array(self._arrays[places[0]][places[1]])
        read = np.empty((len(places), *self.shape[1:]), np.uint8)
        for block in np.unique(places[:, 0]):
            here = places[:, 0] == block
            read[here] = self._arrays[block][places[here, 1]]
        return read

    def take(self, rows: npt.NDArray[np.int64]) -> BlockRows:
        """Return a view on some rows; nothing is read."""
        return BlockRows(self._arrays, self._places[rows])


def open_blocks(folder: Path, side: int, known: Sequence[Block] = ()) -> tuple[list[Block], list[str]]:
    """Map every sound block of a cache folder; damaged ones are removed, so that they are decoded again.

    Parameters
    ----------
    known
        Blocks that were opened before and are not checked again.

    Returns
    -------
    blocks
        The known ones, then the others in the order of their names.
    problems
        One sentence for each block that was damaged.
    """
    remove_abandoned(folder, _ABANDONED_S)
    blocks, problems = list(known), []
    names = {block.name for block in known}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name in names or path.name.startswith(TEMPORARY_PREFIX):
            continue
        try:
            blocks.append(_open_block(path, side))
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = str(error) or type(error).__name__
            problems.append(
                f"{path}: this part of the picture cache is damaged ({reason}); it is decoded again."
            )
            logger.warning("%s", problems[-1])
            _remove(path)
    return blocks, problems


def _open_block(path: Path, side: int) -> Block:
    index = json.loads((path / _INDEX).read_text(encoding="utf-8"))
    keys = tuple(index["keys"])
    arrays = []
    for name, shape in ((_IMAGES, (len(keys), side, side, 3)), (_MASKS, (len(keys), side, side))):
        array = np.load(path / name, mmap_mode="r", allow_pickle=False)
        if array.shape != shape or array.dtype != np.uint8:
            raise ValueError(f"{name} holds {array.dtype} {array.shape}, expected uint8 {shape}")
        if zlib.crc32(array.data) != index["crc32"][name]:
            raise ValueError(f"the checksum of {name} is wrong")
        arrays.append(array)
    return Block(path.name, keys, arrays[0], arrays[1])


def write_block(folder: Path, keys: Sequence[str], images: Pixels, masks: Pixels) -> None:
    """Store decoded pictures: (n, side, side, 3) and (n, side, side) uint8.

    Raises
    ------
    StorageError
        If the disk refuses, e.g. for lack of space. What was stored before stays usable.
    """
    index = {
        "keys": list(keys),
        "crc32": {_IMAGES: zlib.crc32(images.data), _MASKS: zlib.crc32(masks.data)},
    }
    files: dict[str, Content] = {
        _IMAGES: lambda file: np.save(file, images),
        _MASKS: lambda file: np.save(file, masks),
        _INDEX: json.dumps(index),
    }
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_folder(folder / f"block-{time.time_ns():020}-{uuid.uuid4().hex[:8]}", files, private=True)
    except OSError as error:
        raise StorageError(
            f"{folder}: decoded pictures cannot be stored ({error.strerror or error}). Free some space or "
            "name another cache folder; what was decoded so far is kept."
        ) from error


def _remove(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        logger.warning("%s: it cannot be removed (%s) and is ignored.", path, error.strerror)
