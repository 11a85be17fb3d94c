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

import json
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, TypeAlias

from filelock import FileLock, Timeout

from dermcheck.batch.discovery import Finding, InputFile, Skipped, Unopened, key_path, path_key
from dermcheck.batch.durability import write_through
from dermcheck.batch.names import JOURNAL_NAME, LOCK_NAME, SCHEMA_VERSION, comparable
from dermcheck.dicom.files import file_name
from dermcheck.errors import ArgumentError, StorageError

__all__ = ["Failure", "Inventory", "Journal", "Prediction", "Redo"]

Redo: TypeAlias = Literal["nothing", "changed", "all"]
"""What is predicted again: nothing, what changed since (file or models), or everything."""

_COMMIT_SECONDS: Final = 1.0
"""Work that a kill or a power cut may cost, and as much again that is being written."""
_MOST_PENDING: Final = 2000
"""Rows that wait to be committed before `record` waits for the disk."""
_ROWS_AT_ONCE: Final = 500
_LOCK_PATIENCE_S: Final = 0.5
"""For `--status`, which takes the lock for a moment to see whether it is free."""
_INPUT: Final = "INPUT"
_BEGUN: Final = "begun"
_FINISHED: Final = "finished"

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
_FOUND: Final = """
INSERT INTO inputs (key, place, path, size, modified_ns, state, reason, image, seen)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET place = excluded.place, path = excluded.path, size = excluded.size,
    modified_ns = excluded.modified_ns, state = excluded.state, reason = excluded.reason,
    image = excluded.image, seen = excluded.seen, claim = NULL, result = NULL, model = NULL, seconds = NULL,
    recorded_at = NULL, stored = NULL"""
_SEEN: Final = "UPDATE inputs SET place = ?, path = ?, seen = ? WHERE key = ?"
_RECORD: Final = """
INSERT INTO inputs (key, place, path, size, modified_ns, state, image, claim, result, reason, model, seconds,
    recorded_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET size = excluded.size, modified_ns = excluded.modified_ns,
    state = excluded.state, image = excluded.image, claim = excluded.claim, result = excluded.result,
    reason = excluded.reason, model = excluded.model, seconds = excluded.seconds,
    recorded_at = excluded.recorded_at, stored = NULL"""
_FORGET_RESULTS: Final = """
UPDATE inputs SET state = 'waiting', image = NULL, claim = NULL, result = NULL, stored = NULL
WHERE state IN ('predicted', 'waiting')"""

_Row: TypeAlias = tuple[bytes | int | float | str | None, ...]


@dataclass(frozen=True)
class Prediction:
    """A photograph with its seven calibrated probabilities, keyed by class name."""

    image: str
    probabilities: Mapping[str, float]
    remarks: Mapping[str, str] = field(default_factory=dict)
    """Columns of the table of cautions, as they are written."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """The rest of the report, as JSON can hold it; see `batch.report`."""
    model: str = ""
    """SHA-256 of the weights that predicted, the classifier's and the outliner's."""


@dataclass(frozen=True)
class Failure:
    """A photograph that could not be predicted, and why, in a sentence."""

    image: str
    reason: str
    keeps_name: bool = False
    """Whether no other image may be called so, as if this one had been predicted."""


@dataclass
class Inventory:
    """What an input holds, compared with what is known of it."""

    found: int = 0
    """All findings, files of every kind."""
    waiting: int = 0
    """Files to be read in this run."""
    already: int = 0
    """Photographs predicted by an earlier run whose predictions are kept."""
    changed: int = 0
    """How many of these have changed since, so that their predictions are of an earlier picture."""
    first_changed: Path | None = None
    failed: int = 0
    """Folders and links that could not be opened."""
    skipped: Counter[str] = field(default_factory=Counter)
    """What is passed over, by reason."""
    gone: int = 0
    """Photographs predicted by an earlier run that are no longer there; they are forgotten."""


@dataclass(frozen=True)
class _Known:
    """What the table says of an input."""

    state: str
    reason: str | None
    image: str | None
    size: int | None
    modified_ns: int | None
    seen: int | None

    def is_of(self, file: InputFile) -> bool:
        """Tell whether a file is still the one that was read."""
        return (self.size, self.modified_ns) == (file.size, file.modified_ns)


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
        self._lock = FileLock(output / LOCK_NAME)
        self._acquire()
        try:
            self._database = self._open(settings)
        except BaseException:
            self._lock.release()
            raise
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="journal")

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
        with self._in_words():
            database = sqlite3.connect(
                self._output / JOURNAL_NAME, timeout=5, isolation_level=None, check_same_thread=False
            )
        try:
            with self._in_words():
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
        """When these results were begun, by whichever run: the time that stands in DICOM results."""

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
            self._database.close()
            self._lock.release()

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
        inventory = Inventory()
        self.commit()
        with self._access, self._in_words():
            (last,) = self._database.execute("SELECT MAX(seen) FROM inputs").fetchone()
            seen = (last or 0) + 1
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.execute("DELETE FROM settings WHERE name = ?", (_FINISHED,))
                for found in findings:
                    inventory.found += 1
                    self._take(found, seen, has_all, inventory)
                inventory.gone = self._forget_unseen(seen)
            except BaseException:
                if self._database.in_transaction:  # a full disk has ended it already
                    self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        return inventory

    def _forget_unseen(self, seen: int) -> int:
        """Remove what this inventory has not met, and count the photographs among it."""
        unseen = "(seen IS NULL OR seen <> ?)"
        (photographs,) = self._database.execute(
            f"SELECT COUNT(*) FROM inputs WHERE state = 'predicted' AND {unseen}",  # noqa: S608
            (seen,),
        ).fetchone()
        self._database.execute(f"DELETE FROM inputs WHERE {unseen}", (seen,))  # noqa: S608
        return int(photographs)

    def _take(self, found: Finding, seen: int, has_all: Callable[[str], bool], inventory: Inventory) -> None:
        key = path_key(found.relative)
        place = key if found.place is None else found.place
        known = self._known(key)
        if known is not None and known.seen == seen:
            inventory.skipped["listed twice"] += 1
        elif isinstance(found, Skipped):
            inventory.skipped[found.reason] += 1
            self._put_found(key, place, None, "skipped", found.reason, None, seen)
        elif isinstance(found, Unopened):
            inventory.failed += 1
            image = file_name(found.relative)
            self._put_found(key, place, None, "failed", found.reason, image, seen)
            self._keep_inside(key, seen, inventory)
        elif known is not None and self._keeps(found, known, has_all, inventory):
            self._database.execute(_SEEN, (place, os.fsencode(found.path), seen, key))
        else:
            inventory.waiting += 1
            earlier = known.image if known is not None and self._holds_still(found, known) else None
            self._put_found(key, place, found, "waiting", None, earlier, seen)

    def _known(self, key: bytes) -> _Known | None:
        row = self._database.execute(
            "SELECT state, reason, image, size, modified_ns, seen FROM inputs WHERE key = ?", (key,)
        ).fetchone()
        return None if row is None else _Known(*row)

    def _put_found(
        self,
        key: bytes,
        place: bytes,
        file: InputFile | None,
        state: str,
        reason: str | None,
        image: str | None,
        seen: int,
    ) -> None:
        path, size, modified_ns = (
            (os.fsencode(file.path), file.size, file.modified_ns) if file else (b"", None, None)
        )
        self._database.execute(_FOUND, (key, place, path, size, modified_ns, state, reason, image, seen))

    def _keep_inside(self, folder: bytes, seen: int, inventory: Inventory) -> None:
        """Keep what was predicted inside a folder that cannot be opened today: it is not gone."""
        first, after = (folder + b"\0", folder + b"\1") if folder else (b"\0", b"\xff" * 8)
        kept = self._database.execute(
            "UPDATE inputs SET seen = ? WHERE key >= ? AND key < ? AND state = 'predicted'",
            (seen, first, after),
        ).rowcount
        inventory.found += kept
        inventory.already += kept

    def _keeps(
        self, file: InputFile, known: _Known, has_all: Callable[[str], bool], inventory: Inventory
    ) -> bool:
        """Tell whether a file is left as an earlier run left it, and count it."""
        if self._redo == "all":
            return False
        same = known.is_of(file)
        if known.state == "skipped" and same:
            inventory.skipped[known.reason or ""] += 1
            return True
        if known.state != "predicted" or not has_all(known.image or ""):
            return False
        if not same and self._redo == "changed":
            return False
        inventory.already += 1
        if not same:
            inventory.changed += 1
            inventory.first_changed = inventory.first_changed or file.relative
        return True

    def _holds_still(self, file: InputFile, known: _Known) -> bool:
        """Tell whether a file that is predicted again must get the answer it had, and only lacks files."""
        return self._redo != "all" and known.state in ("predicted", "waiting") and known.is_of(file)

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
        return _prediction(*row) if row else None

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
        result = json.dumps(
            {
                "probabilities": dict(prediction.probabilities),
                "remarks": dict(prediction.remarks),
                "details": dict(prediction.details),
            },
            separators=(",", ":"),
        )
        self._put(
            file.relative,
            file,
            ("predicted", prediction.image, comparable(prediction.image), result, None, prediction.model),
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
            yield _prediction(image, result, model)

    def failures(self) -> Iterator[Failure]:
        """Go through all failures in input order."""
        for image, reason, _ in self._in_order("failed", "image, reason"):
            yield Failure(image, reason)

    def results(self) -> Iterator[tuple[Path, Prediction | Failure]]:
        """Go through predictions and failures in input order, each with the path of its input."""
        columns = "key, state, image, result, model, reason"
        for key, state, image, result, model, reason, _ in self._in_order("predicted", columns, "failed"):
            outcome = _prediction(image, result, model) if state == "predicted" else Failure(image, reason)
            yield key_path(key), outcome

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
            self._database.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (_FINISHED, now))

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

    @contextmanager
    def _in_words(self) -> Iterator[None]:
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


def _prediction(image: str, result: str, model: str | None) -> Prediction:
    known = json.loads(result)
    return Prediction(image, known["probabilities"], known["remarks"], known["details"], model or "")


def _notify(condition: threading.Condition) -> None:
    with condition:
        condition.notify_all()
