"""The whole report on every photograph as one table: JSON lines, or Parquet for data frames.

Both hold the same columns. What they say is in the journal from the beginning, so that a report can
be asked for later without predicting again.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, TypeAlias

import numpy as np

from dermcheck.batch.outcomes import Prediction
from dermcheck.dicom.files import file_name
from dermcheck.dicom.segmentation import LesionMask
from dermcheck.errors import ArgumentError
from dermcheck.inference.report import LesionReport
from dermcheck.lesions import CLASSES

if TYPE_CHECKING:
    from pydicom import Dataset

    from dermcheck.batch.sources import SourceImage

__all__ = [
    "REPORT_COLUMNS",
    "REPORT_NAMES",
    "ReportFormat",
    "check_formats",
    "instance_uids",
    "report_details",
    "write_json_lines",
    "write_parquet",
]

ReportFormat: TypeAlias = Literal["jsonl", "parquet"]
REPORT_NAMES: Final = {"jsonl": "report.jsonl", "parquet": "report.parquet"}

_DECIMALS: Final = 6
"""More than a calibration can know; what is left is the same however photographs were grouped."""
_ROWS_IN_MEMORY: Final = 10_000

REPORT_COLUMNS: Final = {
    "image": "string",
    "file": "string",
    "decision": "string",
    **{f"probability_{name}": "double" for name in CLASSES},
    "uncertainty": "double",
    "confidence": "double",
    "not_sure": "bool",
    "possible_classes": "list<string>",
    "melanoma_not_excluded": "bool",
    "lesion_photograph_score": "double",
    "is_lesion_photograph": "bool",
    "rows": "int32",
    "columns": "int32",
    "lesion_pixels": "int64",
    "lesion_share": "double",
    "lesion_first_row": "int32",
    "lesion_first_column": "int32",
    "lesion_last_row": "int32",
    "lesion_last_column": "int32",
    "study_instance_uid": "string",
    "series_instance_uid": "string",
    "sop_instance_uid": "string",
    "classifier": "string",
    "classifier_sha256": "string",
    "outliner": "string",
    "outliner_sha256": "string",
}
"""Columns and their types. Null where there is nothing to say: no rule on the model's card, no lesion
outlined, a photo that is not DICOM. Rows and columns count from 0; the last ones belong to the lesion."""


def check_formats(formats: Iterable[ReportFormat]) -> None:
    """Refuse a format whose package is missing or cannot be used here, before any work is done."""
    if "parquet" not in formats:
        return
    try:
        importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ArgumentError(
            f"A Parquet report needs the package pyarrow, which cannot be imported ({error}). Install "
            '"dermcheck[parquet]", or ask for --report jsonl, which holds the same columns.'
        ) from error


def report_details(report: LesionReport, source: SourceImage) -> dict[str, Any]:
    """Give the columns of one photograph except its names and probabilities.

    Parameters
    ----------
    report
        The answer; its mask has the photograph's own size.
    source
        Where it comes from; a DICOM photograph's UIDs are told.
    """
    told = report.caution
    possible = told.possible_classes
    return {
        "decision": report.decision.name,
        "uncertainty": _rounded(report.uncertainty),
        "confidence": _rounded(told.confidence),
        "not_sure": told.not_sure,
        "possible_classes": None if possible is None else [lesion.name for lesion in possible],
        "melanoma_not_excluded": told.melanoma_not_excluded,
        "lesion_photograph_score": _rounded(told.lesion_photograph_score),
        "is_lesion_photograph": told.is_lesion_photograph,
        **_lesion(report.mask),
        **instance_uids(None if source.wrapped else source.dataset),
        "classifier": f"{report.classifier.name} {report.classifier.version}",
        "classifier_sha256": report.classifier.model_hash,
        "outliner": f"{report.outliner.name} {report.outliner.version}",
        "outliner_sha256": report.outliner.model_hash,
    }


def _lesion(mask: LesionMask) -> dict[str, int | float]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    pixels = int(np.count_nonzero(mask))
    found: dict[str, int | float] = {
        "rows": mask.shape[0],
        "columns": mask.shape[1],
        "lesion_pixels": pixels,
        "lesion_share": round(pixels / mask.size, _DECIMALS),
    }
    if pixels:
        found |= {
            "lesion_first_row": int(rows[0]),
            "lesion_first_column": int(columns[0]),
            "lesion_last_row": int(rows[-1]),
            "lesion_last_column": int(columns[-1]),
        }
    return found


def instance_uids(dataset: Dataset | None) -> dict[str, str]:
    """Give the columns that name a DICOM photograph; none for a photo that is not DICOM."""
    if dataset is None:
        return {}
    return {
        "study_instance_uid": str(dataset.get("StudyInstanceUID", "")),
        "series_instance_uid": str(dataset.get("SeriesInstanceUID", "")),
        "sop_instance_uid": str(dataset.get("SOPInstanceUID", "")),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DECIMALS)


def write_json_lines(file: BinaryIO, predictions: Iterable[tuple[Path, Prediction]]) -> None:
    """Write one JSON object a line (UTF-8), the columns in the order of `REPORT_COLUMNS`."""
    for row in _rows(predictions):
        file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


def write_parquet(file: BinaryIO, predictions: Iterable[tuple[Path, Prediction]]) -> None:
    """Write a Parquet file in groups of rows, so that memory does not grow with their number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "string": pa.string(),
        "double": pa.float64(),
        "bool": pa.bool_(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "list<string>": pa.list_(pa.string()),
    }
    schema = pa.schema([(name, types[kind]) for name, kind in REPORT_COLUMNS.items()])
    rows = _rows(predictions)
    with pq.ParquetWriter(file, schema) as writer:
        while group := list(islice(rows, _ROWS_IN_MEMORY)):
            writer.write_table(pa.Table.from_pylist(group, schema))


def _rows(predictions: Iterable[tuple[Path, Prediction]]) -> Iterator[dict[str, Any]]:
    for path, prediction in predictions:
        known = {
            "image": prediction.image,
            "file": file_name(path),
            **{f"probability_{name}": _rounded(value) for name, value in prediction.probabilities.items()},
            **prediction.details,
        }
        yield {name: known.get(name) for name in REPORT_COLUMNS}
