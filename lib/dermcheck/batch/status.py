"""How far a batch has come, told by its output folder alone: no models, no torch, and while it runs."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from dermcheck.batch.names import JOURNAL_NAME, LOCK_NAME, SCHEMA_VERSION
from dermcheck.dicom.files import file_name
from dermcheck.errors import ArgumentError, NotFoundError, StorageError

__all__ = ["BatchStatus", "read_status"]

_RECENT_S: Final = 120.0
"""Over how long speed is measured: now, not on the average since yesterday."""
_OWN_SETTINGS: Final = ("begun", "finished")


@dataclass(frozen=True)
class BatchStatus:
    """What a journal says."""

    output: Path
    is_running: bool
    """Whether a batch is at work in the folder at this moment."""
    is_finished: bool
    """Whether the last run came to its end and wrote the tables."""
    made_with: Mapping[str, str]
    """Input, models and what else the results depend on."""
    begun: datetime
    predicted: int
    failed: int
    waiting: int
    skipped: Mapping[str, int]
    """Passed over, by reason."""
    stored: int
    """How many photographs have SEG and SR in the archive."""
    work_seconds: float
    """Sum over all photographs of the time spent on each."""
    last_recorded: datetime | None
    images_per_second: float | None
    """In the last two minutes of work; None if there was too little."""
    first_failures: tuple[str, ...]

    @property
    def found(self) -> int:
        """All inputs."""
        return self.predicted + self.failed + self.waiting + sum(self.skipped.values())

    @property
    def seconds_left(self) -> float | None:
        """At the present speed."""
        return self.waiting / self.images_per_second if self.images_per_second else None

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON can hold it."""
        return {
            "output": file_name(self.output),
            "running": self.is_running,
            "finished": self.is_finished,
            "made_with": dict(self.made_with),
            "begun": self.begun.isoformat(timespec="seconds"),
            "found": self.found,
            "predicted": self.predicted,
            "failures": self.failed,
            "waiting": self.waiting,
            "skipped": dict(self.skipped),
            "stored_in_archive": self.stored,
            "work_seconds": round(self.work_seconds, 3),
            "last_recorded": self.last_recorded.isoformat(timespec="seconds") if self.last_recorded else None,
            "images_per_second": None if self.images_per_second is None else round(self.images_per_second, 3),
            "seconds_left": None if self.seconds_left is None else round(self.seconds_left),
        }

    def in_words(self) -> str:
        """Give it as sentences."""
        state = "is running" if self.is_running else "is finished" if self.is_finished else "has stopped"
        counts = (
            f"{self.predicted} predicted, {self.failed} failed, {self.waiting} to do, "
            f"{sum(self.skipped.values())} skipped, of {self.found} found"
        )
        lines = [
            f"The batch in {file_name(self.output)} {state}: {counts}.",
            *(f"  {name}: {value}" for name, value in self.made_with.items()),
            f"  begun: {self.begun:%Y-%m-%d %H:%M}",
        ]
        if self.last_recorded:
            lines.append(f"  last result: {self.last_recorded:%Y-%m-%d %H:%M:%S}")
        if self.images_per_second:
            lines.append(f"  speed: {self.images_per_second:.1f} images/s")
        if self.is_running and self.seconds_left:
            lines.append(f"  time left: about {_duration(self.seconds_left)}")
        if self.stored:
            lines.append(f"  stored in the archive: results of {self.stored} photographs")
        lines += [f"  failure: {reason}" for reason in self.first_failures]
        if not self.is_running and not self.is_finished:
            lines.append("Run the same command again: it goes on where it stopped.")
        return "\n".join(lines)


def read_status(output: Path) -> BatchStatus:
    """Read the state of a batch.

    Raises
    ------
    NotFoundError
        If no batch was ever begun in the folder.
    ArgumentError
        If its journal was made by another version of DermCheck.
    StorageError
        If it cannot be read.
    """
    journal = output / JOURNAL_NAME
    if not journal.is_file():
        raise NotFoundError(f"{file_name(output)}: no batch was begun in this folder. Check --output.")
    try:
        with closing(sqlite3.connect(_address(journal), uri=True, timeout=5)) as opened:
            return _read(opened, output)
    except sqlite3.DatabaseError as error:
        raise StorageError(
            f"{file_name(journal)}: the record of this folder cannot be read ({error})."
        ) from error


def _address(journal: Path) -> str:
    """Say how to open a journal for reading.

    SQLite writes beside a file in WAL mode even to read it. Where that is forbidden (a CD, a snapshot), it
    may take the file as it is, unless something is left in the log.
    """
    log = journal.with_name(f"{journal.name}-wal")
    as_it_is = not os.access(journal.parent, os.W_OK) and not log.exists()
    return f"{journal.absolute().as_uri()}?mode=ro{'&immutable=1' if as_it_is else ''}"


def _read(database: sqlite3.Connection, output: Path) -> BatchStatus:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        raise ArgumentError(
            f"{file_name(output)}: the record of this folder was made by another version of DermCheck (form "
            f"{version}, expected {SCHEMA_VERSION})."
        )
    database.execute("BEGIN")  # all that follows is of one moment
    settings = dict(database.execute("SELECT name, value FROM settings"))
    counts = dict(database.execute("SELECT state, COUNT(*) FROM inputs GROUP BY state"))
    skipped = database.execute(
        "SELECT reason, COUNT(*) FROM inputs WHERE state = 'skipped' GROUP BY reason ORDER BY reason"
    )
    stored, seconds, last = database.execute(
        "SELECT COUNT(stored), TOTAL(seconds), MAX(recorded_at) FROM inputs"
    ).fetchone()
    failures = database.execute("SELECT reason FROM inputs WHERE state = 'failed' ORDER BY place LIMIT 3")
    return BatchStatus(
        output=output,
        is_running=_is_locked(output),
        is_finished="finished" in settings,
        made_with={name: value for name, value in settings.items() if name not in _OWN_SETTINGS},
        begun=datetime.fromisoformat(settings["begun"]),
        predicted=counts.get("predicted", 0),
        failed=counts.get("failed", 0),
        waiting=counts.get("waiting", 0),
        skipped=dict(skipped),
        stored=stored,
        work_seconds=seconds,
        last_recorded=datetime.fromtimestamp(last).astimezone() if last else None,
        images_per_second=_speed(database, last),
        first_failures=tuple(reason for (reason,) in failures),
    )


def _speed(database: sqlite3.Connection, last: float | None) -> float | None:
    """Measure over the last two minutes before the last result."""
    if last is None:
        return None
    count, first = database.execute(
        "SELECT COUNT(*), MIN(recorded_at) FROM inputs WHERE state = 'predicted' AND recorded_at >= ?",
        (last - _RECENT_S,),
    ).fetchone()
    until = min(time.time(), last)
    return (count - 1) / (until - first) if count > 1 and until > first else None


def _is_locked(output: Path) -> bool:
    lock = FileLock(output / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # a folder that only its owner may write into: nobody else is told
        return False
    lock.release()
    return False


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{round(seconds)} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
