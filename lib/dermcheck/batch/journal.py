"""What a batch has done so far: the memory by which it goes on after a power cut.

One SQLite file in the output folder, in WAL mode, so that `dermcheck batch --status` can read it while
a batch writes. A lock file beside it keeps a second batch away; the system lets go of it when the
process ends, however it ends, so that a killed batch leaves nothing behind that must be cleared away.

Every input has a row from the beginning (`Journal.take_inventory`). What is recorded is kept in memory
and committed in groups, about one a second, by a thread of its own. Before a group is committed, the result
files of its rows are written through to the disk, then their folders: whatever moment the power fails,
a row that says "predicted" has its files.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeAlias

from dermcheck.batch.discovery import Finding, InputFile, key_path, path_key
from dermcheck.batch.durability import write_through
from dermcheck.batch.inventory import Inventory, InventoryTaker
from dermcheck.batch.journal_file import FINISHED, JournalFile, Redo
from dermcheck.batch.names import comparable
from dermcheck.batch.outcomes import Failure, Prediction
from dermcheck.errors import StorageError

__all__ = ["Journal"]

_COMMIT_SECONDS: Final = 1.0
"""Work that a kill or a power cut may cost, and as much again that is being written."""
_MOST_PENDING: Final = 2000
"""Rows that wait to be committed before `record` waits for the disk."""
_ROWS_AT_ONCE: Final = 500

_RECORD: Final = """
INSERT INTO inputs (key, place, path, size, modified_ns, state, image, claim, result, reason, model, seconds,
    recorded_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET size = excluded.size, modified_ns = excluded.modified_ns,
    state = excluded.state, image = excluded.image, claim = excluded.claim, result = excluded.result,
    reason = excluded.reason, model = excluded.model, seconds = excluded.seconds,
    recorded_at = excluded.recorded_at, stored = NULL"""

_Row: TypeAlias = tuple[bytes | int | float | str | None, ...]


@dataclass
class _Pending:
    """What has been recorded and not committed yet."""

    rows: list[_Row] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


class Journal:
    """The record of one output folder, open in one process at a time.

    Use as a context manager: leaving it keeps all that was recorded, whatever the reason for leaving.
    Every method may be called from any thread.

    Parameters
    ----------
    output
        An existing folder.
    settings
        What every row depends on: ``INPUT``, models and so on. A folder is bound to those of its first batch.
    redo
        With ``changed`` or ``all``, other models than those of the earlier runs are no reason to refuse:
        what was predicted is then predicted again.

    Raises
    ------
    ArgumentError
        If another batch is working in `output`, or it was filled under other settings.
    StorageError
        From every method, if the disk is full or the file damaged. What was committed before is kept.
    """

    def __init__(self, output: Path, settings: Mapping[str, str], *, redo: Redo = "nothing") -> None:
        self._output = output
        self._redo = redo
        self._access = threading.RLock()
        self._pending = _Pending()
        self._claims: dict[str, bytes] = {}
        self._claim_of: dict[bytes, str] = {}
        self._writing: Future[None] | None = None
        self._committed_at = time.monotonic()
        self._file = JournalFile(output, settings, redo)
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="journal")

    @property
    def begun(self) -> datetime:
        """When these results were begun, by whichever run: the time that stands in DICOM results."""
        return self._file.begun

    @property
    def _database(self) -> sqlite3.Connection:
        return self._file.database

    def _in_words(self) -> AbstractContextManager[None]:
        return self._file.in_words()

    def __enter__(self) -> Journal:
        """Return the open journal."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what was recorded and let the next batch in."""
        try:
            self.commit()
        except StorageError:
            if not isinstance(error, StorageError):  # else it has been said already
                raise
        finally:
            self._committer.shutdown()
            self._file.close()

    # ---- what the input holds ----

    def take_inventory(
        self, findings: Iterable[Finding], has_all: Callable[[str], bool] = lambda image: True
    ) -> Inventory:
        """Give every input a row, and tell how it compares with what is known.

        Failures of earlier runs are tried again, as their cause may have been mended meanwhile. All or
        nothing is kept: if `findings` raises, the journal is as it was.

        Parameters
        ----------
        has_all
            Whether the wanted result files of an image are there; if not, it is predicted again.
        """
        self.commit()
        with self._access, self._in_words():
            return InventoryTaker(self._database, self._redo, has_all).take(findings)

    def waiting(self) -> Iterator[InputFile]:
        """Go through the files that are to be read, in input order; a few hundred are in memory at a time."""
        place = b""
        while True:
            with self._access, self._in_words():
                rows = self._database.execute(
                    "SELECT key, place, path, size, modified_ns FROM inputs"
                    " WHERE state = 'waiting' AND place > ? ORDER BY place LIMIT ?",
                    (place, _ROWS_AT_ONCE),
                ).fetchall()
            if not rows:
                return
            for key, place, path, size, modified_ns in rows:
                yield InputFile(Path(os.fsdecode(path)), key_path(key), size, modified_ns, place)

    def answers_again(self, file: InputFile, image: str) -> bool:
        """Tell whether a waiting file had this name, and by the same models the same answer, before."""
        with self._access, self._in_words():
            row = self._database.execute(
                "SELECT 1 FROM inputs WHERE key = ? AND state = 'waiting' AND image = ?"
                " AND size = ? AND modified_ns = ?",
                (file.key, image, file.size, file.modified_ns),
            ).fetchone()
        return row is not None

    # ---- names ----

    def holder(self, image: str, relative: Path) -> Path | None:
        """Find which other file already has this image name."""
        claim, key = comparable(image), path_key(relative)
        with self._access, self._in_words():
            held_by = self._claims.get(claim)
            if held_by is None:
                row = self._database.execute("SELECT key FROM inputs WHERE claim = ?", (claim,)).fetchone()
                held_by = row[0] if row else None
        return None if held_by is None or held_by == key else key_path(held_by)

    def _hold(self, key: bytes, claim: str | None) -> None:
        """Remember in memory which name a file has until the table does."""
        before = self._claim_of.pop(key, None)
        if before is not None and self._claims.get(before) == key:
            del self._claims[before]
        if claim is not None:
            self._claims[claim] = key
            self._claim_of[key] = claim

    # ---- results ----

    def prediction(self, file: InputFile) -> Prediction | None:
        """Find what an earlier run predicted for this very file (same path, size and time)."""
        if file.key in self._claim_of:
            self.commit()
        with self._access, self._in_words():
            row = self._database.execute(
                "SELECT image, result, model FROM inputs"
                " WHERE key = ? AND size = ? AND modified_ns = ? AND state = 'predicted'",
                (file.key, file.size, file.modified_ns),
            ).fetchone()
        return Prediction.from_json(*row) if row else None

    def record(
        self, file: InputFile, prediction: Prediction, *, seconds: float = 0.0, files: Sequence[Path] = ()
    ) -> None:
        """Keep the prediction for a file, in place of what was known of it.

        Parameters
        ----------
        seconds
            What it took.
        files
            Its result files, complete and in their places: they reach the disk before the row does.
        """
        self._put(
            file.relative,
            file,
            (
                "predicted",
                prediction.image,
                comparable(prediction.image),
                prediction.to_json(),
                None,
                prediction.model,
            ),
            seconds,
            files,
        )

    def record_failure(self, relative: Path, failure: Failure, *, seconds: float = 0.0) -> None:
        """Keep why there is no prediction for a path."""
        claim = comparable(failure.image) if failure.keeps_name else None
        self._put(relative, None, ("failed", failure.image, claim, None, failure.reason, None), seconds)

    def record_skip(self, file: InputFile, reason: str) -> None:
        """Keep that a file is passed over, so that it is not opened again as long as it stays as it is."""
        self._put(file.relative, file, ("skipped", None, None, None, reason, None), 0.0)

    def _put(
        self,
        relative: Path,
        file: InputFile | None,
        outcome: tuple[str, str | None, str | None, str | None, str | None, str | None],
        seconds: float,
        files: Sequence[Path] = (),
    ) -> None:
        key = path_key(relative)
        place = key if file is None or file.place is None else file.place
        path, size, modified_ns = (
            (os.fsencode(file.path), file.size, file.modified_ns) if file else (b"", None, None)
        )
        with self._access:
            self._hold(key, outcome[2])
            self._pending.rows.append((key, place, path, size, modified_ns, *outcome, seconds, time.time()))
            self._pending.files.extend(files)
            self._commit_when_due()

    def predictions(self) -> Iterator[Prediction]:
        """Go through all predictions in input order."""
        for image, result, model, _ in self._in_order("predicted", "image, result, model"):
            yield Prediction.from_json(image, result, model)

    def failures(self) -> Iterator[Failure]:
        """Go through all failures in input order."""
        for image, reason, _ in self._in_order("failed", "image, reason"):
            yield Failure(image, reason)

    def results(self) -> Iterator[tuple[Path, Prediction | Failure]]:
        """Go through predictions and failures in input order, each with the path of its input."""
        columns = "key, state, image, result, model, reason"
        for key, state, image, result, model, reason, _ in self._in_order("predicted", columns, "failed"):
            predicted = state == "predicted"
            yield (
                key_path(key),
                Prediction.from_json(image, result, model) if predicted else Failure(image, reason),
            )

    def _in_order(self, state: str, columns: str, other: str | None = None) -> Iterator[tuple[Any, ...]]:
        """Read rows of one or two states in pages, so that no statement stays open while others write."""
        self.commit()
        place = b""
        while True:
            with self._access, self._in_words():
                rows = self._database.execute(
                    f"SELECT {columns}, place FROM inputs WHERE state IN (?, ?) AND place > ?"  # noqa: S608
                    " ORDER BY place LIMIT ?",
                    (state, other or state, place, _ROWS_AT_ONCE),
                ).fetchall()
            if not rows:
                return
            yield from rows
            place = rows[-1][-1]

    def counts(self) -> Counter[str]:
        """Count the inputs by state."""
        self.commit()
        with self._access, self._in_words():
            return Counter(dict(self._database.execute("SELECT state, COUNT(*) FROM inputs GROUP BY state")))

    def mark_finished(self) -> None:
        """Keep that a run came to its end and wrote its tables; the next inventory forgets it."""
        self.commit()
        now = datetime.now().astimezone().isoformat()
        with self._access, self._in_words():
            self._database.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (FINISHED, now))

    # ---- stored in the archive ----

    def to_be_stored(self) -> Iterator[tuple[bytes, str]]:
        """Go through key and image name of what is predicted and not yet in the archive, in input order."""
        for key, image, stored, _ in self._in_order("predicted", "key, image, stored"):
            if stored is None:
                yield key, image

    def count_to_be_stored(self) -> int:
        """Count what `to_be_stored` goes through."""
        self.commit()
        with self._access, self._in_words():
            (count,) = self._database.execute(
                "SELECT COUNT(*) FROM inputs WHERE state = 'predicted' AND stored IS NULL"
            ).fetchone()
        return int(count)

    def mark_stored(self, key: bytes) -> None:
        """Keep that the results of an input are in the archive. Committed at once: it is not done twice."""
        with self._access, self._in_words():
            self._database.execute("UPDATE inputs SET stored = 'yes' WHERE key = ?", (key,))

    # ---- committing ----

    def commit(self) -> None:
        """Wait until all that was recorded is on the disk."""
        with self._access:
            writing, self._writing = self._writing, None
        if writing is not None:  # outside the lock: its thread needs it
            writing.result()
        with self._access:
            pending, self._pending = self._pending, _Pending()
            self._write(pending)
            self._committed_at = time.monotonic()

    def _commit_when_due(self) -> None:
        if time.monotonic() - self._committed_at < _COMMIT_SECONDS:
            return
        writing = self._writing
        if writing is not None and not writing.done():
            if len(self._pending.rows) >= _MOST_PENDING:
                self._wait_for_disk(writing)
            return
        if writing is not None:
            writing.result()  # raises what went wrong
        pending, self._pending = self._pending, _Pending()
        self._committed_at = time.monotonic()
        self._writing = self._committer.submit(self._write, pending)

    def _wait_for_disk(self, writing: Future[None]) -> None:
        """Wait with the lock released as often as it is held by this thread."""
        condition = threading.Condition(self._access)
        writing.add_done_callback(lambda done: _notify(condition))
        with condition:
            condition.wait_for(writing.done)

    def _write(self, pending: _Pending) -> None:
        """Write a group: files, then folders, then rows."""
        if not pending.rows:
            return
        write_through(pending.files, self._output)
        with self._access, self._in_words():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.executemany(_RECORD, pending.rows)
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
            for row in pending.rows:
                self._forget_claim(row)

    def _forget_claim(self, row: _Row) -> None:
        """Let the table answer for a name from now on, unless the file has been recorded anew."""
        key, claim = row[0], row[7]
        if isinstance(key, bytes) and self._claim_of.get(key) == claim:
            self._hold(key, None)


def _notify(condition: threading.Condition) -> None:
    with condition:
        condition.notify_all()
