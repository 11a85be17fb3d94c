"""A folder of files that can be made again, kept below a size: what viewers want of DICOM objects."""

import logging
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from dermcheck.dicom.files import file_name
from dermcheck.errors import StorageError
from dermcheck.files import TEMPORARY_PREFIX

__all__ = ["DEFAULT_LIMIT_BYTES", "FileCache"]

_logger = logging.getLogger(__name__)

DEFAULT_LIMIT_BYTES: Final = 2 * 2**30
"""2 GiB: some 2,500 dermoscopic photographs of 600 × 450, or 28 of 24 megapixels, uncompressed."""

_IN_USE_S: Final = 600.0
"""A file asked for within this time is never removed: a viewer may be about to open or download it."""
_LOCKS: Final = 64


class FileCache:
    """Files by name, made on demand; the ones not asked for longest go first.

    Safe for several threads and processes: a file appears whole under its name or not at all, and
    in one process each is made once, however many ask for it at the same time.

    Parameters
    ----------
    folder
        Is made if absent. Nothing else may be kept in it.
    limit_bytes
        Size of all files together above which old ones are removed. Files in use may exceed it.
    """

    def __init__(self, folder: Path, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._locks = tuple(threading.Lock() for _ in range(_LOCKS))
        self._removing = threading.Lock()
        self._size_bytes = 0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{file_name(folder)}: the cache folder cannot be made ({error.strerror}). "
                "Check its permissions and disk."
            ) from error
        self._make_room()

    def get(self, name: str, make: Callable[[Path], None]) -> Path:
        """Return the file of this name.

        Parameters
        ----------
        name
            A file name. What it is made from must be part of it: the cache never asks again.
        make
            Writes the file to the path it is given, whose name ends like `name`; called only if the
            file is not there.

        Raises
        ------
        StorageError
            If it cannot be written, e.g. as the disk is full.
        Exception
            What `make` raises. No file is left then. It must not ask this cache for a file.
        """
        path = self._folder / name
        with self._locks[hash(name) % _LOCKS]:
            if not _touch(path):
                self._make(path, make)
        return path

    def _make(self, path: Path, make: Callable[[Path], None]) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=self._folder) as unfinished:
                temporary = Path(unfinished, path.name)
                make(temporary)
                size_bytes = temporary.stat().st_size
                temporary.replace(path)
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(
                f"{file_name(path)}: the viewer's copy cannot be written ({error.strerror or error}). "
                "Free some space or set another cache folder."
            ) from error
        self._size_bytes += size_bytes
        if self._size_bytes > self._limit_bytes:
            self._make_room()

    def _make_room(self) -> None:
        """Remove the files not asked for longest. Other processes' files are seen here and counted."""
        with self._removing:
            used = time.time() - _IN_USE_S
            files = []
            for path in self._folder.iterdir():
                with suppress(FileNotFoundError):  # another process removes too
                    status = path.stat()
                    if not stat.S_ISDIR(status.st_mode):
                        files.append((status.st_mtime, status.st_size, path))
                    elif status.st_mtime < used:  # of a writer that was killed
                        shutil.rmtree(path, ignore_errors=True)
            size_bytes = sum(size for _, size, _ in files)
            # Down to nine tenths, so that not every further file makes us look at all of them again.
            for modified, size, path in sorted(files):
                if size_bytes <= 0.9 * self._limit_bytes or modified > used:
                    break
                size_bytes -= self._remove(path, size)
            self._size_bytes = size_bytes

    def _remove(self, path: Path, size: int) -> int:
        try:
            path.unlink()
        except OSError as error:  # e.g. open in a program on Windows
            _logger.debug("%s stays in the cache (%s)", file_name(path), error)
            return 0
        return size


def _touch(path: Path) -> bool:
    """Note that a file is used, as file systems seldom do; tell whether it is there."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True
