"""Files that only their owner can read, on the disk for good once written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dermcheck.errors import StorageError

__all__ = ["append_flushed", "make_private_folder", "write_folder"]

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


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder completely or not at all.

    It is written hidden beside its place, which a kill may leave there, and moved in one step.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".partial", dir=folder.parent))
    try:
        for name, content in files.items():
            with os.fdopen(_open(partial / name, os.O_WRONLY | os.O_EXCL), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        partial.rename(folder)
        _flush_folder(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # what is left of a failure takes room on a full disk


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
    with os.fdopen(_open(path, os.O_RDWR | os.O_APPEND), "r+b", buffering=0) as file:
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
        _flush_folder(path.parent)


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | _BINARY, 0o600)


def _flush_folder(folder: Path) -> None:
    """Make a new name outlive a power cut; Windows does so by itself and opens no folders."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
