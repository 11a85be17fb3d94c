"""Opens ordinary files for reading, with a sentence for everything that can be wrong with one."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dermcheck.dicom.limits import check_file_size
from dermcheck.errors import NotFoundError, StorageError, UnreadableImageError

__all__ = ["describe_content", "file_name", "open_file"]

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG photo"),
    (b"\x89PNG\r\n\x1a\n", "PNG picture"),
    (b"II*\0", "TIFF picture"),
    (b"MM\0*", "TIFF picture"),
    (b"GIF8", "GIF picture"),
    (b"BM", "BMP picture"),
    (b"RIFF", "WebP picture or AVI video"),
    (b"%PDF", "PDF document"),
    (b"PK\x03\x04", "ZIP archive or office document"),
    (b"\x1f\x8b", "gzip archive"),
)


def file_name(path: Path) -> str:
    """Return a path as printable text; bytes that are not UTF-8 appear as escapes."""
    return os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open an ordinary file of an allowed size.

    Folders, pipes and devices are refused before they are opened: reading a pipe would wait for ever.

    Raises
    ------
    NotFoundError
        If there is no such file.
    UnreadableImageError
        If it is not an ordinary file, is empty or is too large (`limits.MAX_FILE_BYTES`).
    StorageError
        If the system refuses, e.g. for missing permission, a loop of symbolic links, a failing disk.
    """
    name = file_name(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
            raise UnreadableImageError(f"{name}: this is {kind}, expected a file. Name a single file.")
        check_file_size(status.st_size, name)
        stream = path.open("rb")
    except FileNotFoundError as error:
        raise NotFoundError(f"{name}: there is no such file. Check the spelling and the folder.") from error
    except (OSError, ValueError) as error:
        if isinstance(error, UnreadableImageError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise StorageError(
            f"{name}: the file cannot be read ({reason}). Check its permissions, links and disk."
        ) from error
    with stream:
        yield stream


def describe_content(start: bytes) -> str:
    """Say what the first bytes of a file look like, for a message.

    >>> describe_content(b"%PDF-1.7")
    'looks like a PDF document'
    >>> describe_content("Größe: 3 mm".encode())
    'looks like text'
    """
    for signature, kind in _SIGNATURES:
        if start.startswith(signature):
            return f"looks like a {kind}"
    try:
        text = start.decode("utf-8") if len(start) < 4 else start[:-3].decode("utf-8")
    except UnicodeDecodeError:
        return "is of an unknown kind"
    is_text = all(character.isprintable() or character in "\r\n\t\f" for character in text)
    return "looks like text" if is_text else "is of an unknown kind"
