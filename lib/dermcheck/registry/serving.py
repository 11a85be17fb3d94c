"""What a server predicts with: the versions in use, or earlier ones where those are damaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from dermcheck.errors import ModelError
from dermcheck.inference.predictor import Predictor
from dermcheck.inference.priors import clinic_prior
from dermcheck.networks.cards import Task
from dermcheck.networks.checkpoint import StoredModel
from dermcheck.registry.registry import Registry
from dermcheck.registry.versions import ModelVersion

__all__ = ["Serving", "load_serving"]

_TASKS: Final[tuple[Task, Task]] = ("classification", "segmentation")

_Loaded: TypeAlias = tuple[ModelVersion, StoredModel]


@dataclass(frozen=True, eq=False)
class Serving:
    """Both models as loaded; never changed, so that a prediction under way keeps its own."""

    predictor: Predictor
    loaded: Mapping[Task, _Loaded]
    """Which version of each task, and its files as they were read."""
    problems: tuple[str, ...] = ()
    """Sentences: which version should be in use, but is damaged, and which one answers instead."""

    @property
    def versions(self) -> dict[Task, ModelVersion]:
        """The version of each task that answers."""
        return {task: version for task, (version, _) in self.loaded.items()}


def load_serving(registry: Registry, previous: Serving | None = None) -> Serving:
    """Load the versions in use, or where one is damaged the one that rolling back would lead to.

    Parameters
    ----------
    registry
        Whose versions.
    previous
        What answered so far: a version that stays is not loaded again, and needs its files no more.

    Raises
    ------
    ModelError
        If every version of a task that was in use is damaged.
    StorageError
        If the log cannot be read.
    """
    loaded: dict[Task, _Loaded] = {}
    problems: list[str] = []
    for task in _TASKS:
        loaded[task], found = _load_best(registry, task, previous)
        problems += found
    predictor = Predictor(
        loaded["classification"][1], loaded["segmentation"][1], natural_prior=clinic_prior()
    )
    return Serving(predictor, loaded, tuple(problems))


def _load_best(registry: Registry, task: Task, previous: Serving | None) -> tuple[_Loaded, list[str]]:
    """Go down the line of use to the first version whose files are what they were."""
    problems: list[str] = []
    for version in registry.line_of_use(task):
        if previous is not None and previous.loaded[task][0].name == version.name:
            answering: _Loaded = previous.loaded[task]
        else:
            try:
                answering = (version, version.open())
            except ModelError as error:
                problems.append(f"{version.name} cannot be used for {task}: {error}")
                continue
        if problems:
            problems.append(f"{version.name} answers instead for {task}.")
        return answering, problems
    raise ModelError(f"No version of the models for {task} can be used. {problems[0]}")
