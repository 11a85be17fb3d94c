r"""Publish trained reference models: calibrate on fold 8, measure fold 9 once, write weights and cards.

    python3 scripts/publish_reference_models.py --ham10000 DIR --task1 DIR --diagnoses CSV --work DIR \
        --output DIR

What is measured is the shipped half-precision weights on the original picture files through the
product's own prediction, not the trainer's arrays. Fold 9 is used for nothing else. With
``--measure DIR`` nothing is written: models already published in DIR are measured again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from dermcheck.dicom import read_picture
from dermcheck.inference import Predictor
from dermcheck.lesions import CLASSES
from dermcheck.networks.architectures import build_densenet121, build_unet
from dermcheck.networks.cards import OUTLINER_CLASSES, Calibration, InputSpec, ModelCard
from dermcheck.networks.checkpoint import save_model
from dermcheck.training.calibration import fit_calibration
from dermcheck.training.classification import mean_logits
from dermcheck.training.evaluation import Figure, classification_figures, jaccard_index, outline_figures
from dermcheck.training.photographs import Photographs, open_photographs
from train_reference_models import SCHEDULES

LICENCE = (
    "CC BY-NC 4.0 (research, non-commercial): trained on HAM10000 (ViDIR Group, Medical University of "
    "Vienna, CC BY-NC 4.0), ISIC 2018 Task 1 masks (CC0) and ISIC 2019 diagnoses (CC BY-NC 4.0)"
)
DATA = (
    "HAM10000 (10,015 dermoscopic images, lesion-wise folds) and ISIC 2018 Task 1 (2,594 images): "
    "folds 0-7 trained, fold 8 selected and calibrated, fold 9 reported only"
)
COMMAND = (
    "scripts/train_reference_models.py outliner, teacher, classifier; scripts/publish_reference_models.py"
)
HALF = (0.5, 0.5, 0.5)


def classifier_card(photographs: Photographs, work: Path, version: str) -> tuple[torch.nn.Module, ModelCard]:
    """Load the trained classifier and calibrate it on fold 8 of HAM10000."""
    network = build_densenet121()
    network.load_state_dict(torch.load(work / "classifier" / "weights.pt", weights_only=True))
    side = SCHEDULES["classifier"].sides[-1]
    clinic = photographs.diagnosis[photographs.rows(range(8), "ham10000")]
    natural = np.bincount(clinic, minlength=len(CLASSES)) / len(clinic)
    select = photographs.rows(range(8, 9), "ham10000")
    logits = mean_logits(network, photographs, select, side)
    temperature, training = fit_calibration(logits, photographs.diagnosis[select], natural)
    card = ModelCard(
        name="DermCheck classifier",
        version=version,
        task="classification",
        architecture="densenet121",
        classes=CLASSES,
        input=InputSpec(side=side, mean=HALF, std=HALF, geometry="centre_square"),
        calibration=Calibration(
            temperature=temperature, training_prior=tuple(training), natural_prior=tuple(natural)
        ),
        data=DATA,
        licence=LICENCE,
        command=COMMAND,
    )
    return network, card


def outliner_card(work: Path, version: str) -> tuple[torch.nn.Module, ModelCard]:
    """Load the trained outliner."""
    network = build_unet()
    network.load_state_dict(torch.load(work / "outliner" / "weights.pt", weights_only=True))
    side = SCHEDULES["outliner"].sides[-1]
    card = ModelCard(
        name="DermCheck outliner",
        version=version,
        task="segmentation",
        architecture="unet",
        classes=OUTLINER_CLASSES,
        input=InputSpec(side=side, mean=HALF, std=HALF, geometry="short_side"),
        data=DATA,
        licence=LICENCE,
        command=COMMAND,
    )
    return network, card


def measure(
    predictor: Predictor, photographs: Photographs, folders: dict[str, Path]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures of classifier and outliner on fold 9, each with its 95 % bootstrap interval by lesion."""
    rows = photographs.rows(range(9, 10))
    probability, decision, jaccard = [], [], []
    for row in tqdm(rows, desc="fold 9", unit="image"):
        folder, name = folders[photographs.source[row]], photographs.image_id[row]
        report = predictor.predict(read_picture(folder / "images" / f"{name}.jpg"))
        with Image.open(folder / "masks" / f"{name}_segmentation.png") as picture:
            expert = np.asarray(picture.convert("L")) > 127
        probability.append([report.probabilities[name] for name in CLASSES])
        decision.append(report.decision.index)
        jaccard.append(jaccard_index(report.mask, expert))
    lesion, source = photographs.lesion_id[rows], photographs.source[rows]
    ham = source == "ham10000"
    classifier = classification_figures(
        np.array(probability)[ham], np.array(decision)[ham], photographs.diagnosis[rows][ham], lesion[ham]
    )
    outliner = {
        name: as_json(outline_figures(np.array(jaccard)[source == name], lesion[source == name]))
        for name in folders
    }
    images = {"fold": 9, "images": {name: int((source == name).sum()) for name in folders}}
    return {**images, "ham10000": as_json(classifier)}, {**images, **outliner}


def as_json(figures: dict[str, Figure]) -> dict[str, Any]:
    """Round to four decimals: value and 95 % interval."""
    return {
        name: {"value": round(f.value, 4), "interval95": [round(f.low, 4), round(f.high, 4)]}
        for name, f in figures.items()
    }


def main() -> None:
    """Publish, or measure what is published."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ham10000", type=Path, required=True, help="folder with images, masks, labels.csv")
    parser.add_argument("--task1", type=Path, required=True, help="the same of ISIC 2018 Task 1")
    parser.add_argument("--diagnoses", type=Path, required=True, help="CSV of Task 1's diagnoses")
    parser.add_argument("--work", type=Path, required=True, help="the training's folder")
    parser.add_argument("--version", default="1", help="version that the cards name (default: 1)")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--output", type=Path, help="new folder for classifier/ and outliner/")
    target.add_argument("--measure", type=Path, help="folder of published models to measure again")
    arguments = parser.parse_args()
    photographs = open_photographs(
        arguments.ham10000, arguments.task1, arguments.diagnoses, arguments.work / "cache"
    )
    folders = {"ham10000": arguments.ham10000, "task1": arguments.task1}
    if arguments.measure is not None:
        figures = measure(Predictor.load(arguments.measure), photographs, folders)
    else:
        models = {
            "classifier": classifier_card(photographs, arguments.work, arguments.version),
            "outliner": outliner_card(arguments.work, arguments.version),
        }
        with tempfile.TemporaryDirectory() as trial:
            for name, (network, card) in models.items():
                save_model(Path(trial) / name, network, card)
            figures = measure(Predictor.load(Path(trial)), photographs, folders)
        for (name, (network, card)), measured in zip(models.items(), figures, strict=True):
            save_model(arguments.output / name, network, dataclasses.replace(card, figures=measured))
    print(json.dumps(dict(zip(("classifier", "outliner"), figures, strict=True)), indent=2))


if __name__ == "__main__":
    main()
