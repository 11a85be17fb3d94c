"""Times the choice of the next photograph among 10,015 and 100,000, for each strategy.

Fills a catalogue, a cache of scores and labels with drawn values (no pixels: a choice reads none), then asks
as the browser does, strategy, lease and all, and prints median and p99 in milliseconds, and with `--score`
how long the models take to score a photograph:

    python benchmarks/active_learning.py
    python benchmarks/active_learning.py --photographs 10015 --labelled 2000
    python benchmarks/active_learning.py --score 64
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from dermcheck.active_learning.recommending import DESCRIPTIONS, Recommender
from dermcheck.active_learning.score_cache import FollowedLesion, ScoreCache, ScoreRow
from dermcheck.active_learning.score_keeper import ModelInUse, ScoreKeeper
from dermcheck.active_learning.score_table import ScoreTable
from dermcheck.active_learning.scoring import PhotographScores, score_photographs
from dermcheck.active_learning.scoring_worker import ScoringPlaces
from dermcheck.datastore import StudyStore
from dermcheck.datastore.instances import Instance, StoredLabel
from dermcheck.label_app.datastore import DermCheckDatastore
from dermcheck.label_app.next_cases import NextCases
from dermcheck.label_app.strategies import make_strategies
from dermcheck.label_app.worklist import Worklist

LIMITS_MS = {10_015: 50, 100_000: 200}
CLINICIANS = 20


def main() -> None:
    """Fill, ask and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photographs", type=int, nargs="+", default=list(LIMITS_MS), help="how many")
    parser.add_argument("--labelled", type=int, default=2000, help="how many have a label (default 2000)")
    parser.add_argument("--choices", type=int, default=50, help="for each strategy (default 50)")
    parser.add_argument("--score", type=int, default=0, help="time the scoring of so many drawn photographs")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    if arguments.score:
        time_scoring(arguments.score)
        return
    for count in arguments.photographs:
        with tempfile.TemporaryDirectory(prefix="dermcheck-benchmark-") as folder:
            time_choices(Path(folder), count, min(arguments.labelled, count), arguments.choices)


def time_choices(folder: Path, count: int, labelled: int, choices: int) -> None:
    """Print how long each strategy takes among so many photographs."""
    (folder / "studies").mkdir()
    limit = LIMITS_MS.get(count)
    with StudyStore.open(folder / "studies", folder / "cache", watch=False) as store:
        keeper, read_s = fill(store, count, labelled)
        recommender = Recommender(store, keeper)
        started = time.perf_counter()
        recommender.prepare()  # what the keeper's thread does beforehand
        prepared_s = time.perf_counter() - started
        cases = NextCases(make_strategies(recommender), DermCheckDatastore(store), Worklist(), keeper)
        for number in range(CLINICIANS):  # others are at work
            cases.choose("random", client=f"other {number}")
        asked = f" (asked for: < {limit} ms)" if limit else ""
        print(
            f"\n{count:,} photographs, {labelled:,} labelled; beforehand {read_s + prepared_s:.1f} s{asked}"
        )
        for strategy in DESCRIPTIONS:
            times, skip = [], []
            for _ in range(choices + 1):
                started = time.perf_counter()
                case = cases.choose(strategy, client="this one", skip=skip)
                times.append((time.perf_counter() - started) * 1000)
                if case.image is not None:
                    skip.append(case.image)
            first, *others = times
            p99 = sorted(others)[int(0.99 * len(others))]
            median = statistics.median(others)
            print(
                f"  {strategy:15} first {first:7.1f}  median {median:7.1f}  p99 {p99:7.1f} ms  {case.reason}"
            )


def fill(store: StudyStore, count: int, labelled: int) -> tuple[ScoreKeeper, float]:
    """Make photographs, labels and scores; return a keeper that knows them, and how long reading took."""
    chance = np.random.default_rng(0)
    images = [f"1.2.826.0.1.3680043.8.498.{number:038}" for number in range(count)]
    for number, image in enumerate(images):
        put(store, image, "photograph", None)
        if number < labelled:
            label = StoredLabel(f"{image}.9", image, False, "Reader", datetime(2026, 1, 1))
            put(store, label.sop_instance_uid, "label", label)
    cache = ScoreCache(store.cache / "scores-1.sqlite")
    probabilities = chance.dirichlet(np.full(7, 0.3), count)
    embeddings = chance.normal(size=(count, 64)).astype(np.float32)
    rows = [
        ScoreRow(image, "", 0.0, drawn_scores(chance, *values))
        for image, *values in zip(images, probabilities, embeddings, strict=True)
    ]
    cache.put("model", rows)
    keeper = ScoreKeeper(
        store, ScoringPlaces(None, None, None), lambda: ModelInUse("model", "drawn"), lambda: True
    )
    started = time.perf_counter()
    table = ScoreTable("model")
    table.put(cache.rows("model"))
    read_s = time.perf_counter() - started
    keeper._table = table  # what its thread does
    keeper.classes = {image: int(chance.integers(-1, 7)) for image in images[:labelled]}
    keeper.lesions = {image: drawn_lesion(number) for number, image in enumerate(images)}
    return keeper, read_s


def put(store: StudyStore, uid: str, kind: str, label: StoredLabel | None) -> None:
    """Put an instance into the catalogue."""
    place = {"key": f"{uid}.dcm", "revision": "", "stored_ns": 0, "kind": kind, "sop_class_uid": "1"}
    where = {"study_instance_uid": f"{uid}.1", "series_instance_uid": f"{uid}.2", "sop_instance_uid": uid}
    store.catalogue.put(Instance(**place, **where, modality="DMS", label=label))  # type: ignore[arg-type]


def drawn_scores(
    chance: np.random.Generator, probabilities: np.ndarray, embedding: np.ndarray
) -> PhotographScores:
    """Draw scores."""
    ranked = np.sort(probabilities)
    return PhotographScores(
        probabilities=probabilities,
        entropy=float(chance.uniform()),
        margin=float(ranked[-1] - ranked[-2]),
        class_disagreement=float(chance.uniform()),
        outline_disagreement=float(chance.uniform()),
        not_a_lesion=float(chance.uniform() < 0.01),
        decision=int(probabilities.argmax()),
        confidence=float(ranked[-1]),
        embedding=embedding,
    )


def drawn_lesion(number: int) -> FollowedLesion:
    """Let each lesion be seen three times."""
    lesion = f"lesion {number // 3}"
    visited = datetime(2024, 1, 1) + timedelta(days=number % 3 * 90)
    return FollowedLesion(f"patient {number // 9}", lesion, lesion, "Skin of trunk", None, visited)


def time_scoring(count: int) -> None:
    """Print how long the reference models take for the scores of a photograph, beside a prediction."""
    from dermcheck.inference import Predictor

    predictor = Predictor.load()
    photographs = list(np.random.default_rng(0).integers(0, 256, (count, 450, 600, 3), np.uint8))
    score_photographs(predictor, photographs[:4])  # warm
    predictor.predict_batch(photographs[:4])
    started = time.perf_counter()
    for first in range(0, count, 4):
        score_photographs(predictor, photographs[first : first + 4])
    scored = time.perf_counter()
    for first in range(0, count, 4):
        predictor.predict_batch(photographs[first : first + 4])
    predicted = time.perf_counter()
    each_ms, prediction_ms = (scored - started) / count * 1000, (predicted - scored) / count * 1000
    print(
        f"{predictor.backend}: scores of a photograph (600 x 450) {each_ms:.1f} ms, "
        f"prediction {prediction_ms:.1f} ms"
    )
    print(f"ratio {each_ms / prediction_ms:.2f}; 10,015 photographs in {each_ms * 10.015 / 60:.1f} minutes")


if __name__ == "__main__":
    main()
