"""What was read from a studies folder's files, kept between starts in one SQLite file.

Only a cache: any fault of it (damaged, of another version, unwritable disk) costs a re-reading of the
studies, never a study.
"""

import dataclasses
import json
import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from dermcheck.datastore.folder_walk import Stamp
from dermcheck.datastore.instances import Instance, StoredLabel
from dermcheck.datastore.search_attributes import SEARCH_KEYWORDS
from dermcheck.datastore.sqlite_cache import connected, discard_damaged
from dermcheck.dicom.header import PhotographHeader

__all__ = ["IndexCache", "IndexedFile"]

_FIELDS: Final = (
    *(field.name for kind in (Instance, PhotographHeader, StoredLabel) for field in dataclasses.fields(kind)),
    *SEARCH_KEYWORDS,
)
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS files "
    "(key BLOB PRIMARY KEY, size INTEGER, modified_ns INTEGER, changed_ns INTEGER, content TEXT)"
)


class IndexedFile(NamedTuple):
    """What one file held when it was read."""

    stamp: Stamp
    instance: Instance | None
    problem: str | None
    """Why it holds no instance, in words."""


class IndexCache:
    """The SQLite file.

    Parameters
    ----------
    path
        Where it is or shall be.
    version
        Of what is read and how: raise it when equal files would be described differently. What
        another version kept is forgotten.
    """

    def __init__(self, path: Path, version: int) -> None:
        # The fields' names take part, so that a changed data class cannot be forgotten here.
        self._signature = f"{version} {' '.join(_FIELDS)}"
        self._path = path

    def load(self) -> dict[str, IndexedFile]:
        """Return all that was kept, by key; nothing where the cache is absent or unusable."""
        try:
            with self._connection() as connection:
                rows = connection.execute("SELECT * FROM files").fetchall()
            return {os.fsdecode(row[0]): _decode(Stamp(*row[1:4]), row[4]) for row in rows}
        except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
            discard_damaged(self._path, error)
            return {}

    def save(self, changed: Mapping[str, IndexedFile], removed: Iterable[str]) -> None:
        """Keep what was read and forget what is gone. A failure is logged: the work goes on without."""
        rows = [(os.fsencode(key), *file.stamp, _encode(file)) for key, file in changed.items()]
        try:
            with self._connection() as connection:
                connection.executemany(
                    "DELETE FROM files WHERE key = ?", [(os.fsencode(key),) for key in removed]
                )
                connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            discard_damaged(self._path, error)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with connected(self._path) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS signature (text TEXT)")
            if not self._is_ours(connection):
                connection.execute("BEGIN IMMEDIATE")
                if not self._is_ours(connection):  # nobody else made it ours while this one waited
                    connection.execute("DROP TABLE IF EXISTS files")
                    connection.execute("DELETE FROM signature")
                    connection.execute("INSERT INTO signature VALUES (?)", (self._signature,))
            connection.execute(_TABLE)
            yield connection

    def _is_ours(self, connection: sqlite3.Connection) -> bool:
        return connection.execute("SELECT text FROM signature").fetchall() == [(self._signature,)]


def _encode(file: IndexedFile) -> str:
    return json.dumps({"instance": file.instance, "problem": file.problem}, default=_plain)


def _plain(value: object) -> object:
    """Turn what JSON does not know into what it does."""
    if isinstance(value, datetime):
        return value.isoformat()
    # By hand, as `asdict` copies deeply and takes longer than all the rest.
    return {name: getattr(value, name) for name in type(value).__dataclass_fields__}  # type: ignore[attr-defined]


def _decode(stamp: Stamp, content: str) -> IndexedFile:
    values: dict[str, Any] = json.loads(content)
    fields = values["instance"]
    if fields is None:
        return IndexedFile(stamp, None, values["problem"])
    header, label, texts = fields.pop("header"), fields.pop("label"), fields.pop("texts")
    return IndexedFile(
        stamp,
        Instance(
            **fields,
            header=_decode_header(header) if header else None,
            label=_decode_label(label) if label else None,
            texts=tuple(map(sys.intern, texts)),
        ),
        None,
    )


def _decode_header(fields: dict[str, Any]) -> PhotographHeader:
    acquired, spacing = fields.pop("acquired"), fields.pop("pixel_spacing_mm")
    return PhotographHeader(
        **fields,
        acquired=datetime.fromisoformat(acquired) if acquired else None,
        pixel_spacing_mm=(spacing[0], spacing[1]) if spacing else None,
    )


def _decode_label(fields: dict[str, Any]) -> StoredLabel:
    return StoredLabel(**{**fields, "created": datetime.fromisoformat(fields["created"])})
