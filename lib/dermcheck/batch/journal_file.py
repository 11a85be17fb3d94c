"""The file behind the journal of a batch: its lock, its tables, and the settings that it is bound to."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, TypeAlias

from filelock import FileLock, Timeout

from dermcheck.batch.names import JOURNAL_NAME, LOCK_NAME, SCHEMA_VERSION
from dermcheck.dicom.files import file_name
from dermcheck.errors import ArgumentError, StorageError

__all__ = ["FINISHED", "JournalFile", "Redo"]

Redo: TypeAlias = Literal["nothing", "changed", "all"]
"""What is predicted again: nothing, what changed since (file or models), or everything."""

FINISHED: Final = "finished"
"""Name of the setting that tells when a run came to its end; absent while one is under way."""
_INPUT: Final = "INPUT"
_BEGUN: Final = "begun"
_LOCK_PATIENCE_S: Final = 0.5
"""For `--status`, which takes the lock for a moment to see whether it is free."""

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # `key` names the input, `place` sorts it, `path` is where to open it; size and time are those of the
    # version that was read. `claim` is the form in which no two images' names are equal. `result` is JSON.
    # A waiting row has an image if an earlier answer holds and only result files are missing.
    # `stored` tells whether SEG and SR are in the archive, `seen` which inventory found the row.
    """CREATE TABLE IF NOT EXISTS inputs (
        key BLOB PRIMARY KEY, place BLOB NOT NULL, path BLOB NOT NULL, size INTEGER, modified_ns INTEGER,
        state TEXT NOT NULL CHECK (state IN ('waiting', 'predicted', 'failed', 'skipped')),
        image TEXT, claim TEXT UNIQUE, result TEXT, reason TEXT, model TEXT, seconds REAL, recorded_at REAL,
        stored TEXT, seen INTEGER)""",
    "CREATE INDEX IF NOT EXISTS inputs_in_order ON inputs (state, place)",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
_FORGET_RESULTS: Final = """
UPDATE inputs SET state = 'waiting', image = NULL, claim = NULL, result = NULL, stored = NULL
WHERE state IN ('predicted', 'waiting')"""


class JournalFile:
    """One open file, locked against other batches; parameters and errors are those of `Journal`.

    Attributes
    ----------
    database
        In autocommit mode. Its user keeps threads apart and wraps each use in `in_words`.
    begun
        When these results were begun, by whichever run: the time that stands in DICOM results.
    """

    begun: datetime

    def __init__(self, output: Path, settings: Mapping[str, str], redo: Redo) -> None:
        self._output = output
        self._redo = redo
        self._lock = FileLock(output / LOCK_NAME)
        self._acquire()
        try:
            self.database = self._open(settings)
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        """Close the file and let the next batch in."""
        self.database.close()
        self._lock.release()

    def _acquire(self) -> None:
        try:
            self._lock.acquire(timeout=_LOCK_PATIENCE_S)
        except Timeout as error:
            raise ArgumentError(
                f"{file_name(self._output)}: another batch is writing into this folder. Wait until it "
                "has finished, or choose another --output folder."
            ) from error
        except (OSError, NotImplementedError) as error:
            raise StorageError(
                f"{file_name(self._output / LOCK_NAME)}: the folder cannot be locked "
                f"({getattr(error, 'strerror', None) or error}). Give write permission, or choose an "
                "--output folder on a disk of this computer."
            ) from error

    def _open(self, settings: Mapping[str, str]) -> sqlite3.Connection:
        with self.in_words():
            database = sqlite3.connect(
                self._output / JOURNAL_NAME, timeout=5, isolation_level=None, check_same_thread=False
            )
        try:
            with self.in_words():
                self._refuse_other_form(database)
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
                database.execute("BEGIN IMMEDIATE")
                for statement in _SCHEMA:
                    database.execute(statement)
                self._bind(database, settings)
                database.execute("COMMIT")
        except BaseException:
            database.close()
            raise
        return database

    def _refuse_other_form(self, database: sqlite3.Connection) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (tables,) = database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if tables and version != SCHEMA_VERSION:
            age = "an earlier" if version < SCHEMA_VERSION else "a later"
            raise ArgumentError(
                f"{file_name(self._output)}: the record of this folder was made by {age} version of "
                f"DermCheck (form {version}, expected {SCHEMA_VERSION}). The results in it stay as they are; "
                "choose another --output folder, or delete this one to start anew."
            )

    def _bind(self, database: sqlite3.Connection, settings: Mapping[str, str]) -> None:
        """Bind a new folder to its settings, an old one to other models only on wish."""
        bound = dict(database.execute("SELECT name, value FROM settings"))
        other = [name for name, value in settings.items() if bound and bound.get(name) != value]
        if other and (self._redo == "nothing" or _INPUT in other):
            raise ArgumentError(self._refusal(database, other[0], bound.get(other[0]), settings[other[0]]))
        if other or not bound:
            database.executemany(
                "INSERT INTO settings VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                settings.items(),
            )
        if other:
            database.execute(_FORGET_RESULTS)
        if other or not bound or self._redo == "all":
            now = datetime.now().astimezone().isoformat()
            database.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (_BEGUN, now))
        (begun,) = database.execute("SELECT value FROM settings WHERE name = ?", (_BEGUN,)).fetchone()
        self.begun = datetime.fromisoformat(begun)

    def _refusal(self, database: sqlite3.Connection, name: str, before: str | None, now: str) -> str:
        sentence = (
            f"{file_name(self._output)}: the results in this folder were made with {name} {before}, "
            f"not {now}. "
        )
        if name == _INPUT:
            return sentence + "Choose another --output folder, or delete this one to start anew."
        (count,) = database.execute("SELECT COUNT(*) FROM inputs WHERE state = 'predicted'").fetchone()
        return (
            f"{sentence}Choose another --output folder, or predict its {count} photographs again with "
            "--redo changed."
        )

    @contextmanager
    def in_words(self) -> Iterator[None]:
        """Turn SQLite's errors into sentences."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"{file_name(self._output / JOURNAL_NAME)}: the progress cannot be saved ({error}). Make "
                "room or give write permission, then run the same command again: it goes on where it stopped."
            ) from error
        except sqlite3.IntegrityError:  # a bug: names are checked before they are recorded
            raise
        except sqlite3.DatabaseError as error:
            raise StorageError(
                f"{file_name(self._output / JOURNAL_NAME)}: the record of this folder is damaged ({error}). "
                "Choose another --output folder, or delete this one to start anew."
            ) from error
