r"""Publish a trained reference model: calibrate on fold 8, measure fold 9 once, write weights and card.

    python3 scripts/publish_reference_models.py --weights WORK/classifier/weights.safetensors \
        --architecture densenet121 --side 224 --version 2 --cache DIR \
        --ham10000 DIR --task1 DIR --diagnoses CSV --output DIR/classifier

Takes a state dict (.pt or .safetensors) or the folder of a candidate with its card, of a classifier or an
outliner. What is measured is the half-precision weights as they are shipped, on the original picture files
through the product's own prediction, not the trainer's arrays. Fold 9 is used for nothing else. With
``--measure DIR`` in place of ``--weights`` and ``--output``, a published model is measured again and nothing
is written.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from dermcheck.dicom import read_picture
from dermcheck.inference.classifier import Classifier
from dermcheck.lesions import CLASSES
from dermcheck.networks.architectures import ARCHITECTURES, build_network
from dermcheck.networks.cards import OUTLINER_CLASSES, Calibration, InputSpec, ModelCard
from dermcheck.networks.checkpoint import CARD_NAME, load_model, save_model
from dermcheck.networks.photograph_probe import probe_of
from dermcheck.training.calibration import finish_card
from dermcheck.training.data import DataSet, Photographs, decode, identify, open_data_set
from dermcheck.training.data.sampling import sampling_prior
from dermcheck.training.data.splits import FIT, REPORT
from dermcheck.training.evaluation.answers import classify_photographs, outline_photographs
from dermcheck.training.evaluation.reports import classification_report, outline_report
from dermcheck.training.negatives import NEGATIVE_KINDS, draw_negatives
from dermcheck.training.photograph_check import CheckFeatures, gather_features, measure_left_out

HAM10000, TASK1 = "ham10000", "isic2018_task1"
LICENCE = (
    "CC BY-NC 4.0 (research, non-commercial): trained on HAM10000 (ViDIR Group, Medical University of "
    "Vienna, CC BY-NC 4.0), ISIC 2018 Task 1 masks (CC0) and ISIC 2019 diagnoses (CC BY-NC 4.0)"
)
DATA = (
    "HAM10000 (10,015 dermoscopic images, lesion-wise folds) and ISIC 2018 Task 1 (2,594 images): "
    "folds 0-7 trained, fold 8 selected and calibrated, fold 9 reported only"
)
COMMAND = (
    "scripts/train_reference_models.py teacher, outliner, classifier; scripts/publish_reference_models.py"
)
HALF = (0.5, 0.5, 0.5)
CACHE_SIDE = 256
NAMES = {"classification": "DermCheck classifier", "segmentation": "DermCheck outliner"}
MULTIPLES = {"unet": 16}
"""Others halve their input five times."""

Model = tuple[nn.Module, ModelCard]


def read_trained(arguments: argparse.Namespace, photographs: Photographs) -> Model:
    """Load what a training left, with the card that it starts with."""
    if (arguments.weights / CARD_NAME).exists():
        network, card = load_model(arguments.weights)
        return network, dataclasses.replace(card, version=arguments.version, created="", sha256="")
    if arguments.architecture is None or arguments.side is None:
        raise SystemExit("--weights is a state dict, so --architecture and --side are needed too.")
    state = (
        load_file(arguments.weights)
        if arguments.weights.suffix == ".safetensors"
        else torch.load(arguments.weights, map_location="cpu", weights_only=True)
    )
    task = ARCHITECTURES[arguments.architecture].task
    network = build_network(arguments.architecture, task)
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    classifies = task == "classification"
    card = ModelCard(
        name=arguments.name or NAMES[task],
        version=arguments.version,
        task=task,
        architecture=arguments.architecture,
        classes=CLASSES if classifies else OUTLINER_CLASSES,
        input=InputSpec(
            side=arguments.side,
            mean=HALF,
            std=HALF,
            geometry="centre_square" if classifies else "short_side",
            multiple=MULTIPLES.get(arguments.architecture, 32),
        ),
        calibration=first_calibration(photographs, arguments.drawn_power) if classifies else None,
        data=DATA,
        licence=LICENCE,
        command=arguments.command or COMMAND,
    )
    return network.eval().to(memory_format=torch.channels_last), card  # type: ignore[call-overload]


def first_calibration(photographs: Photographs, drawn_power: float) -> Calibration:
    """Take the shares that occur in HAM10000's folds 0 to 7, and those that were drawn in training."""
    occurring = np.bincount(photographs.diagnosis[photographs.rows(FIT, HAM10000)], minlength=len(CLASSES))
    drawn = sampling_prior(photographs.diagnosis[photographs.rows(FIT)], 1 - drawn_power)
    return Calibration(
        temperature=1.0,
        training_prior=tuple(drawn.tolist()),
        natural_prior=tuple((occurring / occurring.sum()).tolist()),
    )


def measure(
    model: Model, data: DataSet, photographs: Photographs, features: CheckFeatures | None = None
) -> dict[str, Any]:
    """All figures of fold 9, each with its 95 % bootstrap interval by lesion, by data set."""
    network, card = model
    figures: dict[str, Any] = {"fold": 9}
    for source in (HAM10000, TASK1):
        part = only(data, source)
        if card.task == "segmentation":
            figures[source] = outline_report(outline_photographs(model, part, REPORT, progress=True))
        else:
            answers = classify_photographs(model, part, REPORT, progress=True)
            figures[source] = classification_report(answers, card.rules)
        for bulky in ("sources", "problems"):
            del figures[source][bulky]
    if card.task == "classification" and probe_of(network) is not None:
        features = features or gather_features(network, card, photographs)
        figures["no_lesion_photograph"] = {
            "kinds_left_out_of_the_fit": features and measure_left_out(network, card, photographs, features),
            "new_pictures_of_all_kinds": flagged_kinds(Classifier(network, card)),
            "sample_pictures": flagged_samples(Classifier(network, card)),
        }
    return figures


def only(data: DataSet, source: str) -> DataSet:
    """Keep one source's photographs, with the folds that all of them together have."""
    kept = tuple(photograph for photograph in data.photographs if photograph.source == source)
    return DataSet(source, kept, data.problems)


def flagged_kinds(classifier: Classifier) -> dict[str, float]:
    """Tell which share of newly drawn pictures is flagged, of each kind that the check was fitted on."""
    kinds, pictures = draw_negatives(40, CACHE_SIDE, seed=7)
    said = [classifier.diagnose([pixels])[0].caution.is_lesion_photograph for pixels in pictures]
    flagged = ~np.array(said)
    return {kind: round(float(flagged[kinds == kind].mean()), 4) for kind in NEGATIVE_KINDS}


def flagged_samples(classifier: Classifier) -> dict[str, bool]:
    """Tell which of the sample pictures that come with other packages are flagged; none was fitted to."""
    pictures = dict(sample_pictures())
    said = [classifier.diagnose([pixels])[0] for pixels in pictures.values()]
    return {name: not each.caution.is_lesion_photograph for name, each in zip(pictures, said, strict=True)}


def sample_pictures() -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield what scikit-image, scikit-learn and matplotlib bring along: people, cats, texts, textures, ..."""
    import matplotlib as mpl
    import skimage.data
    import sklearn.datasets

    folders = (
        Path(skimage.data.__file__).parent,
        Path(sklearn.datasets.__file__).parent / "images",
        Path(mpl.get_data_path()) / "sample_data",
    )
    for folder in folders:
        for path in sorted([*folder.glob("*.png"), *folder.glob("*.jpg")]):
            with Image.open(path) as picture:
                opaque = "A" not in picture.getbands()  # the product refuses others
            if opaque:
                yield path.stem, read_picture(path)


def main() -> None:
    """Publish, or measure what is published."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ham10000", type=Path, required=True, help="folder with images, masks, labels.csv")
    parser.add_argument("--task1", type=Path, required=True, help="the same of ISIC 2018 Task 1")
    parser.add_argument("--diagnoses", type=Path, required=True, help="CSV of Task 1's diagnoses")
    parser.add_argument("--cache", type=Path, required=True, help="folder for decoded photographs (3.3 GB)")
    parser.add_argument("--name", help="name of the model, if it is not the usual one")
    parser.add_argument("--command", help="what trained it, for the card")
    parser.add_argument(
        "--drawn-power", type=float, default=0.4,
        help="training drew each class in proportion to its photographs to this power (default: 0.4)",
    )  # fmt: skip
    parser.add_argument("--version", default="2", help="version that the card names (default: 2)")
    parser.add_argument("--architecture", choices=ARCHITECTURES, help="of a state dict")
    parser.add_argument("--side", type=int, help="input side in pixels that a state dict was trained for")
    parser.add_argument("--weights", type=Path, help="state dict (.pt, .safetensors) or a candidate's folder")
    parser.add_argument("--output", type=Path, help="new folder for weights and card")
    parser.add_argument("--measure", type=Path, help="folder of a published model to measure again")
    arguments = parser.parse_args()
    if (arguments.measure is None) == (arguments.weights is None or arguments.output is None):
        parser.error("give --weights and --output, or --measure alone")
    data = open_data_set(arguments.ham10000, name=HAM10000)
    data += open_data_set(arguments.task1, diagnoses=arguments.diagnoses, name=TASK1)
    photographs = decode(data, CACHE_SIDE, arguments.cache)
    data = identify(data, arguments.cache)  # known from decoding
    for sentence in photographs.problems:
        print(sentence)
    if arguments.measure is not None:
        print(json.dumps(measure(load_model(arguments.measure), data, photographs), indent=2))
        return
    network, card = read_trained(arguments, photographs)
    # Probabilities are meant for patients like HAM10000's; Task 1 has other shares of the classes.
    source = HAM10000 if card.task == "classification" else None
    classifies = card.task == "classification"
    features = gather_features(network, card, photographs) if classifies else None
    card = finish_card(network, card, photographs, source=source, features=features)
    with tempfile.TemporaryDirectory() as trial:
        save_model(Path(trial) / "model", network, card)
        figures = measure(load_model(Path(trial) / "model"), data, photographs, features)
    card = save_model(arguments.output, network, dataclasses.replace(card, figures=card.figures | figures))
    print(json.dumps(json.loads(card.to_json()), indent=2))


if __name__ == "__main__":
    main()
