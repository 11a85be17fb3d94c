"""Installs the optional viewer, and remembers which one is used."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from dermcheck.datastore.locations import CACHE_VARIABLE, cache_root
from dermcheck.errors import ArgumentError, NotFoundError, StorageError
from dermcheck.files import replace_file
from dermcheck.viewer.bundles import BUNDLES, DEFAULT, LEFT_OUT, Bundle, BundleError, wheel_folder

__all__ = [
    "BundleState",
    "chosen_bundle",
    "install_bundle",
    "is_installed",
    "list_bundles",
    "use_bundle",
    "viewer_root",
]

_CHOICE: Final = "viewer.json"
_PREFIX: Final = "package/dist/"
"""Where npm packages of OHIF hold the build."""
_MOST_BYTES: Final = 400_000_000
"""Above what any known package unpacks to: a damaged archive must not fill the disk."""


def viewer_root(root: Path | None = None) -> Path:
    """Return the folder of installed viewers: the argument, else one in the cache.

    A viewer can be installed again at any time, and without it the one of the wheel is used.
    """
    return root if root is not None else cache_root() / "viewer"


def chosen_bundle(root: Path | None = None) -> tuple[Bundle, Path]:
    """Return the viewer in use and the folder of its files; see `Bundle.check`.

    Raises
    ------
    BundleError
        If the choice names no viewer that there is.
    """
    root = viewer_root(root)
    choice = root / _CHOICE
    try:
        name = json.loads(choice.read_text(encoding="utf-8"))["use"]
    except FileNotFoundError:
        return DEFAULT, wheel_folder()
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BundleError(
            f"{choice}: it does not say which viewer to use. Say it: `dermcheck viewer use {DEFAULT.name}`."
        ) from error
    if name not in BUNDLES:
        raise BundleError(
            f"{choice}: it names the viewer {name!r}, expected {' or '.join(BUNDLES)}. Choose one: "
            f"`dermcheck viewer use {DEFAULT.name}`."
        )
    return BUNDLES[name], _folder(BUNDLES[name], root)


@dataclass(frozen=True, slots=True)
class BundleState:
    """What is known of one viewer on this computer."""

    bundle: Bundle
    installed: bool
    in_use: bool
    problem: str | None
    """Why its files cannot be used, in a sentence."""


def list_bundles(root: Path | None = None) -> list[BundleState]:
    """Look at every viewer, and compare the files of those that are installed with what was tested.

    Raises
    ------
    BundleError
        If the choice names no viewer that there is.
    """
    used, _ = chosen_bundle(root)
    return [_state(bundle, bundle == used, root) for bundle in BUNDLES.values()]


def _state(bundle: Bundle, in_use: bool, root: Path | None) -> BundleState:
    installed = is_installed(bundle, root)
    problem = None
    if installed or in_use:
        try:
            bundle.check(_folder(bundle, root))
        except BundleError as error:
            problem = str(error)
    return BundleState(bundle, installed, in_use, problem)


def is_installed(bundle: Bundle, root: Path | None = None) -> bool:
    """Tell whether a viewer's files are there; they are checked when it is used."""
    return (_folder(bundle, root) / "index.html").is_file()


def _folder(bundle: Bundle, root: Path | None) -> Path:
    return wheel_folder() if bundle is DEFAULT else viewer_root(root) / bundle.name


def use_bundle(name: str, root: Path | None = None) -> Bundle:
    """Choose the viewer from the server's next start on.

    Raises
    ------
    NotFoundError
        If no viewer is called so, or it is not installed.
    BundleError
        If its files are not those that were tested.
    StorageError
        If the choice cannot be written.
    """
    bundle = BUNDLES.get(name)
    if bundle is None:
        raise NotFoundError(f"There is no viewer {name!r}; the viewers are {', '.join(BUNDLES)}.")
    root = viewer_root(root)
    if not is_installed(bundle, root):
        raise NotFoundError(
            f"The viewer {name} is not installed. Get its package (npm pack @ohif/app@{bundle.version}), "
            f"then `dermcheck viewer install ohif-app-{bundle.version}.tgz`."
        )
    bundle.check(_folder(bundle, root))
    try:
        root.mkdir(parents=True, exist_ok=True)
        replace_file(root / _CHOICE, json.dumps({"use": name}))
    except OSError as error:
        raise _not_writable(root, error) from error
    return bundle


def install_bundle(archive: Path, root: Path | None = None) -> Bundle:
    """Unpack OHIF's npm package into the folder of viewers, without `LEFT_OUT`.

    Parameters
    ----------
    archive
        The file that ``npm pack @ohif/app@VERSION`` makes. It must be, to the last byte, one that
        DermCheck was tested with; nothing of another one is unpacked.

    Raises
    ------
    ArgumentError
        If it is missing or another file.
    BundleError
        If what was unpacked is not what was tested.
    StorageError
        If it cannot be written. Nothing is left then.
    """
    bundle, root = _identify(archive), viewer_root(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix="unpacking-") as folder:
            unpacked = Path(folder) / "files"
            _unpack(archive, unpacked)
            bundle.check(unpacked)
            shutil.rmtree(root / bundle.name, ignore_errors=True)
            unpacked.rename(root / bundle.name)
    except OSError as error:
        raise _not_writable(root, error) from error
    return bundle


def _identify(archive: Path) -> Bundle:
    known = {bundle.archive_sha256: bundle for bundle in BUNDLES.values() if bundle.archive_sha256}
    try:
        with archive.open("rb") as file:
            found = _sha256(file)
    except OSError as error:
        raise ArgumentError(
            f"{archive}: it cannot be read ({error.strerror}). Get it with `npm pack @ohif/app@3.13.2`."
        ) from error
    if found not in known:
        expected = " or ".join(f"{bundle.version} ({sha})" for sha, bundle in known.items())
        raise ArgumentError(
            f"{archive}: its SHA-256 is {found}, expected that of @ohif/app {expected}. Get it again with "
            "`npm pack @ohif/app@3.13.2`; other versions were not tested."
        )
    return known[found]


def _sha256(file: BinaryIO) -> str:
    total = hashlib.sha256()
    while piece := file.read(1 << 20):
        total.update(piece)
    return total.hexdigest()


def _unpack(archive: Path, folder: Path) -> None:
    """Write the build's ordinary files; links, devices and names that lead elsewhere are refused."""
    written = 0
    with tarfile.open(archive, "r:gz") as package:
        for member, name in _build_files(package):
            written += member.size
            if written > _MOST_BYTES:
                raise BundleError(f"{archive}: it unpacks to more than {_MOST_BYTES} bytes. Get it again.")
            target = folder.joinpath(*name.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            content = package.extractfile(member)
            assert content is not None  # noqa: S101 - `_build_files` gives ordinary files only
            with content, target.open("wb") as file:
                shutil.copyfileobj(content, file)


def _build_files(package: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, PurePosixPath]]:
    for member in package:
        if member.isdir() or not member.name.startswith(_PREFIX):
            continue
        name = PurePosixPath(member.name.removeprefix(_PREFIX))
        if not member.isfile() or name.is_absolute() or ".." in name.parts or "\\" in member.name:
            raise BundleError(f"The package holds {member.name!r}, expected ordinary files. Get it again.")
        if not name.as_posix().startswith(LEFT_OUT):
            yield member, name


def _not_writable(root: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{root}: the folder of viewers cannot be written ({error.strerror or error}). Make it writable, or "
        f"set {CACHE_VARIABLE} to another folder."
    )
