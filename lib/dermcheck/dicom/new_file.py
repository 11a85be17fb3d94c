"""Writes new files: a crash, a full disk or a second process leaves a whole file or none."""

import errno
import os
from pathlib import Path
from typing import Final

from dermcheck.dicom.files import file_name
from dermcheck.errors import StorageError
from dermcheck.files import flush_folder, unfinished_file

__all__ = ["write_new_file"]

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN: Final = {errno.EROFS, errno.EACCES, errno.EPERM}
_NO_HARD_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}


def write_new_file(path: Path, content: bytes) -> None:
    """Write a file that does not exist yet, durably and all at once.

    The content goes to a temporary file in the same folder, is flushed to the disk and only then
    given its name; after that the folder's own entry is flushed too.

    Raises
    ------
    FileExistsError
        If the name is taken, also when another process takes it at the same moment. That file is
        left as it is.
    StorageError
        If the disk is full, the folder is read-only, or the system fails otherwise. Nothing is left.
    """
    try:
        with unfinished_file(path, content) as partial:
            _name_new(partial, path)
        flush_folder(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise StorageError(_sentence(path, error)) from error


def _name_new(partial: Path, path: Path) -> None:
    """Give a finished file its name without ever replacing another one (a plain rename would)."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError as error:  # exFAT and some network shares know no second name for a file
        if error.errno not in _NO_HARD_LINKS:
            raise
        if path.exists():
            raise FileExistsError(errno.EEXIST, "File exists", str(path)) from error
        partial.rename(path)


def _sentence(path: Path, error: OSError) -> str:
    name = file_name(path)
    if error.errno in _FULL:
        return f"{name}: not saved, the disk is full ({error.strerror}). Free some space and save again."
    if error.errno in _FORBIDDEN:
        return (
            f"{name}: not saved, the folder is read-only ({error.strerror}). "
            "Make the studies folder writable for the user who runs DermCheck, and save again."
        )
    return f"{name}: not saved ({error.strerror or error}). Check the disk or network share, and save again."
