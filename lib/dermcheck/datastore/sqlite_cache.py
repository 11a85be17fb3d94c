"""SQLite files that hold nothing but what can be rebuilt or spared."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from dermcheck.dicom.files import file_name

__all__ = ["connected", "discard_damaged"]

_logger = logging.getLogger(__name__)


@contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file, made if absent, for one transaction; commit it at the end and close the file.

    A connection that is kept would work only in the thread that made it. Opening one costs less
    than a millisecond, and SQLite's own locks keep threads and processes apart.
    """
    with closing(sqlite3.connect(path, timeout=20.0)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")  # a power cut may cost the newest rows
        yield connection


def discard_damaged(path: Path, error: Exception) -> None:
    """Remove a damaged file, so that the next use makes a new one; leave a locked or unwritable one."""
    if isinstance(error, sqlite3.OperationalError):
        _logger.warning("%s is not used this time (%s)", file_name(path), error)
        return
    _logger.warning("%s is damaged and begun anew (%s: %s)", file_name(path), type(error).__name__, error)
    try:
        path.unlink(missing_ok=True)
        path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    except OSError as failure:
        _logger.warning("%s cannot be removed (%s)", file_name(path), failure)
