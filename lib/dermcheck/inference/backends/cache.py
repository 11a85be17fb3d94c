"""Exported networks, and what was found out about them, kept on the disk.

An entry is a folder named by everything that its content depends on. Its files are read and compared with the
hashes written beside them; an entry that is damaged or half removed is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from dermcheck.files import remove_abandoned, write_folder

__all__ = ["ExportCache"]

logger = logging.getLogger(__name__)

Files: TypeAlias = dict[str, bytes]

_HASHES: Final = "sha256.json"
_ENTRIES_KEPT: Final = 24
"""The latest used; a model's exports and findings are about four, of 14 MB altogether."""


class ExportCache:
    """A folder of entries that any number of processes may share.

    Parameters
    ----------
    folder
        Made when needed. A folder that cannot be written costs time, nothing else.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        remove_abandoned(folder)

    def get(self, name: str, make: Callable[[], Files]) -> Files:
        """Return an entry's files, from the disk or as `make` makes them."""
        entry = self._folder / name
        found = _read(entry)
        if found is None:
            found = make()
            self._keep(entry, found)
        return found

    def find(self, name: str) -> Files | None:
        """Return an entry's files if it is there and sound."""
        return _read(self._folder / name)

    def keep(self, name: str, files: Mapping[str, bytes]) -> None:
        """Write an entry."""
        self._keep(self._folder / name, files)

    def remove(self, name: str) -> None:
        """Remove an entry, if it is there."""
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def _keep(self, entry: Path, files: Mapping[str, bytes]) -> None:
        """Write the entry beside its place and move it there in one step."""
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_folder(entry, {**files, _HASHES: json.dumps(hashes)})
        except OSError as error:
            if not entry.exists():  # else another process was quicker
                logger.warning("Exported networks are not kept: %s (%s)", entry, error.strerror)
            return
        self._remove_old()

    def _remove_old(self) -> None:
        try:
            entries = [each for each in self._folder.iterdir() if not each.name.startswith(".")]
            by_age = sorted(entries, key=lambda each: each.stat().st_mtime, reverse=True)
        except OSError:  # another process removes as well
            return
        for entry in by_age[_ENTRIES_KEPT:]:
            shutil.rmtree(entry, ignore_errors=True)


def _read(entry: Path) -> Files | None:
    """Read an entry; one that is not what was written is removed."""
    try:
        hashes = json.loads((entry / _HASHES).read_bytes())
        files = {name: (entry / name).read_bytes() for name in hashes}
        sound = all(hashlib.sha256(files[name]).hexdigest() == known for name, known in hashes.items())
        reason = "its content is not what was written"
    except FileNotFoundError as error:
        if not entry.exists():
            return None
        sound, reason = False, f"{error.filename} is missing"
    except (OSError, ValueError, AttributeError, TypeError) as error:
        sound, reason = False, f"it cannot be read: {type(error).__name__}"
    if sound:
        with contextlib.suppress(OSError):  # another account's entry: it only looks older than it is
            os.utime(entry)
        return files
    logger.warning("%s is damaged (%s) and is made anew", entry, reason)
    shutil.rmtree(entry, ignore_errors=True)
    return None
