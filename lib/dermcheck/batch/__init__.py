"""Predicts a whole archive in one pass: a folder in, ISIC tables, masks and DICOM objects out."""

from dermcheck.batch.archive import BatchSettings, OnProgress, Tally, run_batch

__all__ = ["BatchSettings", "OnProgress", "Tally", "run_batch"]
