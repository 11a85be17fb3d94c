"""Whether a whole network confirms what small heads say of the strategies: balanced accuracy on fold 9.

EfficientNet-Lite0, trained on ImageNet only, is trained whole on the labels that a strategy chose (`dermcheck
simulate`, same seed), each time with the same number of steps:

    python benchmarks/network_confirmation.py --data HAM10000 --sets hybrid:800,random:800,random:2000
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from dermcheck.active_learning.pool import compact_embedding
from dermcheck.active_learning.simulation.class_head import reduce_features
from dermcheck.active_learning.simulation.class_replay import ClassMaterial, class_order
from dermcheck.active_learning.simulation.features import compute_features, load_start_network
from dermcheck.active_learning.simulation.figures import RARE, Resamples, curve, paired_difference
from dermcheck.active_learning.simulation.runs import Outcome
from dermcheck.active_learning.simulation.study import CLASS_BUDGETS
from dermcheck.datastore.locations import cache_root
from dermcheck.training.data import decode, open_data_set
from dermcheck.training.numerics import Numerics, best_device, fastest_numerics

RATE, BATCH = 1e-3, 32


def view(photographs, rows, side):
    """Return (len(rows), 3, side, side), as the network was trained on ImageNet."""
    images = torch.from_numpy(np.stack([photographs.images[int(row)] for row in rows])).permute(0, 3, 1, 2)
    return F.interpolate((images.float() - 127) / 128, size=(side, side), mode="area")


def train(photographs, rows, seed, side, steps, numerics):
    """Train on some labels, classes drawn equally often, mirrored and turned at random."""
    torch.manual_seed(seed)
    network, _ = load_start_network()
    network = numerics.place_network(network).train()
    rng = np.random.default_rng([seed, 9])
    diagnosis = photographs.diagnosis[rows]
    # Between natural and equal frequencies: equal ones would show a few lesions hundreds of times.
    share = 1 / np.sqrt(np.bincount(diagnosis, minlength=7)[diagnosis])
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    pixels = view(photographs, rows, side)
    prior = torch.from_numpy(np.bincount(diagnosis, weights=share, minlength=7) / share.sum()).float()
    for _ in range(steps):
        drawn = rng.choice(len(rows), BATCH, p=share / share.sum())
        batch = torch.rot90(pixels[drawn], int(rng.integers(4)), (2, 3))
        batch = batch.flip(3) if rng.random() < 0.5 else batch
        with numerics.autocast():
            logits = network(numerics.place(batch))
        # Logit adjustment (Menon et al. 2021): the answer is for classes of equal frequency.
        target = torch.from_numpy(diagnosis[drawn])
        loss = F.cross_entropy(logits.float() + (prior + 1e-6).log(), target, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.inference_mode()
def decide(photographs, network, rows, side, numerics):
    """Return the decided classes, mean of the photograph and its mirror image."""
    found = []
    for start in range(0, len(rows), 64):
        pixels = view(photographs, rows[start : start + 64], side)
        with numerics.autocast():
            both = network(numerics.place(pixels)) + network(numerics.place(pixels.flip(3)))
        found.append(both.float().argmax(1).numpy())
    return np.concatenate(found).astype(float)


def main():
    """Train on each set and print balanced accuracies with intervals."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default="hybrid:800,random:800,random:2000")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--fold", type=int, default=9)
    parser.add_argument(
        "--precision",
        choices=["fastest", "float32", "bfloat16"],
        default="fastest",
        help="of the arithmetic (default: what is timed as the fastest here)",
    )
    arguments = parser.parse_args()
    photographs = decode(open_data_set(arguments.data), 256, cache_root() / "training")
    network, start = load_start_network()
    if arguments.precision == "fastest":
        numerics = fastest_numerics(network, arguments.side, BATCH)
    else:
        numerics = Numerics(best_device(), getattr(torch, arguments.precision))
    print(f"{start}, {arguments.side} px, {arguments.steps} steps of {BATCH}, {numerics}", flush=True)
    features = compute_features(photographs, network, start, cache_root() / "simulation", numerics)
    pool, report = photographs.rows(range(8)), photographs.rows([arguments.fold])
    reduced = reduce_features(features.embedding, features.colour, pool)
    diagnosis = photographs.diagnosis
    material = ClassMaterial(
        photographs.image_id, diagnosis, reduced, compact_embedding(reduced), pool, report
    )
    outcomes = {}
    for name in arguments.sets.split(","):
        strategy, labels = name.split(":")
        for seed in range(arguments.seeds):
            begun = time.monotonic()
            # The budgets of the study, so that its rounds are repeated.
            budgets = [budget for budget in CLASS_BUDGETS if budget < int(labels)]
            rows = class_order(material, strategy, seed, (*budgets, int(labels)), diagnosis)
            trained = train(photographs, rows, seed, arguments.side, arguments.steps, numerics)
            answers = decide(photographs, trained, report, arguments.side, numerics)
            counts = tuple(np.bincount(diagnosis[rows], minlength=7).tolist())
            outcomes.setdefault(name, []).append([Outcome(int(labels), answers, counts)])
            print(f"{name} seed {seed}: {time.monotonic() - begun:.0f} s, labels {counts}", flush=True)
    resamples = Resamples.draw(arguments.seeds, photographs.lesion_id[report])
    curves = {name: curve(runs, diagnosis[report], resamples) for name, runs in outcomes.items()}
    for name, made in curves.items():
        found = made.estimate(made.budgets[0])
        rare = sum(outcomes[name][0][0].counts[c] for c in RARE)
        print(f"{name}: balanced accuracy {found.value:.3f} [{found.low:.3f}, {found.high:.3f}], {rare} rare")
    first, *others = curves
    for name in others:
        a, b = curves[first], curves[name]
        shifted = type(b)(a.budgets, b.values, b.resampled)
        found = paired_difference(a, shifted, a.budgets[0])
        print(f"{first} minus {name}: {found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]")


if __name__ == "__main__":
    main()
