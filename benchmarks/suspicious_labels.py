"""How many wrong labels the check finds: 5 % of HAM10000's labels in folds 0 to 7 are exchanged at random.

The encoder is EfficientNet-Lite0 trained on ImageNet: it has seen none of these labels, neither right nor
wrong. Out-of-fold probabilities come from a small head on its embeddings, five folds by lesion. From which
probability on a label is listed is chosen on half of the lesions; precision and recall are those of the
other half, with other wrong labels for each seed.

Labels of the data set that were wrong before count as false alarms here, though they may be none.

Example:
  python benchmarks/suspicious_labels.py --data HAM10000 --seeds 5

Takes about a minute once the embeddings are in the cache (`DERMCHECK_CACHE`), else some ten.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from dermcheck.active_learning.simulation.features import compute_features, load_start_network
from dermcheck.active_learning.suspicious_labels import (
    MOST_CONFIDENCE,
    contradicted,
    out_of_fold_probabilities,
)
from dermcheck.datastore.locations import cache_root
from dermcheck.lesions import CLASSES
from dermcheck.training.data import decode, open_data_set
from dermcheck.training.numerics import fastest_numerics

SIDE = 256
LEAST_PRECISION = 0.5
STEPS = np.round(np.arange(0.005, 0.5001, 0.005), 3)


def main() -> None:
    """Print one line a seed, and the mean."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="data set in HAM10000's layout, with folds")
    parser.add_argument("--share", type=float, default=0.05, help="of the labels that are exchanged")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()

    photographs = decode(open_data_set(arguments.data), SIDE, cache_root() / "training", progress=True)
    network, start = load_start_network()
    features = compute_features(
        photographs, network, start, cache_root() / "simulation", fastest_numerics(network, SIDE, 16)
    )
    rows = np.flatnonzero((photographs.fold >= 0) & (photographs.fold <= 7) & (photographs.diagnosis >= 0))
    embedding = features.embedding[rows]
    truth = photographs.diagnosis[rows].astype(np.int64)
    lesions = photographs.lesion_id[rows]
    found = [measure(embedding, truth, lesions, arguments.share, seed) for seed in range(arguments.seeds)]
    names = ("most_confidence", "precision", "recall", "precision_at_default", "recall_at_default")
    mean = {name: round(float(np.mean([each[name] for each in found])), 3) for name in names}
    if arguments.json:
        print(json.dumps({"encoder": start, "photographs": len(rows), "mean": mean, "seeds": found}))
        return
    print(f"{len(rows)} photographs of {len(np.unique(lesions))} lesions; {start}")
    print("seed  planted  chosen  precision  recall   at " + f"{MOST_CONFIDENCE}: precision  recall")
    for seed, each in enumerate(found):
        print(
            f"{seed:>4}  {each['planted']:>7}  {each['most_confidence']:>6}  {each['precision']:>9}  "
            f"{each['recall']:>6}   {each['precision_at_default']:>18}  {each['recall_at_default']:>6}"
        )
    print(f"mean precision {mean['precision']}, recall {mean['recall']} (must: 0.5 each)")


def measure(
    embedding: np.ndarray, truth: np.ndarray, lesions: np.ndarray, share: float, seed: int
) -> dict[str, Any]:
    """Plant wrong labels, choose the threshold on half of the lesions, and count on the other half."""
    chance = np.random.default_rng(seed)
    planted = np.zeros(len(truth), bool)
    planted[chance.choice(len(truth), round(share * len(truth)), replace=False)] = True
    labels = truth.copy()
    labels[planted] = (truth[planted] + chance.integers(1, len(CLASSES), planted.sum())) % len(CLASSES)
    probabilities = out_of_fold_probabilities(embedding, labels, lesions, seed)
    suspected, _ = contradicted(probabilities, labels)
    confidence = np.where(suspected, probabilities[np.arange(len(labels)), labels], np.inf)
    names = np.unique(lesions)
    choosing = np.isin(lesions, chance.choice(names, len(names) // 2, replace=False))
    threshold = choose(confidence[choosing], planted[choosing])
    precision, recall = figures(confidence[~choosing], planted[~choosing], threshold)
    usual = figures(confidence[~choosing], planted[~choosing], MOST_CONFIDENCE)
    return {
        "planted": int(planted[~choosing].sum()),
        "most_confidence": threshold,
        "precision": precision,
        "recall": recall,
        "precision_at_default": usual[0],
        "recall_at_default": usual[1],
    }


def choose(confidence: np.ndarray, planted: np.ndarray) -> float:
    """Return the threshold with the best F1 among those whose precision is high enough."""
    best = (-1.0, float(STEPS[0]))
    for step in STEPS:
        precision, recall = figures(confidence, planted, step)
        if precision >= LEAST_PRECISION and precision + recall:
            best = max(best, (2 * precision * recall / (precision + recall), float(step)))
    return best[1]


def figures(confidence: np.ndarray, planted: np.ndarray, threshold: float) -> tuple[float, float]:
    """Return precision and recall of what is listed at a threshold."""
    listed = confidence <= threshold
    right = int((listed & planted).sum())
    return round(right / max(1, int(listed.sum())), 3), round(right / max(1, int(planted.sum())), 3)


if __name__ == "__main__":
    main()
