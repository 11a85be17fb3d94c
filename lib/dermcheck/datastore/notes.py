"""Notes about images and labels that DICOM has no place for, kept in one SQLite file.

What clients remember here (which image was offered when, scores, names of uploads) can be lost
without losing anything a clinician made: a damaged file is replaced by an empty one.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from dermcheck.datastore.sqlite_cache import connected, discard_damaged

__all__ = ["Note", "Notes"]

Note: TypeAlias = dict[str, Any]
"""What JSON can hold."""


class Notes:
    """One note for each subject, e.g. an instance; thread-safe, reading from memory.

    Parameters
    ----------
    path
        The SQLite file; made if absent.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._notes: dict[str, Note] = {}
        try:
            with self._connection() as connection:
                rows = connection.execute("SELECT * FROM notes").fetchall()
            self._notes = {subject: json.loads(text) for subject, text in rows}
        except (sqlite3.Error, ValueError) as error:
            discard_damaged(path, error)

    def get(self, subject: str) -> Note:
        """Return the note on a subject, empty if there is none. The caller must not change it."""
        return self._notes.get(subject, {})

    def update(self, subject: str, note: Note) -> None:
        """Add to the note on a subject; equal keys are replaced.

        Raises
        ------
        TypeError
            If JSON cannot hold it.
        """
        text = json.dumps(note)
        with self._lock:
            self._notes[subject] = {**self.get(subject), **json.loads(text)}
            try:
                with self._connection() as connection:
                    self._notes[subject] = _merge(connection, subject, note)
            except (sqlite3.Error, ValueError) as error:
                discard_damaged(self._path, error)  # kept in memory

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with connected(self._path) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS notes (subject TEXT PRIMARY KEY, text TEXT)")
            yield connection


def _merge(connection: sqlite3.Connection, subject: str, note: Note) -> Note:
    """Add to what is in the file, which another process may have written since."""
    connection.execute("BEGIN IMMEDIATE")
    row = connection.execute("SELECT text FROM notes WHERE subject = ?", (subject,)).fetchone()
    merged: Note = {**(json.loads(row[0]) if row else {}), **note}
    connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (subject, json.dumps(merged)))
    return merged
