"""Predicts a whole archive in one pass: images in, ISIC tables, reports, masks and DICOM objects out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dermcheck.batch.archive import BatchSettings, OnProgress, Tally, run_batch

__all__ = ["BatchSettings", "OnProgress", "Tally", "run_batch"]


def __getattr__(name: str) -> Any:
    """Import what predicts only when it is asked for: `status` needs no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dermcheck.batch import archive

    return getattr(archive, name)
