"""The scoring process as seen from the server: start it, give it work, notice when it dies."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import psutil

from dermcheck.errors import DermCheckError

__all__ = ["Scorer", "ScoringPlaces", "ScoringProcess", "ScoringStoppedError"]

logger = logging.getLogger(__name__)

_START_S: Final = 300.0
"""Loading everything at the lowest priority, on a machine that does something else."""
_ANSWER_S: Final = 60.0
"""For each photograph of a batch; a decoder that takes longer hangs."""


class ScoringStoppedError(DermCheckError):
    """The scoring process has ended, or did not answer and was ended."""


@dataclass(frozen=True, slots=True)
class ScoringPlaces:
    """Where the scoring process finds models and photographs."""

    models: Path | None
    """Folder of the models, or None for the versions in use of a registry."""
    registry: Path | None
    archive: str | None
    """DICOMweb address, or None where photographs are files."""


class Scorer(Protocol):
    """What scores; used by one thread, but for `kill`."""

    model: str
    """Key of the models that it scores with, see `model_key`; known after `connect`."""

    def connect(self) -> None:
        """Wait until it has loaded the models; raises ScoringStoppedError if it cannot."""

    def answer(self, jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answer jobs, see `scoring_process.answer`; raises ScoringStoppedError if it ends meanwhile."""

    def kill(self) -> None:
        """End it in the midst of its work; any thread may do this."""

    def close(self) -> None:
        """End it, and let go of it."""


class ScoringProcess:
    """A `Scorer` in a process of its own.

    Parameters
    ----------
    places
        See `ScoringPlaces`.

    Raises
    ------
    ScoringStoppedError
        If the system starts no process.
    """

    def __init__(self, places: ScoringPlaces) -> None:
        self._places = places
        self.model = ""
        try:
            self._process = _start()
        except OSError as error:
            raise ScoringStoppedError(f"Scoring cannot be started ({error.strerror}).") from error

    def connect(self) -> None:
        """Wait until it has loaded the models.

        Raises
        ------
        ScoringStoppedError
            If it cannot, or was ended meanwhile.
        """
        folders = {"models": self._places.models, "registry": self._places.registry}
        told = {name: str(folder) if folder else None for name, folder in folders.items()}
        answer = self._ask(told | {"archive": self._places.archive}, _START_S)
        if problem := answer.get("problem"):
            raise ScoringStoppedError(f"Scoring cannot be started: {problem}")
        self.model = answer["model"]

    def answer(self, jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Let it work; see `scoring_process.answer`.

        Raises
        ------
        ScoringStoppedError
            If it ends, or hangs. It is of no more use then.
        """
        answers: list[dict[str, Any]] = self._ask({"jobs": list(jobs)}, _ANSWER_S * len(jobs))["answers"]
        return answers

    def kill(self) -> None:
        """End it in the midst of its work; any thread may do this, `answer` then raises."""
        self._process.kill()

    def close(self) -> None:
        """End it, and let go of it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # jobs that it has not read
                    stream.close()

    def _ask(self, told: dict[str, Any], seconds: float) -> dict[str, Any]:
        assert self._process.stdin is not None  # noqa: S101  # for mypy
        assert self._process.stdout is not None  # noqa: S101
        watchdog = threading.Timer(seconds, self._process.kill)  # pipes know no time limit on Windows
        watchdog.daemon = True
        watchdog.start()
        try:
            self._process.stdin.write(json.dumps(told) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except (OSError, ValueError) as error:  # the pipe is broken, or was closed
            raise self._stopped() from error
        finally:
            watchdog.cancel()
        if not line:
            raise self._stopped()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _stopped(self) -> ScoringStoppedError:
        self._process.kill()
        status = self._process.wait()
        return ScoringStoppedError(f"The scoring process has ended (status {status}).")


def _start() -> subprocess.Popen[str]:
    threads = max(1, (os.cpu_count() or 1) // 2)
    process = subprocess.Popen(
        [sys.executable, "-m", "dermcheck.active_learning.scoring_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"},
        start_new_session=True,  # Ctrl-C at the terminal is the server's; this one ends with its input
    )
    try:
        psutil.Process(process.pid).nice(getattr(psutil, "IDLE_PRIORITY_CLASS", 19))  # Windows' name
    except psutil.Error:
        logger.info("The scoring process has ended before it got its priority.")
    return process
