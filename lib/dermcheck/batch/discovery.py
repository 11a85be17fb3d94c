"""Which files of an input folder are looked at, and in which order.

The order is that of the file names' bytes (for UTF-8 the order of the Unicode code points), folder by
folder. It depends on the names alone, so that a resumed run meets the files as the first one did.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from dermcheck.batch.names import JOURNAL_NAME
from dermcheck.dicom.files import file_name

__all__ = ["Finding", "InputFile", "Skipped", "Unopened", "key_path", "path_key", "walk"]


@dataclass(frozen=True)
class InputFile:
    """One regular file of the input."""

    path: Path
    """Where to open it."""
    relative: Path
    """Its path inside the input folder; its name where the input is that one file."""
    size: int
    """Bytes; -1 for an instance that is still in an archive."""
    modified_ns: int
    """Last modification, nanoseconds since 1970; -1 in an archive, where instances do not change."""
    place: bytes | None = None
    """Sort key among the inputs; None where the path's own order counts."""

    @property
    def key(self) -> bytes:
        """Name of this input in the journal."""
        return path_key(self.relative)


@dataclass(frozen=True)
class Unopened:
    """A folder or link that cannot be followed: photographs may be missing because of it."""

    relative: Path
    reason: str
    """One sentence, naming the path."""
    place: bytes | None = None


@dataclass(frozen=True)
class Skipped:
    """Something that is passed over without loss."""

    relative: Path
    reason: str
    """A few words by which it is counted."""
    place: bytes | None = None


Finding: TypeAlias = InputFile | Unopened | Skipped
_FolderId: TypeAlias = tuple[int, int]  # device and inode, which no two folders share


def path_key(relative: Path) -> bytes:
    """Sort key of a path: a folder's content directly after names that begin like the folder.

    Bytes 0 cannot be in a name and sort first, so that these keys sort as `walk` walks.

    >>> path_key(Path("a/b")) < path_key(Path("a.jpg"))
    True
    """
    return b"\0".join(os.fsencode(part) for part in relative.parts)


def key_path(key: bytes) -> Path:
    """Return the path that `path_key` made a key of."""
    return Path(*(os.fsdecode(part) for part in key.split(b"\0")))


def walk(source: Path, output: Path | None = None) -> Iterator[Finding]:
    """Go through a folder in a fixed order, or give the one file that `source` is.

    Links are followed. A folder met a second time (by a link that loops, or by two links to one place)
    is skipped. So are names that begin with a dot (macOS's ``._`` companions, thumbnails and the like)
    and folders that hold the results of another batch, whose masks would pass for photographs.
    Memory grows with the number of folders and the names of one folder, not with all files.

    Parameters
    ----------
    source
        An existing folder or file.
    output
        The results' folder, never looked into although it may lie inside `source`.

    Yields
    ------
    Finding
        In input order. A file's size and time are those of the file that a link leads to.
    """
    if not source.is_dir():
        yield _look_at(source, Path(source.name)) or Skipped(Path(source.name), "not a regular file")
        return
    own = _folder_id(output) if output is not None and output.is_dir() else None
    seen: set[_FolderId] = set()
    # A stack instead of recursion: folders may be nested deeper than Python recurses.
    pending: list[Iterator[Finding | Path]] = [_entries(source, Path(), own, seen)]
    while pending:
        found = next(pending[-1], None)
        if found is None:
            pending.pop()
        elif isinstance(found, Path):
            pending.append(_entries(source / found, found, own, seen))
        else:
            yield found


def _entries(
    folder: Path, relative: Path, output: _FolderId | None, seen: set[_FolderId]
) -> Iterator[Finding | Path]:
    """Sorted content of one folder, where a `Path` is the relative path of a folder to go into."""
    try:
        identity = _folder_id(folder)
        if identity == output:
            return
        if identity in seen:
            yield Skipped(relative, "folder already seen by another path")
            return
        seen.add(identity)
        names = sorted(os.listdir(folder), key=os.fsencode)  # noqa: PTH208 (names alone: half the memory)
    except OSError as error:
        yield Unopened(relative, _refusal("folder", relative, error))
        return
    if JOURNAL_NAME in names and relative.parts:  # not where INPUT itself was named
        yield Skipped(relative, "results of a batch")
        return
    for name in names:
        yield _look_at(folder / name, relative / name) or relative / name


def _look_at(path: Path, relative: Path) -> Finding | None:
    """Say what a directory entry is; None for a folder."""
    if relative.name.startswith("."):
        return Skipped(relative, "hidden file or folder")
    try:
        status = path.stat()
    except OSError as error:  # a link to nowhere or to itself, a file removed meanwhile
        return Unopened(relative, _refusal("file", relative, error))
    if stat.S_ISDIR(status.st_mode):
        return None
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        return Skipped(relative, "not a regular file")
    return InputFile(path, relative, status.st_size, status.st_mtime_ns)


def _folder_id(folder: Path) -> _FolderId:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _refusal(what: str, relative: Path, error: OSError) -> str:
    return (
        f"{file_name(relative)}: this {what} cannot be opened ({error.strerror}). "
        "Check its permissions or where the link leads."
    )
