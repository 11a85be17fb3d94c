"""The builds of OHIF that DermCheck was tested with, and how to tell them from others.

Our module reaches into OHIF and Cornerstone further than their documented extension points go (undo,
label maps of photographs), so a build that was not tested is refused rather than tried.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dermcheck.errors import DermCheckError

__all__ = ["BUNDLES", "DEFAULT", "LEFT_OUT", "Bundle", "BundleError", "digest", "wheel_folder"]

LEFT_OUT: Final = ("ort/", "dicom-microscopy-viewer/")
"""Parts of OHIF's npm package that are not installed: 155 MB for models and slides we do not show."""


class BundleError(DermCheckError, RuntimeError):
    """A viewer's files are missing or are not those that DermCheck was tested with."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """One build of OHIF."""

    name: str
    """What `dermcheck viewer use` calls it; also its folder's name."""
    version: str
    base: str
    """Path on the server that its files refer to each other by."""
    digest: str
    """See `digest`."""
    archive_sha256: str | None = None
    """SHA-256 of the npm package that it is installed from; None where the monailabel wheel brings it."""

    def check(self, folder: Path) -> None:
        """Compare the files in a folder with those that were tested.

        Raises
        ------
        BundleError
            If they are missing or others.
        """
        if not (folder / "index.html").is_file():
            raise BundleError(f"OHIF {self.version}: there are no files in {folder}. {_REMEDY}")
        found = digest(folder)
        if found != self.digest:
            raise BundleError(
                f"OHIF {self.version}: the files in {folder} have the digest {found[:16]}…, expected "
                f"{self.digest[:16]}… (the version that DermCheck was tested with). {_REMEDY}"
            )


_REMEDY: Final = (
    "Install the locked packages again (python3 scripts/start.py), or get the optional viewer: npm pack "
    "@ohif/app@3.13.2, then `dermcheck viewer install ohif-app-3.13.2.tgz`."
)
DEFAULT: Final = Bundle(
    name="ohif-3.10",
    version="3.10.0-beta.5",
    base="/ohif/",
    digest="4117fcfc8151e0b3ce6600277544f3c103a25bf11f231b701c81e89d205289af",
)
"""The build in the monailabel wheel: there after `pip install`."""
OPTIONAL: Final = Bundle(
    name="ohif-3.13",
    version="3.13.2",
    base="/",
    digest="31eb22fa1b203fdb21f3e0c07ef4ecb423dd2dcc255c2582307b2976a5bf9f30",
    archive_sha256="b189d3963bfc58e9394a9db8c7be75d07beb029ec211dbb126d47b62969dd3f1",
)
BUNDLES: Final = {bundle.name: bundle for bundle in (DEFAULT, OPTIONAL)}


def digest(folder: Path) -> str:
    """Return the SHA-256 over names and contents of all files in a folder (51 MB: 0.1 s).

    Names are relative, with ``/``, sorted by code point, so the digest is the same on every system.
    """
    total = hashlib.sha256()
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name in sorted(files):
        total.update(name.encode() + b"\0" + hashlib.sha256(files[name].read_bytes()).digest())
    return total.hexdigest()


def wheel_folder() -> Path:
    """Return the folder of the build that the monailabel wheel brings, without importing monailabel.

    Raises
    ------
    BundleError
        If monailabel is not installed.
    """
    found = importlib.util.find_spec("monailabel")
    if found is None or not found.submodule_search_locations:
        raise BundleError(f"OHIF {DEFAULT.version} comes with monailabel, which is not installed. {_REMEDY}")
    return Path(found.submodule_search_locations[0], "endpoints", "static", "ohif")
