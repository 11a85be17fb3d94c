"""Trainings that start by themselves, and what `/info/` and the start page say of them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from dermcheck.errors import DermCheckError
from dermcheck.label_app.learning_words import say_plan
from dermcheck.learning.attempts import Attempts
from dermcheck.learning.learnt import Learnt, corrections, last_learnt
from dermcheck.learning.place import TrainingRunsError, is_training
from dermcheck.learning.schedule import Attempt, Plan, Schedule, Standing, decide

if TYPE_CHECKING:
    from dermcheck.datastore import StoredLabel, StudyStore
    from dermcheck.label_app.train_tasks import Trainers
    from dermcheck.label_app.training_jobs import TrainingJob
    from dermcheck.learning.schedule import End
    from dermcheck.networks.cards import Task
    from dermcheck.registry import Registry

__all__ = ["AutomaticTraining", "TaskPlan"]

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS: Final = 10.0
_IDLE_SHARE: Final = 20
"""The pause between two looks is at least this many times what a look takes."""
_ENDS: Final[Mapping[str, End]] = {"DONE": "done", "ERROR": "failed", "STOPPED": "stopped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlan:
    """One model's trainings: what there is to learn, and what happens next."""

    trainer: str
    standing: Standing
    plan: Plan
    running: bool = False
    """Whether a training runs, of whichever model and however started."""


class AutomaticTraining:
    """Starts trainings when the schedule says so, one at a time; any thread may ask it.

    It counts what the versions in the registry have not learnt yet, so a restart changes nothing.

    Parameters
    ----------
    schedule
        When.
    trainers
        They carry trainings out.
    store
        The studies.
    registry
        Of the versions.
    clock
        Local time.
    """

    def __init__(
        self,
        schedule: Schedule,
        trainers: Trainers,
        store: StudyStore,
        registry: Registry,
        clock: Callable[[], datetime] = datetime.now,
    ) -> None:
        self.schedule = schedule
        self._trainers = trainers
        self._store = store
        self._registry = registry
        self._clock = clock
        self._attempts = Attempts(registry.folder)
        self._started: dict[Task, TrainingJob] = {}
        self._learnt: tuple[object, dict[Task, Learnt | None]] | None = None
        self._lock = threading.Lock()
        self._plans: tuple[float, list[TaskPlan]] | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Look again and again, in a thread of its own; does nothing if the schedule is off."""
        if self.schedule.is_on and self._thread is None:
            self._thread = threading.Thread(
                target=self._keep_looking, name="automatic trainings", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Start nothing any more."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(_SECONDS_BETWEEN_LOOKS)

    def look(self) -> list[TaskPlan]:
        """Note what has ended, start what is due, and return the plans as they were before.

        Raises
        ------
        DermCheckError
            If the registry cannot be read.
        """
        with self._lock:
            self._note_ends()
            plans = self._make_plans()
            self._plans = time.monotonic(), plans
            if not any(plan.running for plan in plans):
                for plan in plans:
                    if plan.plan.due:
                        self._start(plan)
        return plans

    def plans(self) -> list[TaskPlan]:
        """Return what happens next for each model, at most some seconds old.

        Raises
        ------
        DermCheckError
            If the registry cannot be read.
        """
        with self._lock:
            if self._plans is None or time.monotonic() - self._plans[0] > _SECONDS_BETWEEN_LOOKS:
                self._plans = time.monotonic(), self._make_plans()
            return self._plans[1]

    def to_json(self) -> dict[str, Any]:
        """Say for `/info/` what happens next, in figures and in words; raises as `plans`."""
        return {
            "after_corrections": self.schedule.after,
            "at_night": str(self.schedule.night) if self.schedule.night else None,
            "trainers": {plan.trainer: _to_json(plan) for plan in self.plans()},
        }

    def _keep_looking(self) -> None:
        pause = 0.0
        while not self._closing.wait(pause):
            start = time.monotonic()
            try:
                self.look()
            except DermCheckError as error:
                logger.warning("Whether a training is due cannot be told: %s", error)
            except Exception:
                logger.exception("Looking whether a training is due failed")
            pause = max(_SECONDS_BETWEEN_LOOKS, _IDLE_SHARE * (time.monotonic() - start))

    def _make_plans(self) -> list[TaskPlan]:
        labels = list(corrections(self._store).values())
        running = bool(self._trainers.unfinished()) or is_training(self._registry.folder)
        now = self._clock()
        plans = []
        for trainer, task in self._trainers.tasks():
            standing = self._standing(task, labels)
            plan = decide(self.schedule, standing, now)
            plans.append(TaskPlan(trainer=trainer, standing=standing, plan=plan, running=running))
        return plans

    def _standing(self, task: Task, labels: list[StoredLabel]) -> Standing:
        learnt = self._what_is_learnt()[task]
        new = len(labels) if learnt is None else sum(learnt.is_new(label) for label in labels)
        attempt = self._attempts.get(task)
        if attempt is not None and learnt is not None and learnt.at >= attempt.at:
            attempt = None
        return Standing(corrections=len(labels), new=new, attempt=attempt)

    def _what_is_learnt(self) -> dict[Task, Learnt | None]:
        """Read the registry's log once after each event: it may be long."""
        stamp = self._registry.stamp()
        if self._learnt is None or self._learnt[0] != stamp:
            events, folder = self._registry.history(), self._registry.folder
            self._learnt = (
                stamp,
                {task: last_learnt(folder, task, events) for _, task in self._trainers.tasks()},
            )
        return self._learnt[1]

    def _start(self, plan: TaskPlan) -> None:
        task = dict(self._trainers.tasks())[plan.trainer]
        attempt = Attempt(at=self._clock(), new=plan.standing.new)
        try:
            job = self._trainers.start_by_itself(plan.trainer, plan.plan.occasion)
        except TrainingRunsError as error:  # somebody was quicker; it is tried again at the next look
            logger.info("%s is not trained now: %s", plan.trainer, error)
            return
        logger.info("A training of %s starts %s.", plan.trainer, plan.plan.occasion)
        self._attempts.set(task, attempt)
        self._started[task] = job

    def _note_ends(self) -> None:
        for task, job in list(self._started.items()):
            if job.is_open:
                continue
            del self._started[task]
            attempt = self._attempts.get(task)
            if attempt is None or job.ended_with_server:
                continue
            last = job.lines[-1] if job.lines else ""
            self._attempts.set(task, replace(attempt, end=_ENDS[job.status], answer=last))


def _to_json(plan: TaskPlan) -> dict[str, Any]:
    standing, attempt = plan.standing, plan.standing.attempt
    return {
        "corrections": standing.corrections,
        "new_corrections": standing.new,
        "sentence": say_plan(plan)[1],
        "next": {
            "why": plan.plan.why,
            "missing_corrections": plan.plan.missing,
            "at": plan.plan.at.isoformat() if plan.plan.at else None,
        },
        "latest_attempt": None
        if attempt is None
        else {"at": attempt.at.isoformat(), "end": attempt.end or "running", "answer": attempt.answer},
    }
