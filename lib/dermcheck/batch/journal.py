"""What a batch has done so far: the memory by which it goes on after a power cut.

One SQLite file in the output folder. It is the lock as well: SQLite's exclusive lock lasts as long as
the process and no longer, so a killed batch leaves nothing behind that must be cleared away.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final

from dermcheck.batch.discovery import InputFile
from dermcheck.batch.names import JOURNAL_NAME, comparable
from dermcheck.dicom.files import file_name
from dermcheck.errors import ArgumentError, StorageError

__all__ = ["Failure", "Journal", "Prediction"]

_COMMIT_SECONDS: Final = 1.0
"""Work that a kill or a power cut may cost. Each commit waits some milliseconds for the disk."""

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # `position` sorts as the input is walked; `claim` is the form in which no two images' names are equal;
    # a row has either probabilities and remarks (JSON) or the reason why there are none.
    """CREATE TABLE IF NOT EXISTS images (
        position BLOB PRIMARY KEY, size INTEGER, modified_ns INTEGER,
        image TEXT NOT NULL, claim TEXT UNIQUE, probabilities TEXT, remarks TEXT, reason TEXT)
        WITHOUT ROWID""",
)
_RECORD: Final = """
INSERT INTO images (position, size, modified_ns, image, claim, probabilities, remarks, reason)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (position) DO UPDATE SET size = excluded.size, modified_ns = excluded.modified_ns,
    image = excluded.image, claim = excluded.claim, probabilities = excluded.probabilities,
    remarks = excluded.remarks, reason = excluded.reason"""


@dataclass(frozen=True)
class Prediction:
    """A photograph with its seven calibrated probabilities, keyed by class name."""

    image: str
    probabilities: Mapping[str, float]
    remarks: Mapping[str, str] = field(default_factory=dict)
    """Columns of the table of cautions, as they are written."""


@dataclass(frozen=True)
class Failure:
    """A photograph that could not be predicted, and why, in a sentence."""

    image: str
    reason: str
    keeps_name: bool = False
    """Whether no other image may be called so, as if this one had been predicted."""


class Journal:
    """The record of one output folder, open in one process at a time.

    Use as a context manager: leaving it keeps all that was recorded, whatever the reason for leaving.

    Parameters
    ----------
    output
        An existing folder.
    settings
        What every row depends on. A folder is bound to the settings of its first batch.

    Raises
    ------
    ArgumentError
        If another batch is working in `output`, or it was filled under other settings.
    StorageError
        From every method, if the disk is full or the file damaged.
    """

    def __init__(self, output: Path, settings: Mapping[str, str]) -> None:
        self._output = output
        with self._in_words():
            self._database = sqlite3.connect(output / JOURNAL_NAME, timeout=0, isolation_level=None)
        try:
            self._bind(settings)
        except BaseException:
            self._database.close()
            raise
        self._committed_at = time.monotonic()

    def _bind(self, settings: Mapping[str, str]) -> None:
        with self._in_words():
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("BEGIN EXCLUSIVE")
            for statement in _SCHEMA:
                self._database.execute(statement)
            bound = dict(self._database.execute("SELECT name, value FROM settings"))
            if not bound:
                self._database.executemany("INSERT INTO settings VALUES (?, ?)", settings.items())
        for name, value in settings.items():
            if bound and bound.get(name) != value:
                raise ArgumentError(
                    f"{file_name(self._output)}: the results in this folder were made with {name} "
                    f"{bound.get(name)}, not {value}. Choose another --output folder, or delete this one "
                    "to start anew."
                )
        self._commit()

    def __enter__(self) -> Journal:
        """Return the open journal."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what was recorded and let the next batch in."""
        try:
            self._commit()
        finally:
            self._database.close()

    def forget_gone(self, root: Path) -> None:
        """Prepare for a new walk: drop files that `root` no longer holds, and all failures.

        Failures are tried again in each run, as their cause may have been mended meanwhile.
        """
        with self._in_words():
            gone = [
                (position,)
                for (position,) in self._database.execute("SELECT position FROM images WHERE reason IS NULL")
                if not (root / _relative(position)).exists()
            ]
            self._begin()
            self._database.executemany("DELETE FROM images WHERE position = ?", gone)
            self._database.execute("DELETE FROM images WHERE reason IS NOT NULL")

    def prediction(self, file: InputFile) -> Prediction | None:
        """Find what an earlier run predicted for this very file (same path, size and time)."""
        with self._in_words():
            row = self._database.execute(
                "SELECT image, probabilities, remarks FROM images"
                " WHERE position = ? AND size = ? AND modified_ns = ? AND reason IS NULL",
                (_position(file.relative), file.size, file.modified_ns),
            ).fetchone()
        return Prediction(row[0], json.loads(row[1]), json.loads(row[2])) if row else None

    def holder(self, image: str, relative: Path) -> Path | None:
        """Find which other file already has this image name."""
        with self._in_words():
            row = self._database.execute(
                "SELECT position FROM images WHERE claim = ? AND position <> ?",
                (comparable(image), _position(relative)),
            ).fetchone()
        return _relative(row[0]) if row else None

    def record(self, file: InputFile, prediction: Prediction) -> None:
        """Keep the prediction for a file, in place of what was known of it."""
        self._put(
            _position(file.relative),
            file.size,
            file.modified_ns,
            prediction.image,
            comparable(prediction.image),
            json.dumps(dict(prediction.probabilities)),
            json.dumps(dict(prediction.remarks)),
            None,
        )

    def record_failure(self, relative: Path, failure: Failure) -> None:
        """Keep why there is no prediction for a path."""
        claim = comparable(failure.image) if failure.keeps_name else None
        self._put(_position(relative), None, None, failure.image, claim, None, None, failure.reason)

    def _put(self, *columns: bytes | int | str | None) -> None:
        with self._in_words():
            self._begin()
            self._database.execute(_RECORD, columns)
        if time.monotonic() - self._committed_at >= _COMMIT_SECONDS:
            self._commit()

    def predictions(self) -> Iterator[Prediction]:
        """Go through all predictions in input order."""
        with self._in_words():
            for image, probabilities, remarks in self._database.execute(
                "SELECT image, probabilities, remarks FROM images WHERE reason IS NULL ORDER BY position"
            ):
                yield Prediction(image, json.loads(probabilities), json.loads(remarks))

    def failures(self) -> Iterator[Failure]:
        """Go through all failures in input order."""
        with self._in_words():
            for image, reason in self._database.execute(
                "SELECT image, reason FROM images WHERE reason IS NOT NULL ORDER BY position"
            ):
                yield Failure(image, reason)

    def _begin(self) -> None:
        if not self._database.in_transaction:
            self._database.execute("BEGIN")

    def _commit(self) -> None:
        with self._in_words():
            if self._database.in_transaction:
                self._database.execute("COMMIT")
        self._committed_at = time.monotonic()

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """Turn SQLite's errors into sentences."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):  # error codes came with Python 3.11
                raise ArgumentError(
                    f"{file_name(self._output)}: another batch is writing into this folder. Wait until it "
                    "has finished, or choose another --output folder."
                ) from error
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


def _position(relative: Path) -> bytes:
    """Sort key of a path: a folder's content directly after names that begin like the folder.

    Bytes 0 cannot be in a name and sort first, so that these keys sort as `discovery.walk` walks.
    """
    return b"\0".join(os.fsencode(part) for part in relative.parts)


def _relative(position: bytes) -> Path:
    return Path(*(os.fsdecode(part) for part in position.split(b"\0")))
