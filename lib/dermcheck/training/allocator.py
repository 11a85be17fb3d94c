"""How the C library keeps memory while PyTorch computes on the processor."""

from __future__ import annotations

import ctypes
import platform
from typing import Final

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_MAX: Final = -4
"""Parameters of glibc's mallopt(3)."""
_NEVER: Final = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for its next request, until it ends.

    glibc otherwise gives every large block back to the operating system and takes a new one for the next
    layer's output, filled with zeros page by page: two thirds of the time of drawing a batch of views, as
    measured.

    Returns
    -------
    bool
        Whether anything was changed: other C libraries than glibc keep memory in ways of their own.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    no_mapping = bool(library.mallopt(_M_MMAP_MAX, 0))
    return bool(library.mallopt(_M_TRIM_THRESHOLD, _NEVER)) and no_mapping
