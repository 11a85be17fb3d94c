"""Labelled photographs: data sets and corrections, their folds, the picture cache, views for training."""

from dermcheck.training.data.corrections import open_corrections
from dermcheck.training.data.data_set import DataError, DataSet, LabelledPhotograph
from dermcheck.training.data.layouts import open_data_set
from dermcheck.training.data.picture_cache import Photographs, decode, identify
from dermcheck.training.data.sampling import draw_rows, sampling_prior
from dermcheck.training.data.splits import assign_folds, check_folds, write_split
from dermcheck.training.data.transforms import to_batch, training_transforms, validation_transforms

__all__ = [
    "DataError",
    "DataSet",
    "LabelledPhotograph",
    "Photographs",
    "assign_folds",
    "check_folds",
    "decode",
    "draw_rows",
    "identify",
    "open_corrections",
    "open_data_set",
    "sampling_prior",
    "to_batch",
    "training_transforms",
    "validation_transforms",
    "write_split",
]
