"""What is learnt from: data sets and corrections, opened, joined, and counted."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dermcheck.datastore import StudyStore
from dermcheck.learning.learnt import LEAST_CORRECTIONS, corrections
from dermcheck.training.data import DataError, DataSet, open_corrections, open_data_set
from dermcheck.training.data.corrections import CORRECTIONS

if TYPE_CHECKING:
    from dermcheck.learning.order import TrainingOrder
    from dermcheck.networks.cards import Task

__all__ = ["Material", "gather"]

_TEACHES: Final[dict[Task, str]] = {"classification": "a diagnosis", "segmentation": "an outline"}


@dataclass(frozen=True)
class Material:
    """All that an order names, joined."""

    data_set: DataSet
    labels: frozenset[str]
    """SOPInstanceUIDs of the corrections that count, also of those that cannot teach."""


@contextmanager
def gather(order: TrainingOrder, *, bar: bool = True) -> Iterator[Material]:
    """Open all that an order names; the photographs can be read while the block runs.

    Raises
    ------
    DataError
        If a data set cannot be used, or there are too few corrections.
    DermCheckError
        If the studies cannot be opened.
    """
    with ExitStack() as opened:
        data_sets = [open_data_set(folder) for folder in (*order.data, *order.reference_data)]
        labels: frozenset[str] = frozenset()
        if order.studies:
            store = opened.enter_context(StudyStore.open(order.studies, watch=False))
            labels = frozenset(label.sop_instance_uid for label in corrections(store).values())
            data_sets.append(open_corrections(store, progress=bar))
        joined = functools.reduce(operator.add, data_sets)
        if order.from_corrections:
            _check_corrections(joined, order.task)
        yield Material(joined, labels)


def _check_corrections(data_set: DataSet, task: Task) -> None:
    corrections = [photograph for photograph in data_set.photographs if photograph.source == CORRECTIONS]
    if task == "classification":
        count = sum(each.diagnosis is not None for each in corrections)
    else:
        count = sum(each.mask is not None for each in corrections)
    if count < LEAST_CORRECTIONS:
        found = f"There is {count} correction" if count == 1 else f"There are {count} corrections"
        missing = LEAST_CORRECTIONS - count
        raise DataError(
            f"{found} with {_TEACHES[task]}, and at least {LEAST_CORRECTIONS} are needed: the model would "
            f"learn fewer by heart instead of learning from them. Correct {missing} more "
            f"{'photograph' if missing == 1 else 'photographs'}; the corrections made so far are kept. The "
            "model in use is untouched."
        )
