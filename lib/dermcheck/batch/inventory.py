"""Compares what the input of a batch holds with what its journal knows, and gives every input a row."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dermcheck.batch.discovery import Finding, InputFile, Skipped, Unopened, path_key
from dermcheck.batch.journal_file import FINISHED, Redo
from dermcheck.dicom.files import file_name

__all__ = ["Inventory", "InventoryTaker"]

_FOUND: Final = """
INSERT INTO inputs (key, place, path, size, modified_ns, state, reason, image, seen)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET place = excluded.place, path = excluded.path, size = excluded.size,
    modified_ns = excluded.modified_ns, state = excluded.state, reason = excluded.reason,
    image = excluded.image, seen = excluded.seen, claim = NULL, result = NULL, model = NULL, seconds = NULL,
    recorded_at = NULL, stored = NULL"""
_SEEN: Final = "UPDATE inputs SET place = ?, path = ?, seen = ? WHERE key = ?"


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


class InventoryTaker:
    """Takes one inventory, in a transaction of its own.

    Parameters
    ----------
    database
        Of a `JournalFile`. Nobody else may use it meanwhile.
    redo
        What is predicted again although it has been predicted.
    has_all
        Whether the wanted result files of an image are there; if not, it is predicted again.
    """

    def __init__(self, database: sqlite3.Connection, redo: Redo, has_all: Callable[[str], bool]) -> None:
        self._database, self._redo, self._has_all = database, redo, has_all
        self._inventory = Inventory()
        (last,) = database.execute("SELECT MAX(seen) FROM inputs").fetchone()
        self._seen = (last or 0) + 1

    def take(self, findings: Iterable[Finding]) -> Inventory:
        """Give every finding its row. All or nothing is kept: if `findings` raises, nothing has changed."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._database.execute("DELETE FROM settings WHERE name = ?", (FINISHED,))
            for found in findings:
                self._inventory.found += 1
                self._take(found)
            self._inventory.gone = self._forget_unseen()
        except BaseException:
            if self._database.in_transaction:  # a full disk has ended it already
                self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
        return self._inventory

    def _forget_unseen(self) -> int:
        """Remove what this inventory has not met, and count the photographs among it."""
        unseen = "(seen IS NULL OR seen <> ?)"
        (photographs,) = self._database.execute(
            f"SELECT COUNT(*) FROM inputs WHERE state = 'predicted' AND {unseen}",  # noqa: S608
            (self._seen,),
        ).fetchone()
        self._database.execute(f"DELETE FROM inputs WHERE {unseen}", (self._seen,))  # noqa: S608
        return int(photographs)

    def _take(self, found: Finding) -> None:
        inventory = self._inventory
        key = path_key(found.relative)
        place = key if found.place is None else found.place
        known = self._known(key)
        if known is not None and known.seen == self._seen:
            inventory.skipped["listed twice"] += 1
        elif isinstance(found, Skipped):
            inventory.skipped[found.reason] += 1
            self._put_found(key, place, None, "skipped", found.reason, None)
        elif isinstance(found, Unopened):
            inventory.failed += 1
            image = file_name(found.relative)
            self._put_found(key, place, None, "failed", found.reason, image)
            self._keep_inside(key)
        elif known is not None and self._keeps(found, known):
            self._database.execute(_SEEN, (place, os.fsencode(found.path), self._seen, key))
        else:
            inventory.waiting += 1
            earlier = known.image if known is not None and self._holds_still(found, known) else None
            self._put_found(key, place, found, "waiting", None, earlier)

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
    ) -> None:
        path, size, modified_ns = (
            (os.fsencode(file.path), file.size, file.modified_ns) if file else (b"", None, None)
        )
        self._database.execute(
            _FOUND, (key, place, path, size, modified_ns, state, reason, image, self._seen)
        )

    def _keep_inside(self, folder: bytes) -> None:
        """Keep what was predicted inside a folder that cannot be opened today: it is not gone."""
        first, after = (folder + b"\0", folder + b"\1") if folder else (b"\0", b"\xff" * 8)
        kept = self._database.execute(
            "UPDATE inputs SET seen = ? WHERE key >= ? AND key < ? AND state = 'predicted'",
            (self._seen, first, after),
        ).rowcount
        self._inventory.found += kept
        self._inventory.already += kept

    def _keeps(self, file: InputFile, known: _Known) -> bool:
        """Tell whether a file is left as an earlier run left it, and count it."""
        if self._redo == "all":
            return False
        same = known.is_of(file)
        if known.state == "skipped" and same:
            self._inventory.skipped[known.reason or ""] += 1
            return True
        if known.state != "predicted" or not self._has_all(known.image or ""):
            return False
        if not same and self._redo == "changed":
            return False
        self._inventory.already += 1
        if not same:
            self._inventory.changed += 1
            self._inventory.first_changed = self._inventory.first_changed or file.relative
        return True

    def _holds_still(self, file: InputFile, known: _Known) -> bool:
        """Tell whether a file that is predicted again must get the answer it had, and only lacks files."""
        return self._redo != "all" and known.state in ("predicted", "waiting") and known.is_of(file)
