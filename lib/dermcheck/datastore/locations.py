"""Where DermCheck keeps what can be rebuilt (indexes, viewers' copies) and, of an archive, what cannot.

The only module that reads the environment for it. Both hold copies of patients' photographs or
outlines, so both are made readable by their owner alone.
"""

import hashlib
import os
import sys
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from dermcheck.errors import ArgumentError, StorageError

__all__ = [
    "CACHE_VARIABLE",
    "DATA_VARIABLE",
    "cache_root",
    "data_root",
    "is_url",
    "platform_data",
    "studies_cache",
    "studies_data",
    "without_password",
]

CACHE_VARIABLE: Final = "DERMCHECK_CACHE"
"""Environment variable that names another cache folder."""
DATA_VARIABLE: Final = "DERMCHECK_DATA"
"""Environment variable that names another folder for what waits to be sent to an archive."""


def is_url(location: str | Path) -> bool:
    """Tell whether studies are at a DICOMweb address rather than in a folder.

    >>> is_url("https://pacs.example/dicom-web"), is_url("studies")
    (True, False)
    """
    return str(location).casefold().startswith(("http://", "https://"))


def without_password(location: str) -> str:
    """Return a location as it may be shown: a DICOMweb address without user name and password.

    >>> without_password("https://reader:secret@pacs.example/dicom-web")
    'https://pacs.example/dicom-web'
    >>> without_password("/studies/a@b")
    '/studies/a@b'
    """
    if not is_url(location):
        return location
    parts = urlsplit(location)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def cache_root(cache: Path | None = None) -> Path:
    """Return the cache folder: the argument, else `CACHE_VARIABLE`, else the platform's own place."""
    if cache is not None:
        return cache.expanduser().absolute()
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser().absolute()
    return _platform_cache() / "dermcheck"


def _platform_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    named = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a relative path counts as unset.
    return Path(named) if Path(named).is_absolute() else Path.home() / ".cache"


def data_root() -> Path:
    """Return the folder for what cannot be rebuilt: `DATA_VARIABLE`, else the platform's own place."""
    if named := os.environ.get(DATA_VARIABLE):
        return Path(named).expanduser().absolute()
    return platform_data() / "dermcheck"


def platform_data() -> Path:
    """Return where programs of this account keep their data on this platform."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    named = os.environ.get("XDG_DATA_HOME", "")  # a relative path counts as unset
    return Path(named) if Path(named).is_absolute() else Path.home() / ".local" / "share"


def studies_data(location: str, data: Path | None = None) -> Path:
    """Make and return the folder of what belongs to one archive and cannot be rebuilt.

    Parameters
    ----------
    location
        The archive's DICOMweb address.
    data
        In place of `data_root`, e.g. for tests.

    Raises
    ------
    StorageError
        If it cannot be made.
    """
    folder = (data or data_root()) / "archives" / _folder_name(without_password(location.rstrip("/")))
    return _make_private(folder, f"Make it writable or set {DATA_VARIABLE} to another folder.")


def studies_cache(location: str | Path, cache: Path | None = None) -> Path:
    """Make and return the folder that holds the cache of one studies folder or archive.

    Its name starts like the studies' own and ends with a digest of the whole location, so two
    folders of one name never share it.

    Raises
    ------
    ArgumentError
        If it would lie inside the studies folder, where its files would be taken for studies.
    StorageError
        If it cannot be made.
    """
    where = str(location).rstrip("/") if is_url(location) else os.path.realpath(location)
    root = Path(os.path.realpath(cache_root(cache)))
    if not is_url(location) and root.is_relative_to(where):
        raise ArgumentError(
            f"{root}: the cache lies inside the studies folder, expected a place outside it. "
            f"Set {CACHE_VARIABLE} to another folder."
        )
    return _make_private(
        root / _folder_name(where), f"Make it writable or set {CACHE_VARIABLE} to another folder."
    )


def _folder_name(where: str) -> str:
    digest = hashlib.sha256(os.fsencode(where)).hexdigest()[:16]
    stem = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in Path(where).name)
    return f"{stem[:32]}-{digest}"


def _make_private(folder: Path, remedy: str) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: the folder cannot be made ({error.strerror}). {remedy}") from error
    return folder
