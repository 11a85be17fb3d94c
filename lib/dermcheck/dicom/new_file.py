"""Writes files so that a crash, a full disk or a second process leaves a whole file or none."""

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from dermcheck.dicom.files import file_name
from dermcheck.errors import StorageError

__all__ = ["TEMPORARY_PREFIX", "write_new_file"]

TEMPORARY_PREFIX: Final = ".dermcheck-"
"""Start of the name of a file that is still being written; readers of a folder pass it over."""

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
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        _name_new(temporary, path)
        _flush_folder(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise StorageError(_sentence(path, error)) from error
    finally:
        if temporary is not None:
            with suppress(OSError):  # it is gone where it was renamed, and harmless where it stays
                temporary.unlink(missing_ok=True)


def _umask() -> int:
    """Return the process's file mode mask, which can only be read by setting it.

    `mkstemp` makes files for their owner alone, which would hide a label from colleagues who share
    the studies folder.
    """
    try:
        status = Path("/proc/self/status").read_text()  # safe while other threads create files
        return int(status.partition("Umask:")[2].split(maxsplit=1)[0], 8)
    except (OSError, ValueError, IndexError):
        mask = os.umask(0o077)
        os.umask(mask)
        return mask


def _name_new(temporary: Path, path: Path) -> None:
    """Give a finished file its name without ever replacing another one (a plain rename would)."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError as error:  # exFAT and some network shares know no second name for a file
        if error.errno not in _NO_HARD_LINKS:
            raise
        if path.exists():
            raise FileExistsError(errno.EEXIST, "File exists", str(path)) from error
        temporary.rename(path)


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened; the file system sees to it
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network shares flush files only
            raise
    finally:
        os.close(handle)


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
