"""Pictures and masks known by hashes of their pixels: kept on disk, so that each is decoded once for it."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from dermcheck.datastore.sqlite_cache import connected, discard_damaged
from dermcheck.dicom.pixels import RGBImage
from dermcheck.dicom.segments import LesionMask
from dermcheck.errors import StorageError
from dermcheck.lesions import CLASSES
from dermcheck.training.data.data_set import DataSet, LabelledPhotograph
from dermcheck.training.data.wording import counted

__all__ = [
    "Findings",
    "Identity",
    "IdentityIndex",
    "check_mask",
    "identify_mask",
    "identify_picture",
    "with_identities",
]

logger = logging.getLogger(__name__)

_TABLE: Final = "contents_1"
"""With the version of the hashes, raised whenever the same pixels would get another one."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a picture or mask is, without its pixels."""

    content: str
    """SHA-256 of size and pixels, in hexadecimal."""
    rows: int
    columns: int
    inside: float = 0.0
    """Part of a mask's pixels that is inside the lesion."""
    central: float = 1.0
    """Part of the lesion that is inside the largest centred square."""


Findings: TypeAlias = Mapping[str, Identity | str]
"""Revision of a picture or mask -> its identity, or the sentence that says why it cannot be decoded."""


def identify_picture(pixels: RGBImage) -> Identity:
    """Hash decoded pixels, (rows, columns, 3) uint8."""
    rows, columns = pixels.shape[:2]
    return Identity(_hash(rows, columns, np.ascontiguousarray(pixels).data), rows, columns)


def identify_mask(mask: LesionMask) -> Identity:
    """Hash a decoded mask, (rows, columns) bool."""
    rows, columns = mask.shape
    side, lesion = min(rows, columns), int(mask.sum())
    top, left = (rows - side) // 2, (columns - side) // 2
    central = int(mask[top : top + side, left : left + side].sum()) / max(lesion, 1)
    return Identity(_hash(rows, columns, np.packbits(mask).data), rows, columns, lesion / mask.size, central)


def _hash(rows: int, columns: int, content: memoryview) -> str:
    digest = hashlib.sha256(f"{rows} {columns} ".encode())
    digest.update(content)
    return digest.hexdigest()


class IdentityIndex:
    """The identities found so far, in one SQLite file; several processes may use it.

    It holds nothing that cannot be found again: a damaged file is begun anew.
    """

    def __init__(self, folder: Path) -> None:
        """Take the cache folder; it is made if missing. Raises StorageError if that is impossible."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{folder}: the folder of the picture cache cannot be made ({error.strerror}). Make it "
                "writable or name another one."
            ) from error
        self._path = folder / "identities.sqlite"

    def find(self, revisions: Iterable[str]) -> dict[str, Identity]:
        """Return what is known of these revisions."""
        found = {}
        try:
            with self._connection() as connection:
                for revision in revisions:
                    row = connection.execute(
                        f"SELECT content, rows, columns, inside, central FROM {_TABLE} WHERE revision = ?",  # noqa: S608
                        (_key(revision),),
                    ).fetchone()
                    if row is not None:
                        found[revision] = Identity(*row)
        except sqlite3.Error as error:
            discard_damaged(self._path, error)
        return found

    def add(self, findings: Findings) -> None:
        """Keep what was found."""
        rows = [
            (_key(revision), found.content, found.rows, found.columns, found.inside, found.central)
            for revision, found in findings.items()
            if isinstance(found, Identity)
        ]
        try:
            with self._connection() as connection:
                connection.executemany(f"INSERT OR REPLACE INTO {_TABLE} VALUES (?, ?, ?, ?, ?, ?)", rows)  # noqa: S608
        except sqlite3.Error as error:
            discard_damaged(self._path, error)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with connected(self._path) as connection:
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {_TABLE} "
                "(revision BLOB PRIMARY KEY, content TEXT, rows INTEGER, columns INTEGER, "
                "inside REAL, central REAL)"
            )
            yield connection


def _key(revision: str) -> bytes:
    """Keep no names of files."""
    return hashlib.sha256(os.fsencode(revision)).digest()


def check_mask(mask: Identity, picture: Identity) -> str | None:
    """Say what is wrong with a mask that cannot teach; None if it can."""
    if (mask.rows, mask.columns) != (picture.rows, picture.columns):
        return "of another size than their photograph"
    if mask.inside == 1:
        return "that are all foreground, which is no outline"
    if mask.inside == 0:
        return "that outline nothing"
    return None


def with_identities(data_set: DataSet, findings: Findings) -> DataSet:
    """Fill in the contents, leave out what cannot be decoded or cannot teach, and report all of it.

    Duplicates stay: on one side of the split they do no harm, and `assign_folds` keeps them on one.
    """
    kept: list[LabelledPhotograph] = []
    problems: list[str] = []
    unfit: dict[str, list[str]] = defaultdict(list)
    for photograph in data_set.photographs:
        changed = f"Photograph {photograph.image_id} changed while it was read."
        picture = findings.get(photograph.picture.revision(), changed)
        if isinstance(picture, str):
            problems.append(f"{picture} The photograph is left out.")
            continue
        mask = findings.get(photograph.mask.revision(), changed) if photograph.mask else None
        reason = check_mask(mask, picture) if isinstance(mask, Identity) else None
        if isinstance(mask, str):
            problems.append(f"{mask} Photograph {photograph.image_id} teaches no outline.")
        elif mask is not None and reason:
            size = f"mask {mask.columns} × {mask.rows}, photograph {picture.columns} × {picture.rows} pixels"
            unfit[reason].append(f"{photograph.image_id} ({size})")
        kept.append(_identified(photograph, picture, mask if reason is None else None))
    problems += [counted(f"Masks {reason}, not used", names) for reason, names in unfit.items()]
    problems += _duplicates(kept)
    known = dict.fromkeys((*data_set.problems, *problems))  # once each, if identified before
    return replace(data_set, photographs=tuple(kept), problems=tuple(known))


def _identified(
    photograph: LabelledPhotograph, picture: Identity, mask: Identity | str | None
) -> LabelledPhotograph:
    if not isinstance(mask, Identity):
        return replace(photograph, content=picture.content, mask=None, mask_content="", central=1.0)
    return replace(photograph, content=picture.content, mask_content=mask.content, central=mask.central)


def _duplicates(photographs: Iterable[LabelledPhotograph]) -> list[str]:
    alike: dict[str, list[LabelledPhotograph]] = defaultdict(list)
    for photograph in photographs:
        alike[photograph.content].append(photograph)
    several = [members for members in alike.values() if len(members) > 1]
    disputed = [members for members in several if len({member.diagnosis for member in members} - {None}) > 1]
    sentences = []
    if several:
        names = [" = ".join(member.image_id for member in members) for members in several]
        sentences.append(counted("Pictures that are there more than once, pixel by pixel", names))
    if disputed:
        names = [" = ".join(map(_with_diagnosis, members)) for members in disputed]
        sentences.append(
            counted("The same picture with several diagnoses, at least one of them wrong", names)
        )
    return sentences


def _with_diagnosis(photograph: LabelledPhotograph) -> str:
    name = "no diagnosis" if photograph.diagnosis is None else CLASSES[photograph.diagnosis]
    return f"{photograph.image_id} ({name})"
