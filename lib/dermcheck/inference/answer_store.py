"""Answers given before, kept on the disk from one run to the next, found by what they depend on.

It is a cache: it may be deleted at any time, is bounded, and whatever is wrong with it costs time, never an
answer. Any number of processes share one. Kept are digests and answers alone: no photograph, no file's name,
no identifier of a patient; a key cannot be turned back into what it was made of.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

__all__ = ["AnswerStore"]

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_MOST_BYTES: Final = 512 << 20
"""An answer takes two or three kilobytes (24 megapixels: some 35), so these are some 200,000 photographs."""
_LET_GO: Final = 10
"""One in so many is forgotten when there are too many, those that were asked for the longest ago first."""
_PENDING_ROWS: Final = 64
_PENDING_SECONDS: Final = 2.0
_PATIENCE_S: Final = 2.0
"""For another process that is writing."""
_CHECK_BYTES: Final = 16
_SECONDS_A_DAY: Final = 86400
_NAME: Final = "answers-1.sqlite"
"""With the number of its form."""
_SCHEMA: Final = (
    # `used` is the day on which it was last asked for: written once a day, not with each answer.
    """CREATE TABLE IF NOT EXISTS answers
        (key BLOB NOT NULL UNIQUE, used INTEGER NOT NULL, value BLOB NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS answers_by_age ON answers (used)",
)
_PUT: Final = """
INSERT INTO answers (key, used, value) VALUES (?, ?, ?)
ON CONFLICT (key) DO UPDATE SET used = excluded.used, value = excluded.value"""


class AnswerStore:
    """A table from keys to values. Any thread may use it. Use as a context manager.

    Parameters
    ----------
    folder
        Made when needed, readable by its owner alone.
    most_bytes
        About how large it may become.
    """

    def __init__(self, folder: Path, most_bytes: int = _MOST_BYTES) -> None:
        self._path = folder / _NAME
        self._most_bytes = most_bytes
        self._access = threading.Lock()
        self._pending: dict[bytes, bytes] = {}
        self._used: set[bytes] = set()
        self._written_at = time.monotonic()
        self._day = int(time.time() // _SECONDS_A_DAY)
        self._database: sqlite3.Connection | None = None
        self._is_off = self._was_damaged = False

    def __enter__(self) -> AnswerStore:
        """Return the store."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what has not been written yet."""
        self.close()

    def get(self, key: bytes) -> bytes | None:
        """Return the value that was kept under a key."""
        with self._access:
            if key in self._pending:
                return self._pending[key]
            row = self._attempt(lambda: self._row(key))
            if row is None:
                return None
            used, value = row
            content = value[_CHECK_BYTES:]
            if value[:_CHECK_BYTES] != _check(key, content):
                logger.warning("%s: an answer in it is damaged and is computed anew", self._path)
                return None
            if used != self._day:
                self._used.add(key)
                self._write_when_due()
            return content

    def put(self, key: bytes, value: bytes) -> None:
        """Keep a value; it is on the disk a moment later, or when the store is closed."""
        with self._access:
            if not self._is_off:
                self._pending[key] = value
                self._write_when_due()

    def close(self) -> None:
        """Write what has not been written yet, and close the file."""
        with self._access:
            if self._pending or self._used:
                self._attempt(self._write)
            self._close()

    def _row(self, key: bytes) -> tuple[int, bytes] | None:
        assert self._database is not None  # noqa: S101  # for mypy: `_attempt` has opened it
        found: tuple[int, bytes] | None = self._database.execute(
            "SELECT used, value FROM answers WHERE key = ?", (key,)
        ).fetchone()
        return found

    def _write_when_due(self) -> None:
        rows = len(self._pending) + len(self._used)
        if rows >= _PENDING_ROWS or time.monotonic() - self._written_at > _PENDING_SECONDS:
            self._attempt(self._write)

    def _write(self) -> None:
        assert self._database is not None  # noqa: S101  # for mypy
        self._written_at = time.monotonic()
        pending, self._pending = self._pending, {}
        used, self._used = self._used, set()
        if not pending and not used:
            return
        with self._database:  # one transaction
            rows = ((key, self._day, _check(key, value) + value) for key, value in pending.items())
            self._database.executemany(_PUT, rows)
            days = ((self._day, key) for key in used)
            self._database.executemany("UPDATE answers SET used = ? WHERE key = ?", days)
            while self._bytes() > self._most_bytes and self._let_go():
                pass

    def _bytes(self) -> int:
        pages, free = self._number("PRAGMA page_count"), self._number("PRAGMA freelist_count")
        return (pages - free) * self._number("PRAGMA page_size")

    def _let_go(self) -> bool:
        """Forget some; returns whether there were any."""
        assert self._database is not None  # noqa: S101  # for mypy
        count = self._number("SELECT COUNT(*) FROM answers")
        self._database.execute(
            "DELETE FROM answers WHERE rowid IN (SELECT rowid FROM answers ORDER BY used, rowid LIMIT ?)",
            (-(-count // _LET_GO),),
        )
        return count > 0

    def _number(self, query: str) -> int:
        assert self._database is not None  # noqa: S101  # for mypy
        (number,) = self._database.execute(query).fetchone()
        return int(number)

    def _attempt(self, work: Callable[[], _Result]) -> _Result | None:
        """Do something with the file; what goes wrong is told once, and done without."""
        if self._is_off:
            return None
        try:
            if self._database is None:
                self._database = self._open()
            return work()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):  # else only for a moment, by another process
                self._switch_off(str(error))
        except sqlite3.DatabaseError as error:
            self._begin_anew(str(error))
        except OSError as error:
            self._switch_off(error.strerror or str(error))
        return None

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = sqlite3.connect(self._path, timeout=_PATIENCE_S, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last answers
            with database:
                for statement in _SCHEMA:
                    database.execute(statement)
        except BaseException:
            database.close()
            raise
        return database

    def _begin_anew(self, reason: str) -> None:
        """Remove a damaged file, once: the next use makes a new one."""
        self._close()
        if self._was_damaged:
            self._switch_off(reason)
            return
        logger.warning("%s is damaged (%s) and is begun anew", self._path, reason)
        self._was_damaged = True
        try:
            for ending in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
        except OSError as error:  # Windows, while another process has it open
            self._switch_off(error.strerror or str(error))

    def _switch_off(self, reason: str) -> None:
        logger.warning("%s cannot be used (%s): pictures met before are computed again", self._path, reason)
        self._is_off = True
        self._pending, self._used = {}, set()
        self._close()

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _check(key: bytes, value: bytes) -> bytes:
    """Give what tells a damaged value, or one of another key."""
    return hashlib.blake2b(value, key=key[:64], digest_size=_CHECK_BYTES).digest()
