"""Who is working: the name that the registry notes beside each event."""

from __future__ import annotations

import getpass
import os

__all__ = ["current_account"]


def current_account() -> str:
    """Return the name of the operating system's account, or its number where it has no name.

    Containers often run under a number that no account belongs to.
    """
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # which of them depends on the Python version and platform
        return f"account {os.getuid()}" if hasattr(os, "getuid") else "unknown"
