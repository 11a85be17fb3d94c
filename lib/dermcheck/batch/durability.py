"""Makes sure that files are on the disk, not only on their way there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dermcheck.dicom.files import file_name
from dermcheck.errors import StorageError
from dermcheck.files import flush_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["saving", "write_through"]

_AT_ONCE: Final = 8
"""Files that the disk is asked for together: it then writes them together."""


def write_through(files: Iterable[Path], root: Path) -> None:
    """Wait until files are on the disk, and all folders' entries that lead to them from `root`.

    A file that has been removed meanwhile is passed over.

    Raises
    ------
    StorageError
        If the disk refuses.
    """
    paths = list(files)
    if len(paths) > 1:
        with ThreadPoolExecutor(_AT_ONCE, "write-through") as threads:
            list(threads.map(_write_file_through, paths))
    else:
        list(map(_write_file_through, paths))
    folders = dict.fromkeys(folder for path in paths for folder in _folders(path, root))
    for folder in folders:
        with saving(folder), suppress(FileNotFoundError):
            flush_folder(folder)


def _write_file_through(path: Path) -> None:
    with saving(path), suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _folders(path: Path, root: Path) -> list[Path]:
    return [folder for folder in path.parents if folder == root or folder.is_relative_to(root)]


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Turn the system's refusals into a sentence."""
    try:
        yield
    except StorageError:  # an OSError too, and already a sentence
        raise
    except OSError as error:
        raise StorageError(
            f"{file_name(path)}: this result cannot be saved ({error.strerror or error}). Make room or "
            "give write permission, then run the same command again: it goes on where it stopped."
        ) from error
