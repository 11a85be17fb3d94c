"""Examining a network on fold 8 after each epoch, with ignite's engine and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ignite.engine import Engine
from ignite.metrics import EpochMetric
from torch import Tensor, nn
from torch.nn import functional as F

from dermcheck.training.data.picture_cache import Photographs
from dermcheck.training.data.transforms import to_batch, validation_transforms
from dermcheck.training.numerics import Numerics
from dermcheck.training.stopping import StopRequest

__all__ = ["classification_evaluator", "jaccards", "outline_evaluator", "run_evaluator"]

Rows = npt.NDArray[np.int64]
Statistic = Callable[[npt.NDArray[np.float64], npt.NDArray[np.int64]], float]
"""A figure of logits (N, 7) and true classes (N,)."""

_BATCH = 32


@dataclass(frozen=True)
class _Chunks:
    """The rows of an examination, cut into batches; ends in between when asked to."""

    rows: Rows
    stop: StopRequest

    def __iter__(self) -> Iterator[Rows]:
        for start in range(0, len(self.rows), _BATCH):
            self.stop.check()
            yield self.rows[start : start + _BATCH]

    def __len__(self) -> int:
        return -(-len(self.rows) // _BATCH)


def run_evaluator(evaluator: Engine, rows: Rows, stop: StopRequest) -> dict[str, float]:
    """Run an evaluator of this module over photographs and return its metrics."""
    evaluator.logger.disabled = True  # it reports a stop as an error
    evaluator.run(_Chunks(rows, stop))
    return {name: float(value) for name, value in evaluator.state.metrics.items()}


def classification_evaluator(
    network: nn.Module,
    photographs: Photographs,
    side: int,
    numerics: Numerics,
    figures: Mapping[str, Statistic],
) -> Engine:
    """Make an evaluator whose data are rows of `photographs`; its metrics are `figures` of all logits."""

    @torch.no_grad()
    def step(engine: Engine, rows: Rows) -> tuple[Tensor, Tensor]:
        view = validation_transforms(side)(to_batch(photographs, rows))
        logits = network(numerics.place(view["image"])).double().cpu()
        return logits, torch.from_numpy(photographs.diagnosis[rows])

    evaluator = Engine(step)
    for name, statistic in figures.items():
        _metric(statistic).attach(evaluator, name)
    return evaluator


def outline_evaluator(
    network: nn.Module, photographs: Photographs, side: int, numerics: Numerics, sources: Sequence[str]
) -> Engine:
    """Make an evaluator with the metrics `jaccard` and, for each source, ``jaccard_SOURCE``."""

    def step(engine: Engine, rows: Rows) -> tuple[Tensor, Tensor]:
        index = jaccards(network, photographs, rows, side, numerics)
        known = [sources.index(name) for name in photographs.source[rows]]
        return torch.from_numpy(index), torch.tensor(known)

    evaluator = Engine(step)
    _metric(lambda index, _: float(index.mean())).attach(evaluator, "jaccard")
    for number, name in enumerate(sources):
        _metric(lambda index, source, number=number: float(index[source == number].mean())).attach(
            evaluator, f"jaccard_{name}"
        )
    return evaluator


@torch.no_grad()
def jaccards(
    network: nn.Module, photographs: Photographs, rows: Rows, side: int, numerics: Numerics
) -> npt.NDArray[np.float64]:
    """Intersection over union of each predicted mask with the labelled one, at the cache's side; (N,)."""
    view = validation_transforms(side)(to_batch(photographs, rows))
    logits = network(numerics.place(view["image"])).float().cpu()
    whole = F.interpolate(logits, (photographs.side, photographs.side), mode="bilinear")
    predicted = whole[:, 0].numpy() > 0
    labelled = photographs.masks[rows] > 0
    union = (predicted | labelled).sum((1, 2))
    both = (predicted & labelled).sum((1, 2))
    return np.asarray(np.where(union > 0, both / np.maximum(union, 1), 1.0))


def _metric(statistic: Callable[..., float]) -> EpochMetric:
    def compute(predictions: Any, targets: Any) -> float:
        return statistic(predictions.numpy(), targets.numpy())

    return EpochMetric(compute, check_compute_fn=False)
