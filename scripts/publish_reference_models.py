r"""Publish a trained reference model: calibrate on fold 8, measure fold 9 once, write weights and card.

    python3 scripts/publish_reference_models.py --weights WORK/classifier/weights.safetensors \
        --architecture densenet121 --side 224 --version 2 --cache DIR \
        --ham10000 DIR --task1 DIR --diagnoses CSV --output DIR/classifier

Takes a state dict (.pt or .safetensors) or the folder of a candidate with its card, of a classifier or an
outliner; or two state dicts of EfficientNet-Lite0, which are published as a pair. What is measured is the
half-precision weights as they are shipped, on the original picture files through the product's own
prediction, not the trainer's arrays. Fold 9 is used for nothing else.

    python3 scripts/publish_reference_models.py --measure DIR [DIR ...] --write ...

measures published models again, and with ``--write`` puts the figures into their cards. Answers to changed
photographs are measured of a classifier and an outliner together: what DIR lacks of them is the shipped one.
``scripts/check_reference_models.py`` then proves the figures through ``dermcheck batch``, and
``scripts/write_reference_pages.py`` writes them into the documentation.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from dermcheck.files import replace_file
from dermcheck.inference import Classifier
from dermcheck.lesions import CLASSES
from dermcheck.networks.architectures import ARCHITECTURES, build_network
from dermcheck.networks.cards import OUTLINER_CLASSES, Calibration, InputSpec, ModelCard
from dermcheck.networks.checkpoint import (
    CARD_NAME,
    REFERENCE_MODELS,
    LoadedModel,
    in_single_precision,
    load_model,
    save_model,
)
from dermcheck.networks.efficientnet import EfficientNetLite0, EfficientNetLite0Pair
from dermcheck.training.allocator import keep_freed_memory
from dermcheck.training.calibration import finish_card
from dermcheck.training.data import DataSet, Photographs, decode, identify, open_data_set
from dermcheck.training.data.sampling import sampling_prior
from dermcheck.training.data.splits import FIT
from dermcheck.training.photograph_check import gather_features
from reference_publishing.measuring import (
    HAM10000,
    TASK1,
    measure,
    measure_check,
    measure_robustness,
)

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
SHIPPED = {"classification": REFERENCE_MODELS / "classifier", "segmentation": REFERENCE_MODELS / "outliner"}


def read_trained(arguments: argparse.Namespace, photographs: Photographs) -> LoadedModel:
    """Load what a training left, with the card that it starts with."""
    network: nn.Module
    first, *second = arguments.weights
    if (first / CARD_NAME).exists():
        network, card = load_model(first)
        return network, dataclasses.replace(card, version=arguments.version, created="", sha256="")
    architecture = "efficientnet_lite0_pair" if second else arguments.architecture
    if architecture is None or arguments.side is None:
        raise SystemExit("--weights is a state dict, so --architecture and --side are needed too.")
    if second:
        network = EfficientNetLite0Pair.of_two(read_lite0(first), read_lite0(second[0]))
    else:
        network = read_network(architecture, first)
    task = ARCHITECTURES[architecture].task
    classifies = task == "classification"
    card = ModelCard(
        name=arguments.name or NAMES[task],
        version=arguments.version,
        task=task,
        architecture=architecture,
        classes=CLASSES if classifies else OUTLINER_CLASSES,
        input=InputSpec(
            side=arguments.side,
            mean=HALF,
            std=HALF,
            geometry="centre_square" if classifies else "short_side",
            multiple=MULTIPLES.get(architecture, 32),
            quarter_turns=arguments.quarter_turns or arguments.closer_look,
            closer_look=arguments.closer_look,
        ),
        calibration=first_calibration(photographs, arguments.drawn_power) if classifies else None,
        data=DATA,
        licence=LICENCE,
        command=arguments.command or COMMAND,
    )
    return network.eval().to(memory_format=torch.channels_last), card  # type: ignore[call-overload]


def read_network(architecture: str, weights: Path) -> nn.Module:
    """Build a network with the weights of a state dict."""
    state = (
        load_file(weights)
        if weights.suffix == ".safetensors"
        else torch.load(weights, map_location="cpu", weights_only=True)
    )
    network = build_network(architecture, ARCHITECTURES[architecture].task)
    network.load_state_dict(in_single_precision(state))
    return network


def read_lite0(weights: Path) -> EfficientNetLite0:
    """Read one of a pair."""
    network = read_network("efficientnet_lite0", weights)
    assert isinstance(network, EfficientNetLite0)  # noqa: S101  # that is what this architecture builds
    return network


def first_calibration(photographs: Photographs, drawn_power: float) -> Calibration:
    """Take the shares that occur in HAM10000's folds 0 to 7, and those that were drawn in training."""
    occurring = np.bincount(photographs.diagnosis[photographs.rows(FIT, HAM10000)], minlength=len(CLASSES))
    drawn = sampling_prior(photographs.diagnosis[photographs.rows(FIT)], 1 - drawn_power)
    return Calibration(
        temperature=1.0,
        training_prior=tuple(drawn.tolist()),
        natural_prior=tuple((occurring / occurring.sum()).tolist()),
    )


def measure_again(arguments: argparse.Namespace, data: DataSet, photographs: Photographs | None) -> None:
    """Measure published models, print the figures, and write them into the cards if that is asked for."""
    models = {folder: load_model(folder) for folder in arguments.measure}
    by_task = {task: [f for f, (_, card) in models.items() if card.task == task] for task in SHIPPED}
    outliner, *further = by_task["segmentation"] or [SHIPPED["segmentation"]]
    if further:
        raise SystemExit("--measure takes one outliner at a time: each classifier is measured beside it.")
    beside = models.get(outliner) or load_model(outliner)
    figures = {folder: measure(model, data, beside) for folder, model in models.items()}
    for classifier in by_task["classification"] or [SHIPPED["classification"]]:
        pair = classifier, outliner
        found = measure_robustness(*(models.get(folder) or load_model(folder) for folder in pair), data)
        for folder, robustness in zip(pair, found.values(), strict=True):
            if folder in figures:
                _add_robustness(figures[folder], robustness)
    for folder, (network, card) in models.items():
        check = None
        if photographs is not None:
            check = measure_check((network, card), beside, photographs)
        if check is not None:
            figures[folder]["no_lesion_photograph"] = check
        card = dataclasses.replace(card, figures={**card.figures, **figures[folder]})
        if arguments.write:
            replace_file(folder / CARD_NAME, card.to_json())
        print(json.dumps(card.figures, indent=2, ensure_ascii=False))


def publish(arguments: argparse.Namespace, data: DataSet, photographs: Photographs) -> None:
    """Finish a trained model's card, measure what will be shipped, and write both."""
    network, card = read_trained(arguments, photographs)
    # Probabilities are meant for patients like HAM10000's; Task 1 has other shares of the classes.
    classifies = card.task == "classification"
    partner = load_model(SHIPPED["segmentation" if classifies else "classification"])
    features = None
    if classifies:
        features = gather_features(Classifier(network, card, outliner=partner), photographs)
    card = finish_card(
        network,
        card,
        photographs,
        outliner=partner if classifies else None,
        source=HAM10000 if classifies else None,
        features=features,
    )
    if arguments.unmeasured:
        save_model(arguments.output, network, card)
        return
    with tempfile.TemporaryDirectory() as trial:
        save_model(Path(trial) / "model", network, card)
        model = load_model(Path(trial) / "model")
        figures = measure(model, data, partner)
        robustness = measure_robustness(*((model, partner) if classifies else (partner, model)), data)
        _add_robustness(figures, robustness[card.task])
        if (check := measure_check(model, partner, photographs, features)) is not None:
            figures["no_lesion_photograph"] = check
    card = save_model(
        arguments.output, network, dataclasses.replace(card, figures={**card.figures, **figures})
    )
    print(json.dumps(json.loads(card.to_json()), indent=2, ensure_ascii=False))


def _add_robustness(figures: dict[str, Any], robustness: dict[str, Any]) -> None:
    for source, found in robustness.items():
        figures[source]["robustness"] = found


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
    parser.add_argument(
        "--quarter-turns", action="store_true", help="of a classifier: average over the four quarter turns"
    )
    parser.add_argument(
        "--closer-look", action="store_true",
        help="the same, and show the square around the shipped outliner's outline in two of the turns",
    )  # fmt: skip
    parser.add_argument(
        "--weights", type=Path, nargs="+",
        help="state dict (.pt, .safetensors) or a candidate's folder; two of EfficientNet-Lite0 for a pair",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, help="new folder for weights and card")
    parser.add_argument(
        "--unmeasured", action="store_true",
        help="write the card without figures of fold 9: to measure a classifier and an outliner together "
        "afterwards, with --measure and --write",
    )  # fmt: skip
    parser.add_argument(
        "--measure", type=Path, nargs="+", metavar="DIR", help="folders of published models to measure again"
    )
    parser.add_argument("--write", action="store_true", help="with --measure: put the figures into the cards")
    parser.add_argument(
        "--keep-check", action="store_true",
        help="with --measure: leave the figures on pictures of other things as they are; quicker",
    )  # fmt: skip
    arguments = parser.parse_args()
    if (arguments.measure is None) == (arguments.weights is None or arguments.output is None):
        parser.error("give --weights and --output, or --measure alone")
    keep_freed_memory()
    data = open_data_set(arguments.ham10000, name=HAM10000)
    data += open_data_set(arguments.task1, diagnoses=arguments.diagnoses, name=TASK1)
    photographs = None if arguments.keep_check else decode(data, CACHE_SIDE, arguments.cache)
    data = identify(data, arguments.cache)
    for sentence in data.problems:
        print(sentence, file=sys.stderr)
    if arguments.measure is not None:
        measure_again(arguments, data, photographs)
    elif photographs is None:
        parser.error("--keep-check goes with --measure: a new model's check is measured")
    else:
        publish(arguments, data, photographs)


if __name__ == "__main__":
    main()
