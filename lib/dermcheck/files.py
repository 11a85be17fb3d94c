"""Writes files and folders completely or not at all.

What is written gets a hidden name beside its place, is flushed to the disk and then moved to its place in
one step. Last the folder around it is flushed, so that the new name outlives a power cut as well. Whoever
reads sees what was there before or all that is new. What a killed process leaves is hidden until
`remove_abandoned` meets it.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

__all__ = [
    "TEMPORARY_PREFIX",
    "Content",
    "flush_folder",
    "remove_abandoned",
    "replace_file",
    "unfinished_file",
    "write_folder",
]

logger = logging.getLogger(__name__)

Content: TypeAlias = "bytes | memoryview | str | Callable[[BinaryIO], object]"
"""Of a file: its bytes, its text (stored as UTF-8), or a function that writes to the open file."""

TEMPORARY_PREFIX: Final = ".dermcheck-"
"""Start of the name of what is still being written; readers of a folder pass it over."""

_DAY_S: Final = 86_400.0
_BINARY: Final = getattr(os, "O_BINARY", 0)  # Windows would write two bytes for a line feed
_FILES_ONLY: Final = (errno.EINVAL, errno.ENOTSUP)


def replace_file(path: Path, content: Content, *, durable: bool = True) -> None:
    """Write a file, in place of the one that may be there.

    Parameters
    ----------
    path
        In a folder that exists. Its permissions are those that the process gives new files.
    content
        What is in it afterwards.
    durable
        Return only once it is on the disk. Without, a power cut may leave it empty: for what is written often
        and not asked for after a restart.

    Raises
    ------
    OSError
        If the disk refuses. The file is as before then, and nothing else is left.
    """
    with unfinished_file(path, content, durable=durable) as partial:
        partial.replace(path)
    if durable:
        flush_folder(path.parent)


def write_folder(folder: Path, files: Mapping[str, Content], *, private: bool = False) -> None:
    """Write a folder of files; an empty folder may stand in its place.

    Parameters
    ----------
    folder
        In a folder that exists.
    files
        Contents by name.
    private
        Only the owner can look into it.

    Raises
    ------
    OSError
        If the disk refuses, or a folder that holds anything is there. Nothing is left then.
    """
    partial = _hidden(folder)
    try:
        partial.mkdir(mode=0o700 if private else 0o777)
        for name, content in files.items():
            _write(partial / name, content, mode=0o600 if private else 0o666, durable=True)
        flush_folder(partial)
        with suppress(FileNotFoundError):
            folder.rmdir()  # Windows cannot rename over it
        partial.rename(folder)
        flush_folder(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # what is left of a failure takes room on a full disk


@contextmanager
def unfinished_file(path: Path, content: Content, *, durable: bool = True) -> Iterator[Path]:
    """Write a hidden file beside a place, for the block to give it its name; else it is removed.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    partial = _hidden(path)
    try:
        _write(partial, content, durable=durable)
        yield partial
    finally:
        with suppress(OSError):  # it is gone where it was renamed, and harmless where it stays
            partial.unlink(missing_ok=True)


def flush_folder(folder: Path) -> None:
    """Make the names in a folder outlive a power cut; Windows does so by itself and opens no folders.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _FILES_ONLY:  # some network shares flush files only
            raise
    finally:
        os.close(descriptor)


def remove_abandoned(folder: Path, older_than_s: float = _DAY_S) -> None:
    """Remove what processes that were killed left half written in a folder.

    Parameters
    ----------
    folder
        It need not exist.
    older_than_s
        Whatever was begun later may still be written.
    """
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        try:
            if time.time() - path.lstat().st_mtime <= older_than_s:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except FileNotFoundError:  # another process finished or removed it just now
            continue
        except OSError as error:
            logger.warning("%s: this was left half written and cannot be removed (%s).", path, error.strerror)


def _hidden(path: Path) -> Path:
    """Name what is not finished; the place's name is shortened, as systems allow 255 bytes."""
    return path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}-{path.name[:40]}")


def _write(path: Path, content: Content, *, durable: bool, mode: int = 0o666) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode), "wb") as file:
        if callable(content):
            content(file)
        else:
            file.write(content.encode() if isinstance(content, str) else content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
