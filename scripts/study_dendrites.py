"""Are dendrites worth it? The study of docs/dendrites.md as one command that can be stopped and repeated.

    python scripts/study_dendrites.py --ham10000 DIR --task1 DIR --task1-diagnoses FILE --start DIR --work DIR

Every run is a process of its own (forked: Linux and macOS) and leaves one JSON file in
``WORK/runs``; a run whose file exists is not repeated. At the end, the tables are printed as Markdown
and written to ``WORK/tables.md`` and ``WORK/results.csv``.

Nothing is reported on a photograph that any of the weights has seen: the select and report rows lie
in fold 8, on which the reference weights have not been trained. Fold 9 is not touched.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from PIL import Image
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from dermcheck.files import replace_file
from dermcheck.lesions import CLASSES
from dermcheck.networks import build_densenet121, load_model
from dermcheck.training.dendrites import DendriteGrowth, DendriteSettings, GrowthStep, dendrites_available

FEATURE_SIDE = 96
"""Side in pixels where the layers before the last dense block are frozen and computed once."""
WHOLE_SIDE = 64
"""Side in pixels where the whole network is trained."""
VIEWS = 4
"""Rotations by 90 degrees."""
TRAINING = 3000
"""Photographs of folds 0 to 7 that are learnt from anew, drawn once."""
STORED = ("features.npy", "pooled.npy", "early.npy")
PARTS = 5
PLAIN_PARAMETERS = 6_961_031
"""Of DenseNet121 with seven classes."""
SAMPLING_POWER = 0.6
"""Rare classes are drawn by frequency**(1 - power), as in DermCheck's classifier training."""
BATCH = 32
CONTROL = " – control"
"""What is added to an arm's name to give the plain network, restarted and trained as long."""
TITLES = {
    "early": "A head learnt anew on features of the second dense block",
    "head": "The trained head, taught new photographs",
    "block": "The last dense block and the head, learnt anew",
    "whole": "The whole trained network, taught smaller pictures",
}


@dataclass(frozen=True)
class Arm:
    """One way of training that is compared."""

    name: str
    dendrites: DendriteSettings | None = None
    as_long_as: str | None = None
    """The control: restarted at the epochs where that arm was restructured, and trained as long."""
    trained: Literal["early", "head", "block", "whole"] = "block"
    """A head from random weights on stored early features; the reference head on stored outputs of the
    layers below; the last dense block and the head, from random weights; or the whole reference network."""
    images: int = 512
    """Drawn per epoch."""
    epochs: int = 40
    """At the most."""
    rate: float = 3e-4
    dendrite_rate: float = 3e-3
    """Of dendrites and their influence."""
    patience: int = 4


def arms() -> tuple[Arm, ...]:
    """All arms, in the order in which they must run (a control after the arm it follows)."""
    grown: dict[str, Any] = {"patience": 4, "most": 2, "tries": 1}
    short: dict[str, Any] = {"patience": 2, "most": 1, "tries": 1}
    early: dict[str, Any] = {"trained": "early", "images": 3072, "epochs": 300, "patience": 10}
    early |= {"rate": 1e-3}
    head: dict[str, Any] = {"trained": "head", "images": 768, "epochs": 100, "rate": 1e-4}
    block: dict[str, Any] = {"trained": "block"}
    whole: dict[str, Any] = {"trained": "whole", "images": 192, "epochs": 12, "patience": 2}
    compared: list[Arm] = []
    for values, growth in ((early, {**grown, "patience": 10, "most": 5}), (head, grown), (block, grown)):
        compared.append(Arm(f"{values['trained']}: plain", **values))
        for weight in (0.0, 0.1, 0.5):
            compared += _with_control("head", DendriteSettings(weight=weight, **growth), values)
        if values is early:
            quick = {**values, "dendrite_rate": 1e-2}
            compared += _with_control("quick dendrites on the head", DendriteSettings(**growth), quick)
    compared.append(Arm("block: last block, λ = 0", DendriteSettings(where="last_block", **grown), **block))
    compared += _with_control("head", DendriteSettings(**short), whole)
    for where in ("last_block", "network"):
        name = f"whole: {where.replace('_', ' ')}, λ = 0"
        compared.append(Arm(name, DendriteSettings(where=where, **short), **whole))
    return tuple(compared)


def _with_control(where: str, settings: DendriteSettings, values: dict[str, Any]) -> tuple[Arm, Arm]:
    name = f"{values['trained']}: {where}, λ = {settings.weight:g}"
    return Arm(name, settings, **values), Arm(f"{name}{CONTROL}", as_long_as=name, **values)


def control_of(name: str) -> str:
    """Name the arm that another one is compared with: its own control, or that of its group."""
    names = {arm.name for arm in arms()}
    return (
        f"{name}{CONTROL}"
        if f"{name}{CONTROL}" in names
        else f"{name.partition(':')[0]}: head, λ = 0{CONTROL}"
    )


# --- data, once -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """Fold 8 and some photographs of folds 0 to 7 as arrays; row i of each is photograph i."""

    diagnosis: npt.NDArray[np.int64]
    lesion: npt.NDArray[np.str_]
    unseen: npt.NDArray[np.bool_]
    """In fold 8."""
    pictures: npt.NDArray[np.uint8]
    """(N, 64, 64, 3)."""
    features: npt.NDArray[np.float16]
    """(views, N, 512, 3, 3): input of the last dense block."""
    pooled: npt.NDArray[np.float16]
    """(views, N, 1024): input of the head."""
    early: npt.NDArray[np.float16]
    """(views, N, 1024): mean and standard deviation over the picture of the second block's outputs."""

    @classmethod
    def load(cls, work: Path) -> Data:
        """Map what `prepare` wrote."""
        table = np.load(work / "table.npz")
        stored = [np.load(work / name, mmap_mode="r") for name in STORED]
        return cls(*(table[name] for name in ("diagnosis", "lesion", "unseen", "pictures")), *stored)


def prepare(arguments: argparse.Namespace) -> None:
    """Compute the features once and keep the start weights, so that later runs all start alike."""
    work: Path = arguments.work
    rows = _chosen(arguments)
    network, card = load_model(arguments.start)
    if card.architecture != "densenet121" or card.dendrites:
        raise SystemExit(f"{arguments.start} is not a plain DenseNet121.")
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    safetensors.torch.save_file(weights, work / "start.safetensors")
    images = np.stack([_square(row) for row in tqdm(rows, desc="photographs", unit="image")])
    unseen = np.array([row["fold"] == "8" for row in rows])
    stored = [np.empty((VIEWS, len(rows), *shape), np.float16) for shape in ((512, 3, 3), (1024,), (1024,))]
    with torch.no_grad():
        for i in tqdm(range(0, len(rows), 64), desc="features", unit="batch"):
            pixels = _scaled(images[i : i + 64], FEATURE_SIDE)
            for view in range(VIEWS):
                for array, values in zip(stored, _features(network, pixels, view), strict=True):
                    array[view, i : i + 64] = values.half().numpy()
    seen = stored[2][:, ~unseen].astype(np.float32)
    stored[2] = (stored[2] - seen.mean((0, 1))) / (seen.std((0, 1)) + 1e-3)
    small = torch.cat([_scaled(images[i : i + 64], WHOLE_SIDE) for i in range(0, len(rows), 64)])
    for name, array in zip(STORED, stored, strict=True):
        np.save(work / name, array.astype(np.float16))
    np.savez(
        work / "table.npz",
        diagnosis=np.array([CLASSES.index(row["dx"]) for row in rows]),
        lesion=np.array([row.get("lesion_id") or row["image_id"] for row in rows]),
        unseen=unseen,
        pictures=((small + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy(),
    )


def _chosen(arguments: argparse.Namespace) -> list[dict[str, str]]:
    """List fold 8 and the drawn photographs of folds 0 to 7: rows of both labels.csv, with their files."""
    with arguments.task1_diagnoses.open(newline="") as file:
        diagnosed = {row["image_id"]: row["dx"] for row in csv.DictReader(file)}
    rows: list[dict[str, str]] = []
    for folder in (arguments.ham10000, arguments.task1):
        with (folder / "labels.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                dx = row.get("dx") or diagnosed.get(row["image_id"], "")
                rows.append({**row, "dx": dx, "file": str(folder / "images" / f"{row['image_id']}.jpg")})
    learnt = [i for i, row in enumerate(rows) if row["dx"] and row["fold"] in {*"01234567"}]
    unseen = [i for i, row in enumerate(rows) if row["dx"] and row["fold"] == "8"]
    drawn = np.random.default_rng(0).choice(learnt, TRAINING, replace=False)
    return [rows[i] for i in sorted([*unseen, *drawn])]


def _square(row: dict[str, str]) -> npt.NDArray[np.uint8]:
    with Image.open(row["file"]) as picture:
        return np.asarray(picture.convert("RGB").resize((256, 256), Image.Resampling.BILINEAR))


def _scaled(images: npt.NDArray[np.uint8], side: int) -> Tensor:
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)


def _features(network: nn.Module, pixels: Tensor, view: int) -> tuple[Tensor, Tensor, Tensor]:
    """Give the input of the last dense block, that of the head, and early features, as in `Data`."""
    pixels = torch.rot90(pixels, view, (2, 3))
    for name, layer in network.get_submodule("features").named_children():
        if name == "denseblock4":
            last = pixels
        pixels = layer(pixels)
        if name == "denseblock2":
            early = torch.cat([pixels.mean((2, 3)), pixels.std((2, 3))], 1)
    return last, F.relu(pixels).mean((2, 3)), early


def parts(data: Data, repeat: int) -> npt.NDArray[np.int64]:
    """Deal fold 8's lesions of each class out to five parts, -1 elsewhere; another dealing each repeat."""
    chance = np.random.default_rng(repeat)
    part = np.full(len(data.diagnosis), -1)
    first = 0
    for diagnosis in range(len(CLASSES)):
        lesions = np.unique(data.lesion[data.unseen & (data.diagnosis == diagnosis)])
        for i, lesion in enumerate(chance.permutation(lesions)):
            part[data.unseen & (data.lesion == lesion)] = (first + i) % PARTS
        first += len(lesions)
    return part


# --- one run ----------------------------------------------------------------------------------------


class Upper(nn.Module):
    """The last dense block and what follows, with DenseNet121's own names."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        features = network.get_submodule("features")
        self.features = nn.Sequential()
        for name in ("denseblock4", "norm5"):
            self.features.add_module(name, features.get_submodule(name))
        self.class_layers = network.get_submodule("class_layers")

    def forward(self, features: Tensor) -> Tensor:
        """(N, 512, 3, 3) to (N, 7) logits."""
        logits: Tensor = self.class_layers(self.features(features))
        return logits


class Head(nn.Module):
    """The layers of classes alone, with DenseNet121's own names."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.class_layers = network.get_submodule("class_layers")

    def forward(self, pooled: Tensor) -> Tensor:
        """(N, 1024), one number a channel, to (N, 7) logits."""
        layer: nn.Module = self.class_layers.get_submodule("out")
        logits: Tensor = layer(pooled)
        return logits


def trained_part(arm: Arm, network: nn.Module) -> nn.Module:
    """Give the part of a DenseNet121 that this arm trains; the rest is in the stored features."""
    if arm.trained in ("early", "head"):
        head = Head(network)
        if arm.trained == "early":
            head.class_layers.get_submodule("out").reset_parameters()  # type: ignore[operator]
        return head
    if arm.trained == "whole":
        return network
    for name, layer in network.named_modules():
        anew = name.startswith(("features.denseblock4", "features.norm5", "class_layers"))
        if anew and isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            layer.reset_parameters()
    return Upper(network)


class Restarts:
    """The arms without dendrites: stop after `patience`, or follow another run's restarts and length."""

    def __init__(self, network: nn.Module, patience: int, follow: dict[str, Any] | None) -> None:
        self.network = network
        self._patience = patience
        self._follow = follow
        self._scores: list[float] = []
        self._best: tuple[float, int, dict[str, Tensor]] = (-1.0, 0, {})

    def after_epoch(self, score: float) -> GrowthStep:
        """Keep the best weights by the tracker's own rule; load them back at a restart and at the end."""
        self._scores.append(score)
        if score * (1 - DendriteSettings().improvement) > self._best[0]:
            kept = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
            self._best = (score, len(self._scores), kept)
        epoch = len(self._scores)
        if self._follow is None:
            finished, restart = epoch - self._best[1] >= self._patience, False
        else:
            finished, restart = epoch >= self._follow["epochs"], epoch in self._follow["restarts"]
        if finished or restart:
            self.load_best()
        return GrowthStep(restart or finished, finished, 0)

    def add_to(self, cross_entropy: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        """No dendrite, no dendrite loss."""
        return cross_entropy

    def load_best(self) -> None:
        """Put the best weights back."""
        self.network.load_state_dict(self._best[2])

    def export(self) -> nn.Module:
        """Give the network itself."""
        return self.network.eval()


@dataclass(frozen=True)
class Split:
    """Rows of one seed, and the sampling of its training rows."""

    train: npt.NDArray[np.int64]
    select: npt.NDArray[np.int64]
    report: npt.NDArray[np.int64]
    chance: npt.NDArray[np.float64]
    """Of each training row to be drawn."""
    prior: npt.NDArray[np.float64]
    """Share of each class among drawn rows."""

    @classmethod
    def of(cls, data: Data, seed: int, trained: str) -> Split:
        """Deal fold 8 out: where the head learns from it, three parts train, else three parts report."""
        part = (parts(data, seed // PARTS) + seed) % PARTS
        part[~data.unseen] = -1
        train, report = (part >= 2, part == 0) if trained == "head" else (part == -1, part >= 2)
        select = part == 1 if trained == "head" else (part == 0) | (part == 1)
        train, select, report = (np.flatnonzero(side) for side in (train, select, report))
        counts = np.bincount(data.diagnosis[train], minlength=len(CLASSES)).astype(float)
        chance = counts[data.diagnosis[train]] ** -SAMPLING_POWER
        prior = counts ** (1 - SAMPLING_POWER)
        return cls(
            train,
            select,
            report,
            chance / chance.sum(),
            prior / prior.sum(),
        )


def run(work: Path, arm: Arm, seed: int) -> None:
    """Train one arm with one seed and write its record."""
    started = time.process_time()
    data = Data.load(work)
    split = Split.of(data, seed, arm.trained)
    torch.manual_seed(seed)
    network = build_densenet121()
    network.load_state_dict(safetensors.torch.load_file(work / "start.safetensors"))
    everything = sum(parameter.numel() for parameter in network.parameters())
    network = trained_part(arm, network)
    frozen = everything - sum(parameter.numel() for parameter in network.parameters())
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    grower: Restarts | DendriteGrowth
    if arm.dendrites is None:
        leader = arm.as_long_as and json.loads(record(work, arm.as_long_as, seed).read_text())
        grower = Restarts(network, arm.patience, leader or None)
    else:
        folder = work / "growth" / record(work, arm.name, seed).stem
        folder.mkdir(parents=True, exist_ok=True)
        settings = DendriteSettings(**{**asdict(arm.dendrites), "seed": seed})
        grower = DendriteGrowth.start(network, "densenet121", settings, folder)
    history = _train(grower, arm, data, split, seed)
    exported = grower.export()
    probability = answer(exported, arm, data, split.report, split.prior)
    result = {
        "arm": arm.name,
        "seed": seed,
        **history,
        "parameters": sum(p.numel() for p in exported.parameters()) + frozen,
        "seconds": round(time.process_time() - started, 1),
        **figures(probability, data.diagnosis[split.report]),
        "rows": split.report.tolist(),
        "probability": probability.round(6).tolist(),
    }
    path = record(work, arm.name, seed)
    replace_file(path, json.dumps(result))


def _train(
    grower: Restarts | DendriteGrowth, arm: Arm, data: Data, split: Split, seed: int
) -> dict[str, Any]:
    optimizer = _optimizer(grower.network, arm)
    scores: list[float] = []
    restarts: list[int] = []
    dendrites: list[int] = []
    for epoch in range(arm.epochs):
        chance = np.random.default_rng((seed, epoch))
        rows = chance.choice(split.train, arm.images, p=split.chance)
        grower.network.train()
        for i in range(0, arm.images, BATCH):
            batch = rows[i : i + BATCH]
            target = torch.from_numpy(data.diagnosis[batch])
            logits = grower.network(_inputs(arm, data, batch, chance.integers(VIEWS, size=len(batch))))
            loss = grower.add_to(F.cross_entropy(logits, target, label_smoothing=0.05), logits, target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(grower.network.parameters(), 1.0)
            optimizer.step()
        probability = answer(grower.network, arm, data, split.select, split.prior)
        scores.append(figures(probability, data.diagnosis[split.select])["macro_auc"])
        step = grower.after_epoch(scores[-1])
        dendrites.append(step.dendrites)
        if step.finished:
            break
        if step.restructured:
            restarts.append(epoch + 1)
            optimizer = _optimizer(grower.network, arm)
    else:
        grower.load_best()
    final = grower.dendrites if isinstance(grower, DendriteGrowth) else 0
    return {
        "epochs": len(scores),
        "restarts": restarts,
        "scores": scores,
        "dendrites": dendrites,
        "final": final,
    }


def _optimizer(network: nn.Module, arm: Arm) -> torch.optim.Optimizer:
    neurons: list[nn.Parameter] = []
    dendrites: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        (dendrites if "dendrite" in name else neurons).append(parameter)
    groups = [{"params": neurons, "lr": arm.rate}, {"params": dendrites, "lr": arm.dendrite_rate}]
    return torch.optim.AdamW(groups, weight_decay=0.02)


def _inputs(arm: Arm, data: Data, rows: npt.NDArray[np.int64], views: npt.NDArray[np.int64]) -> Tensor:
    if arm.trained != "whole":
        stored = {"early": data.early, "head": data.pooled, "block": data.features}[arm.trained]
        return torch.from_numpy(stored[views, rows]).float()
    pixels = torch.from_numpy(data.pictures[rows]).permute(0, 3, 1, 2).float() / 127.5 - 1
    turned = [torch.rot90(pixels[i : i + 1], int(view), (2, 3)) for i, view in enumerate(views)]
    return torch.cat(turned).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def answer(
    network: nn.Module, arm: Arm, data: Data, rows: npt.NDArray[np.int64], prior: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Probabilities for classes as if all were equally frequent (Menon et al. 2021), (N, 7)."""
    network.eval()
    views = np.zeros(len(rows), np.int64)
    logits = torch.cat(
        [network(_inputs(arm, data, rows[i : i + 64], views[i : i + 64])) for i in range(0, len(rows), 64)]
    )
    adjusted = logits.double() - torch.from_numpy(np.log(prior))
    return np.asarray(adjusted.softmax(1).numpy())


def figures(probability: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]) -> dict[str, float]:
    """Accuracy of answers, for rows in which every class occurs."""
    melanoma = CLASSES.index("mel")
    return {
        "balanced_accuracy": float(balanced_accuracy_score(truth, probability.argmax(1))),
        "macro_auc": float(roc_auc_score(truth, probability, multi_class="ovr")),
        "melanoma_auc": float(roc_auc_score(truth == melanoma, probability[:, melanoma])),
        "log_loss": float(log_loss(truth, probability, labels=range(len(CLASSES)))),
    }


def record(work: Path, arm: str, seed: int) -> Path:
    """Where the record of a run lies."""
    name = "".join(letter if letter.isalnum() or letter == "." else "-" for letter in arm.replace("λ = ", ""))
    return work / "runs" / f"{name}-{seed}.json"


# --- all runs and the tables ------------------------------------------------------------------------


def run_all(arguments: argparse.Namespace) -> None:
    """Start one process per missing run, the cheap comparisons first."""
    seeds = {
        "early": arguments.seeds,
        "head": arguments.seeds,
        "block": arguments.block_seeds,
        "whole": arguments.whole_seeds,
    }
    jobs = [
        (seed, arm)
        for trained, count in seeds.items()
        for seed in range(count)
        for arm in arms()
        if arm.trained == trained
    ]
    missing = [(seed, arm) for seed, arm in jobs if not record(arguments.work, arm.name, seed).exists()]
    fork = multiprocessing.get_context("fork")
    dendrites_available()  # imports perforatedai, once for all
    for seed, arm in tqdm(missing, desc="runs", unit="run"):
        process = fork.Process(target=run, args=(arguments.work, arm, seed))
        process.start()
        process.join()
        if process.exitcode != 0:
            raise SystemExit(f"{arm.name} with seed {seed} ended with status {process.exitcode}; see above.")


def tables(work: Path) -> str:
    """Give the tables in Markdown, of all records that exist."""
    results: dict[str, dict[int, dict[str, Any]]] = {}
    for path in sorted((work / "runs").glob("*.json")):
        result = json.loads(path.read_text())
        result["added"] = result["parameters"] - PLAIN_PARAMETERS
        results.setdefault(result["arm"], {})[result["seed"]] = result
    _write_csv(work / "results.csv", results)
    text = []
    for trained, title in TITLES.items():
        names = [arm.name for arm in arms() if arm.trained == trained and arm.name in results]
        text.append(f"**{title}**\n\n{_table(results, names)}")
    return "\n".join(text)


def _table(results: dict[str, dict[int, dict[str, Any]]], names: list[str]) -> str:
    columns = ["arm", "seeds"]
    for figure in ("balanced accuracy", "macro AUC", "log loss"):
        columns += [figure, "against control"]
    columns += ["dendrites kept", "epochs", "weights added", "processor seconds"]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for name in names:
        runs, control = results[name], control_of(name)
        shown = name.partition(": ")[2]
        if shown.endswith(CONTROL):
            shown = f"control of {shown.removesuffix(CONTROL)}"
        cells = [shown, str(len(runs))]
        for figure in ("balanced_accuracy", "macro_auc", "log_loss"):
            values = np.array([r[figure] for r in runs.values()])
            shared = sorted(set(runs) & set(results.get(control, {})))
            change = np.array([runs[s][figure] - results[control][s][figure] for s in shared])
            cells.append(f"{values.mean():.3f} ± {_half_width(values):.3f}")
            cells.append(
                "" if name.endswith(CONTROL) else f"{change.mean():+.3f} ± {_half_width(change):.3f}"
            )
        for key, form in (("final", ".1f"), ("epochs", ".0f"), ("added", ",.0f"), ("seconds", ".0f")):
            cells.append(format(float(np.mean([r[key] for r in runs.values()])), form))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _half_width(values: npt.NDArray[np.float64]) -> float:
    """Half of the 95 % interval of the mean over seeds (Student's t)."""
    if len(values) < 2:
        return float("nan")
    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def _write_csv(path: Path, results: dict[str, dict[int, dict[str, Any]]]) -> None:
    columns = ["balanced_accuracy", "macro_auc", "melanoma_auc", "log_loss"]
    columns += ["final", "epochs", "parameters", "seconds"]
    lines = [",".join(("arm", "seed", *columns))]
    for name, runs in results.items():
        for seed, result in sorted(runs.items()):
            lines.append(",".join([f'"{name}"', str(seed), *(f"{result[c]:.6g}" for c in columns)]))
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Prepare what is missing, run what is missing, print the tables."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    for name in ("ham10000", "task1"):
        parser.add_argument(f"--{name}", type=Path, help="folder with labels.csv and images/")
    parser.add_argument("--task1-diagnoses", type=Path, help="table of image_id, dx, fold")
    parser.add_argument("--start", type=Path, help="folder of a DenseNet121 trained on folds 0 to 7")
    parser.add_argument("--work", type=Path, required=True, help="folder of the study")
    parser.add_argument("--seeds", type=int, default=10, help="where the head alone is trained")
    parser.add_argument("--block-seeds", type=int, default=5, help="where the last block is trained too")
    parser.add_argument("--whole-seeds", type=int, default=3, help="where the whole network is trained")
    parser.add_argument("--tables", action="store_true", help="only print the tables of what has been run")
    arguments = parser.parse_args()
    arguments.work = arguments.work.resolve()
    (arguments.work / "runs").mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if not arguments.tables:
        if not (arguments.work / "table.npz").exists():
            prepare(arguments)
        run_all(arguments)
    text = tables(arguments.work)
    (arguments.work / "tables.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
