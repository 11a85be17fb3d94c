"""Finds the files of a studies folder, however it is built."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from dermcheck.dicom.files import file_name
from dermcheck.errors import StorageError
from dermcheck.files import TEMPORARY_PREFIX

__all__ = ["FoundFiles", "Stamp", "walk"]

_NOT_STUDIES: Final = frozenset({"dicomdir", "thumbs.db", "desktop.ini", "readme", "readme.md", "readme.txt"})
"""Files that media, operating systems and people add beside studies; names in lower case."""


class Stamp(NamedTuple):
    """What changes when a file's content does, told without opening it.

    The change time catches a copy that keeps size and modification time (``cp -p``, rsync).
    """

    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        """Take the stamp from a file's status."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass
class FoundFiles:
    """The result of one walk."""

    stamps: dict[str, Stamp] = field(default_factory=dict)
    """By key: path relative to the studies folder, with `/`."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Key of each folder or file that could not be looked at, and why in words."""
    leftovers: list[Path] = field(default_factory=list)
    """Temporary files of writers, running or killed."""


def walk(root: Path) -> FoundFiles:
    """Find all ordinary files below a folder.

    Links to folders are followed, each folder once: loops end, and what is reached both directly
    and by a link keeps its direct place. Hidden files and folders are passed over.

    Raises
    ------
    StorageError
        If the folder itself cannot be read, e.g. a network share that is away. An empty result
        would then mean that all studies had been removed.
    """
    found = FoundFiles()
    seen: set[tuple[int, int]] = set()
    folders, links = [""], list[str]()
    while folders or links:  # linked folders last
        key = folders.pop() if folders else links.pop(0)
        try:
            if not _is_new(root / key, seen):
                continue
            for entry in _entries(root / key):
                _sort_entry(entry, f"{key}/{entry.name}" if key else entry.name, found, folders, links)
        except OSError as error:
            sentence = (
                f"{file_name(root / key)}: the folder cannot be read ({error.strerror}). "
                "Check its permissions and disk."
            )
            if not key:
                raise StorageError(sentence) from error
            found.unreadable[key] = sentence
    return found


def _is_new(folder: Path, seen: set[tuple[int, int]]) -> bool:
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in seen:
        return False
    seen.add(identity)
    return True


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _sort_entry(
    entry: os.DirEntry[str], key: str, found: FoundFiles, folders: list[str], links: list[str]
) -> None:
    """File an entry under what it is. A file that vanishes meanwhile is not an error."""
    try:
        if entry.name.startswith("."):
            if entry.name.startswith(TEMPORARY_PREFIX):
                found.leftovers.append(Path(entry.path))
        elif entry.is_dir(follow_symlinks=False):
            folders.append(key)
        elif entry.is_dir():
            links.append(key)
        elif entry.is_file() and entry.name.casefold() not in _NOT_STUDIES:
            found.stamps[key] = Stamp.of(entry.stat())
        elif entry.is_symlink() and not Path(entry.path).exists():
            found.unreadable[key] = (
                f"{file_name(Path(entry.path))}: this link leads nowhere. Remove or repair it."
            )
    except FileNotFoundError:
        return
    except OSError as error:  # a link to itself, a path that is too long
        found.unreadable[key] = f"{file_name(Path(entry.path))}: it cannot be looked at ({error.strerror})."
