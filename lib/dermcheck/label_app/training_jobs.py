"""Trainings in processes of their own, one after the other, with MONAI Label's words for how they are.

MONAI Label's own child process makes the whole app anew, with the models and the studies, is killed
instead of stopped, and keeps the server from ending. This one is the command `dermcheck train`: stopped, it
writes where it is and says one sentence; and it lets the server go first where the processor is short.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import subprocess
import sys
import threading
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import psutil

__all__ = ["TrainingJob", "TrainingJobs"]

logger = logging.getLogger(__name__)

Status = Literal["SUBMITTED", "RUNNING", "DONE", "ERROR", "STOPPED"]

_SECONDS_TO_STOP: Final = 60.0
"""A step, an examination's batch and a checkpoint on a slow disk take less."""
_SECONDS_TO_STOP_AT_EXIT: Final = 10.0
_LINES_KEPT: Final = 20
_STOPPED_STATUS: Final = 130


@dataclass(eq=False, kw_only=True)
class TrainingJob:
    """One training, as `GET /train/` tells of it."""

    trainer: str
    arguments: Sequence[str]
    """Of `dermcheck train`."""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: Status = "SUBMITTED"
    started: str = field(default_factory=lambda: _now())
    ended: str | None = None
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES_KEPT))
    process: subprocess.Popen[str] | None = None
    ended_with_server: bool = False
    """Whether it was stopped as the server ended, and by nobody."""

    @property
    def is_open(self) -> bool:
        """Whether it has not ended yet."""
        return self.status in ("SUBMITTED", "RUNNING")

    def to_json(self) -> dict[str, Any]:
        """Give MONAI Label's fields."""
        ended = {"end_ts": self.ended} if self.ended else {}
        return {
            "id": self.id,
            "status": self.status,
            "request": {"model": self.trainer},
            "start_ts": self.started,
            "details": list(self.lines),
            **ended,
        }


class TrainingJobs:
    """The trainings that this server was asked for; one runs at a time, the others wait in order.

    Parameters
    ----------
    environment
        Variables for the trainings, in addition to the server's own.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = dict(environment or {})
        self._jobs: list[TrainingJob] = []
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None
        atexit.register(self.close)

    def start(self, trainer: str, arguments: Sequence[str]) -> TrainingJob:
        """Start a training, or let it wait for those before it; returns at once."""
        job = TrainingJob(trainer=trainer, arguments=arguments)
        with self._changed:
            self._jobs.append(job)
            if self._worker is None:  # a daemon, so that the server can end; `close` stops the training then
                self._worker = threading.Thread(target=self._work, name="trainings", daemon=True)
                self._worker.start()
            self._changed.notify_all()
        return job

    def all(self) -> list[TrainingJob]:
        """Return all trainings, in the order in which they were asked for."""
        with self._changed:
            return list(self._jobs)

    def unfinished(self) -> list[TrainingJob]:
        """Return the one that runs and those that wait."""
        return [job for job in self.all() if job.is_open]

    def stop(self, seconds: float = _SECONDS_TO_STOP, *, server_ends: bool = False) -> TrainingJob | None:
        """Stop the one that runs, and those that wait.

        The training writes a checkpoint, from which the next one with the same data goes on. One that
        doesn't end within `seconds` is killed: its last checkpoint remains.

        Returns
        -------
        TrainingJob or None
            The one that ran (or would have been next); None if there was none.
        """
        with self._changed:
            stopped = [job for job in self._jobs if job.is_open]
            for job in stopped:
                job.status, job.ended, job.ended_with_server = "STOPPED", _now(), server_ends
            self._changed.notify_all()
        for job in stopped:
            if (process := job.process) is not None:
                _stop_process(process, seconds)
        return stopped[0] if stopped else None

    def close(self) -> None:
        """End the trainings, as the server ends."""
        atexit.unregister(self.close)
        self.stop(_SECONDS_TO_STOP_AT_EXIT, server_ends=True)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: any(job.status == "SUBMITTED" for job in self._jobs))
                job = next(job for job in self._jobs if job.status == "SUBMITTED")
                try:
                    process = job.process = self._start_process(job)
                except OSError as error:
                    job.status, job.ended = "ERROR", _now()
                    job.lines.append(f"The training cannot be started ({error.strerror}).")
                    continue
                job.status = "RUNNING"
            assert process.stdout is not None  # noqa: S101  # for mypy
            for line in process.stdout:
                if text := line.strip():
                    logger.info("training: %s", text)
                    job.lines.append(text)
            status = process.wait()
            with self._changed:
                job.process = None
                if job.is_open:
                    job.status = {0: "DONE", _STOPPED_STATUS: "STOPPED"}.get(status, "ERROR")  # type: ignore[assignment]
                    job.ended = _now()

    def _start_process(self, job: TrainingJob) -> subprocess.Popen[str]:
        process = subprocess.Popen(  # noqa: S603  # nothing of it comes from a viewer
            [sys.executable, "-m", "dermcheck", "train", *job.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=os.environ | {"PYTHONIOENCODING": "utf-8"} | self._environment,
            start_new_session=True,  # else Ctrl-C would reach it twice, from the terminal and from `close`
        )
        with contextlib.suppress(psutil.Error):  # it may have ended already
            psutil.Process(process.pid).nice(
                getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", 10)
            )  # Windows' name
        return process


def _stop_process(process: subprocess.Popen[str], seconds: float) -> None:
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        logger.warning("The training did not end within %.0f s and is killed.", seconds)
        process.kill()
        process.wait()


def _now() -> str:
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
