"""The figures of a card once more, from the files that `dermcheck batch` writes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dermcheck.batch.results import CAUTIONS_NAME, ISIC_COLUMNS, PREDICTIONS_NAME
from dermcheck.cli import main as dermcheck
from dermcheck.dicom import read_picture
from dermcheck.lesions import CLASSES, LESION_CLASSES
from dermcheck.networks.cards import ModelCard
from dermcheck.training.data import DataSet
from dermcheck.training.data.splits import REPORT
from dermcheck.training.evaluation.answers import ClassificationAnswers, OutlineAnswers
from dermcheck.training.evaluation.masks import agreement
from dermcheck.training.evaluation.reading import columns_of, find_cases
from dermcheck.training.evaluation.reports import classification_report, outline_report

__all__ = ["differences", "predict_fold_9", "reports_of_results"]

Row = dict[str, str]


def predict_fold_9(data: DataSet, models: Path, output: Path) -> None:
    """Let `dermcheck batch` predict the photograph files of fold 9.

    Parameters
    ----------
    models
        Folder with the subfolders `classifier` and `outliner`.
    output
        New folder for tables and masks.
    """
    output.mkdir(parents=True)
    files = [photograph.picture.path for photograph in data.photographs if photograph.fold in REPORT]
    listed = output / "fold-9.csv"
    with listed.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["path"], *([str(path.resolve())] for path in files)])
    arguments = ["batch", listed, "--output", output / "results", "--models", models, "--masks", "png"]
    if dermcheck([*map(str, arguments), "--json"]) != 0:
        raise SystemExit(f"dermcheck batch did not predict all of fold 9; see {output / 'results'}.")


def reports_of_results(data: DataSet, output: Path, classifier: ModelCard) -> dict[str, dict[str, Any]]:
    """Compute the reports of both tasks from the tables and masks in `output`, by task."""
    results = output / "results"
    predictions, cautions = (_table(results / name) for name in (PREDICTIONS_NAME, CAUTIONS_NAME))
    classified: list[dict[str, Any]] = []
    outlined: list[dict[str, Any]] = []
    for case in find_cases(data, REPORT):
        name, pixels = case.known["image_id"], case.read_picture()
        about = case.known | {"typology_angle": case.typology_angle(pixels)}
        if case.diagnosis >= 0:
            told = _diagnosis(predictions[name], cautions[name])
            classified.append(about | {"truth": case.diagnosis} | told)
        if case.read_expert:
            mask = read_picture(results / "masks" / f"{name}_segmentation.png")[..., 0] > 127
            outlined.append(about | agreement(mask, case.expert_mask(pixels)))
    diagnoses = ClassificationAnswers(**columns_of(classified, "a diagnosis", data, []))
    outlines = OutlineAnswers(**columns_of(outlined, "an outline", data, []))
    return {
        "classification": classification_report(diagnoses, classifier.rules),
        "segmentation": outline_report(outlines),
    }


def differences(card: object, found: object, where: str = "") -> Iterator[tuple[str, object, object]]:
    """Yield every number or name that `found` has and `card` does not have alike: its place, and both."""
    if isinstance(found, dict):
        known = card if isinstance(card, dict) else {}
        for name, value in found.items():
            yield from differences(known.get(name), value, f"{where}/{name}")
    elif isinstance(found, list) and isinstance(card, list) and len(found) == len(card):
        for number, (one, two) in enumerate(zip(card, found, strict=True)):
            yield from differences(one, two, f"{where}/{number}")
    elif card != found:
        yield where, card, found


def _table(path: Path) -> dict[str, Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


def _diagnosis(prediction: Row, caution: Row) -> dict[str, Any]:
    by_column = {lesion.isic: lesion.index for lesion in LESION_CLASSES}
    probability = [0.0] * len(CLASSES)
    for column in ISIC_COLUMNS:
        probability[by_column[column]] = float(prediction[column])
    possible = caution["possible_classes"].split() or CLASSES
    score = caution["lesion_photograph_score"]
    return {
        "probability": probability,
        "decision": CLASSES.index(caution["decision"]),
        "confidence": float(caution["confidence"] or np.nan),
        "sure": caution["not_sure"] != "yes",
        "possible": [name in possible for name in CLASSES],
        "melanoma_not_excluded": caution["melanoma_not_excluded"] != "no",
        "photograph_score": float(score or np.nan),
        "is_lesion_photograph": caution["is_lesion_photograph"] != "no",
    }
