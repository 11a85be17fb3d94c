"""Files that only their owner can read, on the disk for good once written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from dermcheck.errors import StorageError
from dermcheck.files import flush_folder

__all__ = ["append_flushed", "make_private_folder"]

_BINARY: Final = getattr(os, "O_BINARY", 0)  # Windows would write two bytes for a line feed


def make_private_folder(folder: Path) -> None:
    """Make a folder that only its owner can look into.

    Raises
    ------
    StorageError
        If it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder}: the folder of the models cannot be made ({error.strerror}). "
            "Make its place writable, or name another one."
        ) from error


def append_flushed(path: Path, line: str, after_cut_off: str) -> None:
    """Add a line to a file, which is made if it is absent.

    Parameters
    ----------
    path
        The file.
    line
        With its line feed.
    after_cut_off
        Written first if the file does not end with a line feed, since an earlier writing was cut off.

    Raises
    ------
    OSError
        If the disk refuses. A part of the line may have been written then.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _BINARY, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                line = after_cut_off + line
        rest = memoryview(line.encode())
        while rest:  # usually once
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
    if not size:
        flush_folder(path.parent)
