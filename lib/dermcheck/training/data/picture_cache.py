"""Photographs decoded once to squares, memory-mapped: any number of them costs bounded memory.

**Geometry.** Each picture is the largest centred square, scaled to `side`: exactly what the classifier sees
(`inference.prepare`, ``centre_square``), and how the square pictures of the reference data were made, so
sources of different formats do not differ. Nothing is squashed. The outliner sees whole photographs at
prediction, at the same scale (``short_side``); from the cache it learns on their centred squares. A
photograph whose lesion lies mostly outside that square would teach that skin is a lesion: it teaches nothing.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from dermcheck.dicom.pixels import RGBImage
from dermcheck.dicom.segments import LesionMask
from dermcheck.errors import DermCheckError, StorageError
from dermcheck.inference.preprocessing import prepare
from dermcheck.networks.cards import InputSpec
from dermcheck.training.data.blocks import Block, BlockRows, PixelRows, Pixels, open_blocks, write_block
from dermcheck.training.data.data_set import DataError, DataSet, LabelledPhotograph, MaskSource
from dermcheck.training.data.identities import (
    Findings,
    Identity,
    IdentityIndex,
    check_mask,
    identify_mask,
    identify_picture,
    with_identities,
)
from dermcheck.training.data.splits import assign_folds
from dermcheck.training.data.wording import counted

__all__ = ["Photographs", "decode", "identify", "square_image", "square_mask"]

logger = logging.getLogger(__name__)

PREPROCESSING: Final = 1
"""Raised whenever the same picture would be decoded to other pixels."""

_BLOCK_BYTES: Final = 64 * 2**20
"""Decoded pictures kept in memory before they are written."""

_LEAST_CENTRAL: Final = 0.5
"""Part of the lesion that the square must show."""

_PART: Final = 256
"""Pictures that are decoded before they are written: what a run that is killed may lose."""

_RESERVE_BYTES: Final = 256 * 2**20
"""Left free on the disk for checkpoints and everybody else."""


@dataclass(frozen=True, eq=False)
class Photographs:
    """Decoded photographs; row *i* of each field is photograph *i*."""

    image_id: npt.NDArray[np.str_]
    lesion_id: npt.NDArray[np.str_]
    """The group where the lesion is unknown."""
    group: npt.NDArray[np.str_]
    """Patient, else lesion, else image: what intervals are drawn over and what is never split."""
    source: npt.NDArray[np.str_]
    diagnosis: npt.NDArray[np.int64]
    """Index in `CLASSES`, or -1 where unknown."""
    fold: npt.NDArray[np.int64]
    """0 to 7 fit, 8 selects and calibrates, 9 reports, -1 is left out."""
    has_mask: npt.NDArray[np.bool_]
    images: PixelRows
    """(N, side, side, 3) uint8 RGB, read from the disk row by row."""
    masks: PixelRows
    """(N, side, side) uint8, 1 inside the lesion; all 0 without a mask."""
    content: npt.NDArray[np.str_]
    """SHA-256 of each photograph's own pixels."""
    age: npt.NDArray[np.float64]
    """In years; NaN where unknown."""
    sex: npt.NDArray[np.str_]
    """``male`` or ``female``; empty where unknown, like the next two."""
    site: npt.NDArray[np.str_]
    device: npt.NDArray[np.str_]
    problems: tuple[str, ...] = ()
    """What was odd, each in a sentence."""
    fingerprint: str = ""
    """Of the data set, with its folds."""

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.image_id)

    @property
    def side(self) -> int:
        """Side of the square pictures in pixels."""
        return self.images.shape[1]

    def rows(self, folds: Iterable[int], source: str | None = None) -> npt.NDArray[np.int64]:
        """Return the row numbers of the photographs in `folds`, of one source or of all."""
        chosen = np.isin(self.fold, list(folds))
        if source is not None:
            chosen &= self.source == source
        return np.flatnonzero(chosen)


def decode(data_set: DataSet, side: int, cache: Path, *, progress: bool = True) -> Photographs:
    """Decode what the cache does not hold yet, and map all of it.

    Contents are identified and checked as `identify` does, and photographs without a fold get one. A run that
    was killed continues where it was; several may fill the same cache.

    Parameters
    ----------
    side
        Of the squares in pixels: `side` ** 2 * 4 bytes a photograph on the disk.
    cache
        Folder, made if missing. It holds copies of patients' photographs: readable by the owner only.
    progress
        Whether to show a bar.

    Raises
    ------
    DataError
        If the data set is empty or none of it can be decoded.
    StorageError
        If the disk has too little space (said before anything is decoded) or refuses, or a file or the
        archive can no longer be read. What was decoded until then is kept.
    """
    folder = cache / f"squares-{side}-v{PREPROCESSING}"
    blocks, damaged = open_blocks(folder, side)
    filler = _Filler(folder, side, {key for block in blocks for key in block.keys})
    identified = _identified(data_set, IdentityIndex(cache), progress, filler)
    blocks, more = open_blocks(folder, side, blocks)
    return _mapped(identified, blocks, (*damaged, *more))


def identify(data_set: DataSet, cache: Path, *, progress: bool = True) -> DataSet:
    """Fill in the contents of all photographs and masks, check them, and assign the folds.

    What `decode` does, without making squares: for who reads the photographs themselves. Each file is decoded
    once for it; the cache keeps the answer. Photographs that cannot be decoded are left out; masks of another
    size than their photograph, all foreground or empty are taken off; duplicates are reported.

    Raises
    ------
    DataError
        If the data set is empty or none of it can be decoded.
    StorageError
        If the cache folder cannot be made.
    """
    return _identified(data_set, IdentityIndex(cache), progress, None)


def square_image(pixels: RGBImage, side: int) -> Pixels:
    """Scale a photograph's largest centred square to (side, side, 3) uint8, as the classifier sees it."""
    spec = InputSpec(side=side, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), geometry="centre_square")
    scaled = prepare(pixels, spec).pixels[0].permute(1, 2, 0)
    return np.ascontiguousarray(scaled.mul(255).round_().clamp_(0, 255).byte().numpy())


def square_mask(mask: LesionMask, side: int) -> Pixels:
    """Scale a mask like its photograph: (side, side) uint8, 1 where at least half is inside."""
    picture = np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2)
    return np.asarray(square_image(picture, side)[..., 0] > 127, np.uint8)


def _key(content: str, mask_content: str) -> str:
    return f"{content} {mask_content}"


def _identified(data_set: DataSet, index: IdentityIndex, progress: bool, filler: _Filler | None) -> DataSet:
    if not data_set.photographs:
        raise DataError(f"{data_set.name}: there are no photographs in it. Check the folder.")
    sources = [source for p in data_set.photographs for source in (p.picture, p.mask) if source is not None]
    findings: dict[str, Identity | str] = {**index.find(source.revision() for source in sources)}
    missing = [p for p in data_set.photographs if _is_missing(p, findings, filler)]
    if filler is not None and missing:
        _check_space(filler.folder, len(missing) * filler.side**2 * 4)
    with (
        ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads,
        tqdm(
            total=len(missing), desc="decoding photographs", unit="image", disable=not (progress and missing)
        ) as bar,
    ):
        # Threads, as decoders let go of the interpreter; in parts, so that only those squares are in memory.
        for start in range(0, len(missing), _PART):
            found: dict[str, Identity | str] = {}
            part = missing[start : start + _PART]
            for decoded in threads.map(lambda p: _decode(p, filler.side if filler else None), part):
                found |= decoded.findings
                if filler is not None:
                    filler.add(decoded)
                bar.update()
            if filler is not None:
                filler.write()
            index.add(found)  # after the squares: what is known is there
            findings |= found
    checked = with_identities(data_set, findings)
    if not checked.photographs:
        raise DataError(f"{data_set.name}: none of its photographs can be decoded. {checked.problems[-1]}")
    return assign_folds(checked)


def _is_missing(photograph: LabelledPhotograph, findings: Findings, filler: _Filler | None) -> bool:
    """Tell whether a photograph has to be decoded, for its identity or its square."""
    picture = findings.get(photograph.picture.revision())
    mask = findings.get(photograph.mask.revision()) if photograph.mask else None
    if not isinstance(picture, Identity) or (photograph.mask and not isinstance(mask, Identity)):
        return True
    return filler is not None and _key(picture.content, _fit_content(picture, mask)) not in filler.present


def _fit_content(picture: Identity, mask: Identity | str | None) -> str:
    """Return the content of a mask that can teach, else nothing."""
    return mask.content if isinstance(mask, Identity) and check_mask(mask, picture) is None else ""


@dataclass(frozen=True, slots=True, eq=False)
class _Decoded:
    """One photograph with its mask, identified and, if asked for, as a square."""

    findings: Findings
    key: str = ""
    image: Pixels | None = None
    mask: Pixels | None = None


def _decode(photograph: LabelledPhotograph, side: int | None) -> _Decoded:
    """Decode one photograph and its mask; what is impossible becomes a sentence in the findings."""
    revision = photograph.picture.revision()
    try:
        pixels = photograph.picture.read()
    except StorageError:  # the archive or disk is away, not this photograph damaged
        raise
    except DermCheckError as error:
        return _Decoded({revision: str(error)})
    picture = identify_picture(pixels)
    findings: dict[str, Identity | str] = {revision: picture}
    mask, content = None, ""
    if photograph.mask is not None:
        found, mask = _decode_mask(photograph.mask)
        findings[photograph.mask.revision()] = found
        content = _fit_content(picture, found)
    if side is None:
        return _Decoded(findings)
    square = square_mask(mask, side) if mask is not None and content else np.zeros((side, side), np.uint8)
    return _Decoded(findings, _key(picture.content, content), square_image(pixels, side), square)


def _decode_mask(source: MaskSource) -> tuple[Identity | str, LesionMask | None]:
    try:
        mask = source.read()
    except StorageError:
        raise
    except DermCheckError as error:
        return str(error), None
    return identify_mask(mask), mask


@dataclass(slots=True, eq=False)
class _Filler:
    """Writes squares that the cache lacks, block by block."""

    folder: Path
    side: int
    present: set[str]
    """Keys of all squares that were written or are about to be."""
    _waiting: list[_Decoded] = field(default_factory=list)

    def add(self, decoded: _Decoded) -> None:
        """Take a square, if there is one and it is new."""
        if decoded.image is not None and decoded.key not in self.present:
            self.present.add(decoded.key)
            self._waiting.append(decoded)

    def write(self) -> None:
        """Write what is waiting. Raises StorageError if the disk refuses."""
        per_block = max(1, _BLOCK_BYTES // (self.side**2 * 4))
        for start in range(0, len(self._waiting), per_block):
            part = self._waiting[start : start + per_block]
            images = np.stack([decoded.image for decoded in part if decoded.image is not None])
            masks = np.stack([decoded.mask for decoded in part if decoded.mask is not None])
            write_block(self.folder, [decoded.key for decoded in part], images, masks)
        self._waiting.clear()


def _check_space(folder: Path, needed: int) -> None:
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < needed + _RESERVE_BYTES:
        error = StorageError(
            f"{folder}: decoding needs {needed / 2**20:,.0f} MiB of disk and {_RESERVE_BYTES / 2**20:,.0f} "
            f"MiB in reserve, but {free / 2**20:,.0f} MiB are free. Free some space or name another cache "
            "folder."
        )
        error.errno = errno.ENOSPC
        raise error


def _mapped(data_set: DataSet, blocks: list[Block], problems: tuple[str, ...]) -> Photographs:
    """Describe the photographs, each with its place in the blocks."""
    where = {key: (b, r) for b, block in enumerate(blocks) for r, key in enumerate(block.keys)}
    keys = [_key(p.content, p.mask_content) for p in data_set.photographs]
    if lost := sum(key not in where for key in keys):
        raise StorageError(
            f"{lost} pictures disappeared from the picture cache while it was filled, or were damaged as "
            "soon as they were written. Check the disk, and start again."
        )
    known = data_set.photographs
    seen = np.array([p.central >= _LEAST_CENTRAL for p in known])
    if not seen.all():
        names = [p.image_id for p in known if p.central < _LEAST_CENTRAL]
        what = "Photographs with the lesion mostly outside the centred square that networks see; not used"
        problems = (*problems, counted(what, names))
    diagnosis = np.array([-1 if p.diagnosis is None else p.diagnosis for p in known], np.int64)
    return Photographs(
        image_id=np.array([p.image_id for p in known]),
        lesion_id=np.array([p.lesion for p in known]),
        group=np.array([p.group for p in known]),
        source=np.array([p.source for p in known]),
        diagnosis=np.where(seen, diagnosis, -1),
        fold=np.array([p.fold for p in known], np.int64),
        has_mask=np.array([p.mask is not None for p in known]) & seen,
        images=BlockRows(
            [block.images for block in blocks], np.array([where[key] for key in keys], np.int64)
        ),
        masks=BlockRows([block.masks for block in blocks], np.array([where[key] for key in keys], np.int64)),
        content=np.array([p.content for p in known]),
        age=np.array([np.nan if p.age is None else p.age for p in known], np.float64),
        sex=np.array([p.sex or "" for p in known]),
        site=np.array([p.site or "" for p in known]),
        device=np.array([p.device or "" for p in known]),
        problems=(*data_set.problems, *problems),
        fingerprint=data_set.fingerprint(),
    )
