"""Where the registry lies. The only module that reads the environment for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from dermcheck.datastore.locations import platform_data

__all__ = ["REGISTRY_VARIABLE", "registry_root"]

REGISTRY_VARIABLE: Final = "DERMCHECK_MODELS"
"""Environment variable that names another folder for the registry."""


def registry_root(folder: Path | None = None) -> Path:
    """Return the registry's folder: the argument, else `REGISTRY_VARIABLE`, else the platform's own place.

    Models learnt from a clinic's corrections can't be made again from nothing, so they lie with the
    account's data, not in its cache.
    """
    if folder is not None:
        return folder.expanduser().absolute()
    if named := os.environ.get(REGISTRY_VARIABLE):
        return Path(named).expanduser().absolute()
    return platform_data() / "dermcheck" / "models"
