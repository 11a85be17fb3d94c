"""The Train button: MONAI Label's train tasks, which learn from the corrections in the studies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from monailabel.interfaces.tasks.train import TrainTask

from dermcheck.errors import ArgumentError, NotFoundError
from dermcheck.label_app import STUDIES_VARIABLE
from dermcheck.label_app.training_jobs import TrainingJob, TrainingJobs
from dermcheck.learning.place import TrainingRunsError, is_training, latest_progress

if TYPE_CHECKING:
    from dermcheck.networks.cards import Task
    from dermcheck.training.progress import Progress

__all__ = ["LesionTrainTask", "Trainers", "make_train_tasks"]

_TRAINERS: Final[Mapping[str, tuple[Task, str]]] = {
    "lesion_classification": ("classification", "Learns diagnoses from the corrections in the studies."),
    "lesion_segmentation": ("segmentation", "Learns outlines from the corrections in the studies."),
}
"""Named like the models that they train."""
_FROM_VIEWERS: Final = ("model", "client_id", "gpus", "device", "name", "local_rank")
"""What MONAI Label and its viewers send along, and what nothing here depends on."""


class LesionTrainTask(TrainTask):  # type: ignore[misc]  # monailabel has no types
    """Goes on from the model in use with all final labels of the studies."""

    def __init__(self, task: Task, description: str, studies: str, registry: Path) -> None:
        super().__init__(description)
        self.task = task
        self._studies = studies
        self._registry = registry

    def stats(self) -> dict[str, Any]:
        """Tell how far the latest training of this model is.

        `epoch`, `total_epochs` and `best_metric` are MONAI Label's names; `metric` says which figure that
        is, `phase`, `seconds_left`, `version` and `answer` say the rest (see `Progress`). `total_epochs` is
        1 where it is not known yet: 3D Slicer divides by it.
        """
        progress = self.progress()
        known = progress.to_json() if progress else {"epoch": 0}
        return known | {"total_epochs": known.get("total_epochs") or 1}

    def progress(self) -> Progress | None:
        """Return how far the latest training is."""
        return latest_progress(self._registry, self.task)

    def arguments(self, request: Mapping[str, Any]) -> list[str]:
        """Turn a viewer's request into arguments of `dermcheck train`.

        Raises
        ------
        ArgumentError
            If it asks for what a viewer can't choose.
        """
        if unknown := sorted(set(request) - {*_FROM_VIEWERS}):
            raise ArgumentError(
                f"Trainings from a viewer have no setting {unknown[0]!r}. Leave it out, or use the command "
                f"`dermcheck train {self.task} --from-corrections`, which has settings."
            )
        return [self.task, "--from-corrections", "--registry", str(self._registry), "--json"]

    def __call__(self, request: dict[str, Any], datastore: object) -> dict[str, Any]:
        """Train in this process, for programs that use MONAI Label's app without its server.

        Raises
        ------
        DermCheckError
            If the training cannot be done; the model in use is untouched.
        """
        from dermcheck.learning.job import carry_out
        from dermcheck.learning.order import REFERENCE_VARIABLE, TrainingOrder
        from dermcheck.registry import Registry, current_account

        self.arguments(request)
        reference = os.environ.get(REFERENCE_VARIABLE)
        order = TrainingOrder(
            task=self.task,
            studies=self._studies,
            from_corrections=True,
            reference_data=(Path(reference),) if reference else (),
            who=current_account(),
        )
        return asdict(carry_out(order, Registry(self._registry), bar=False))


class Trainers:
    """What the endpoints of `/train/` do.

    Parameters
    ----------
    tasks
        By trainer's name.
    registry
        Folder of the registry.
    studies
        Folder or DICOMweb address, with its password.
    """

    def __init__(self, tasks: Mapping[str, LesionTrainTask], registry: Path, studies: str) -> None:
        self._tasks = tasks
        self._registry = registry
        # By the environment: an address with a password is not for the list of processes.
        self._jobs = TrainingJobs({STUDIES_VARIABLE: studies})

    def start(self, name: str, request: Mapping[str, Any], *, enqueue: bool = False) -> dict[str, Any]:
        """Start a training and return MONAI Label's words for it.

        Parameters
        ----------
        name
            Of a trainer.
        request
            From the viewer.
        enqueue
            Wait for the training that runs, instead of refusing.

        Raises
        ------
        NotFoundError
            If there is no such trainer.
        ArgumentError
            If the request asks for what a viewer can't choose.
        TrainingRunsError
            If another training runs, here or by command.
        """
        task = self._tasks.get(name)
        if task is None:
            raise NotFoundError(_no_trainer(name, list(self._tasks)))
        arguments = task.arguments(request)
        running = self._jobs.unfinished()
        if running and not enqueue:
            raise TrainingRunsError(
                f"{running[0].trainer} is training already. Wait for it, or stop it first."
            )
        if not running and is_training(self._registry):
            raise TrainingRunsError(
                "A training that was not started by this server is running on this computer. Wait for it."
            )
        return self._to_json(self._jobs.start(name, arguments))

    def start_by_itself(self, name: str, occasion: str) -> TrainingJob:
        """Start a training that nobody asked for, or let it wait for others of this server.

        Parameters
        ----------
        name
            Of a trainer.
        occasion
            Why just now, for the registry's log.

        Raises
        ------
        TrainingRunsError
            If one runs that was started otherwise.
        """
        if not self._jobs.unfinished() and is_training(self._registry):
            raise TrainingRunsError("A training that was not started by this server is running. Wait for it.")
        return self._jobs.start(name, [*self._tasks[name].arguments({}), "--occasion", occasion])

    def tasks(self) -> list[tuple[str, Task]]:
        """Return each trainer's name and task."""
        return [(name, task.task) for name, task in self._tasks.items()]

    def unfinished(self) -> list[TrainingJob]:
        """Return the trainings of this server that run or wait."""
        return self._jobs.unfinished()

    def close(self) -> None:
        """End the trainings, as the server ends."""
        self._jobs.close()

    def start_all(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Start every trainer, one after the other; raises as `start`."""
        started: dict[str, Any] = {}
        for name in self._tasks:
            own = request.get(name)
            result = self.start(name, own if isinstance(own, Mapping) else {}, enqueue=bool(started))
            started[name] = {"result": result, "detail": None}
        return started

    def status(self, *, all_of_them: bool = False, running_only: bool = False) -> Any:
        """Tell how the latest training is, or all of them.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        jobs = self._jobs.all()
        if running_only:
            jobs = [job for job in jobs if job.is_open][:1]
            if not jobs:
                raise NotFoundError("No training is running.")
            return self._to_json(jobs[0])
        if not jobs:
            raise NotFoundError("Nobody has asked this server for a training yet.")
        if all_of_them:
            return [self._to_json(job) for job in jobs]
        return self._to_json(next((job for job in jobs if job.is_open), jobs[-1]))

    def stop(self) -> dict[str, Any] | None:
        """Stop the training that runs and those that wait; None if there is none.

        Raises
        ------
        TrainingRunsError
            If one runs that was started otherwise.
        """
        job = self._jobs.stop()
        if job is None and is_training(self._registry):
            raise TrainingRunsError(
                "Not this server started the training that runs. Stop it where it was started (Ctrl-C)."
            )
        return self._to_json(job) if job else None

    def latest_first(self, stats: Mapping[str, Any]) -> dict[str, Any]:
        """Put the model that is in training first: 3D Slicer shows the first one's progress."""
        asked_for = self._jobs.unfinished()[:1] or self._jobs.all()[-1:]
        first = [job.trainer for job in asked_for if job.trainer in stats]
        return {name: stats[name] for name in dict.fromkeys([*first, *stats])}

    def _to_json(self, job: TrainingJob) -> dict[str, Any]:
        answer = job.to_json()
        latest = [other for other in self._jobs.all() if other.trainer == job.trainer][-1]
        progress = self._tasks[job.trainer].progress()
        if job is latest and job.status != "SUBMITTED" and progress is not None:
            answer["progress"] = progress.to_json()
        return answer


def make_train_tasks(studies: str, registry: Path) -> dict[str, LesionTrainTask]:
    """Make the trainers of `/info/`."""
    return {
        name: LesionTrainTask(task, description, studies, registry)
        for name, (task, description) in _TRAINERS.items()
    }


def _no_trainer(name: str, trainers: list[str]) -> str:
    return f"There is no trainer {name!r}; the trainers are {', '.join(trainers)}."
