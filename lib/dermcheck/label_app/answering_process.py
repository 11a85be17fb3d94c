"""The process in which a server predicts, as the server sees it.

The networks keep every core busy. In the server's own process they would compete with its event loop for the
processor, for Python's lock and for memory; as a process of lower priority they get what the server leaves,
and if the system ends them for want of memory, the server goes on.
"""

from __future__ import annotations

import itertools
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dermcheck.dicomweb.statuses import HttpError
from dermcheck.errors import DermCheckError, ModelError

if TYPE_CHECKING:
    from dermcheck.label_app.answering import Situation
    from dermcheck.label_app.answers import Question, Reply
    from dermcheck.registry import Registry

__all__ = ["AnsweringProcess", "PredictionsEndedError", "start_process"]

logger = logging.getLogger(__name__)

_COMMAND: Final = [sys.executable, "-m", "dermcheck.label_app.answering_child"]
_SECONDS_TO_END: Final = 5.0
_LONGEST_PAUSE_S: Final = 60.0


def start_process() -> subprocess.Popen[bytes]:
    """Start a process that will predict: it imports what it needs while its server finds out what to serve.

    It ends by itself when the server does.
    """
    # OpenMP's threads would otherwise keep the cores busy while they wait for work.
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ
    return subprocess.Popen(  # noqa: S603  # no outside input
        _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )


class PredictionsEndedError(HttpError):
    """The process that predicts has ended while it was needed."""

    http_status = 503


class AnsweringProcess:
    """Answers like `LocalAnswering`, in a process of lower priority that is started again if it ends.

    Parameters
    ----------
    models
        Folder with `classifier` and `outliner`, or a registry.
    process
        From `start_process`, where it was started beforehand.
    """

    def __init__(self, models: Path | Registry, process: subprocess.Popen[bytes] | None = None) -> None:
        self._models = models if isinstance(models, Path) else None
        self._registry = None if isinstance(models, Path) else models
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._asked: dict[int, Future[Any]] = {}
        self._situation: Situation | None = None
        self._following: Future[Any] | None = None
        self._settled = threading.Event()
        """Set once the models are loaded, or it is clear that they will not be."""
        self._closing = threading.Event()
        first = self._begin(process or start_process())
        self._process: subprocess.Popen[bytes] | None = first
        threading.Thread(target=self._watch, args=(first,), name="predictions", daemon=True).start()

    @property
    def process_id(self) -> int | None:
        """The process that predicts; None while there is none."""
        process = self._process
        return process.pid if process else None

    def answer(self, question: Question) -> Reply:
        """Answer; see `Answering`.

        Raises
        ------
        PredictionsEndedError
            If the process ended meanwhile. It is started again.
        """
        reply: Reply = self._ask("answer", question).result()
        return reply

    def wait(self) -> None:
        """Wait; see `Answering`."""
        self._settled.wait()
        if self._situation is None:
            raise ModelError("The process that predicts cannot be started; the lines above say why.")
        if self._situation.error is not None:
            raise self._situation.error

    def situation(self) -> Situation | None:
        """Tell; see `Answering`."""
        known = self._situation
        following = self._following is not None and not self._following.done()
        if known is None or self._registry is None or following:
            return known
        if self._registry.stamp() != known.stamp:
            self._following = self._ask("follow")
        return known

    def close(self) -> None:
        """End the process; whoever still waits gets an error."""
        self._closing.set()
        process = self._process
        if process is None:
            return
        if self._lock.acquire(timeout=_SECONDS_TO_END):  # else somebody waits for a pipe that nobody empties
            _close_quietly(process)  # it ends when nobody can ask it any more
            self._lock.release()
        try:
            process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()

    def _ask(self, what: str, *arguments: Any) -> Future[Any]:
        asked: Future[Any] = Future()
        number = next(self._numbers)
        message = pickle.dumps((number, what, arguments))
        with self._lock:
            process = self._process
            if process is None or process.stdin is None:
                asked.set_exception(_ended(None))
                return asked
            self._asked[number] = asked
            try:
                process.stdin.write(message)
                process.stdin.flush()
            except (OSError, ValueError):  # it has just ended; whoever watches it tells those who wait
                logger.debug("A question could not be handed over")
        return asked

    def _begin(self, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """Tell a process that was started what to answer with."""
        assert process.stdin is not None  # noqa: S101  # for mypy
        folder = self._registry.folder if self._registry else self._models
        orders = folder, self._registry is not None, logging.getLogger().getEffectiveLevel()
        try:
            pickle.dump(orders, process.stdin)
            process.stdin.flush()
        except OSError:  # it has ended at once
            logger.debug("The process that predicts takes nothing")
        return process

    def _start(self) -> subprocess.Popen[bytes] | None:
        """Start the next process; None where the system cannot, for example for want of memory."""
        try:
            return self._begin(start_process())
        except OSError as error:
            logger.error("The process that predicts cannot be started: %s", error.strerror)
            return None

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Take what the process says, and start it again whenever it ends."""
        pause = 0.0
        while True:
            before = self._situation
            self._listen(process)
            _close_quietly(process)  # first: one that is not understood would wait for questions for ever
            status = process.wait()
            # One that ended before it could predict will hardly do better at once.
            pause = 0.0 if self._situation is not before else min(_LONGEST_PAUSE_S, 2 * pause + 1)
            next_one = self._take_leave(status, start=pause == 0)
            self._settled.set()
            if not self._closing.is_set():
                logger.error("%s", _ended(status))
            while next_one is None:
                if self._closing.wait(pause or 1.0):
                    return
                next_one = self._process = self._start()
            process = next_one

    def _take_leave(self, status: int, *, start: bool) -> subprocess.Popen[bytes] | None:
        """Tell those who wait that their process has ended; start the next one if it shall be at once."""
        with self._lock:
            asked, self._asked = self._asked, {}
            start = start and not self._closing.is_set()
            self._process = self._start() if start else None
        for each in asked.values():
            each.set_exception(_ended(status))
        return self._process

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101  # for mypy
        while True:
            try:
                number, result, error = pickle.load(process.stdout)  # noqa: S301  # our own process wrote it
            except (EOFError, OSError):
                return
            except Exception:  # a class that cannot be made again; those who wait must be told all the same
                logger.exception("What the process that predicts says is not understood")
                return
            if isinstance(number, int):
                if (asked := self._asked.pop(number, None)) is not None:
                    _settle(asked, result, error)
            elif isinstance(result, logging.LogRecord):
                logging.getLogger(result.name).handle(result)
            else:
                self._situation = result
                self._settled.set()


def _settle(asked: Future[Any], result: Any, error: BaseException | None) -> None:
    if error is None:
        asked.set_result(result)
    else:
        asked.set_exception(error)


def _close_quietly(process: subprocess.Popen[bytes]) -> None:
    try:
        if process.stdin is not None:
            process.stdin.close()
    except OSError:  # what was not written yet has nobody to read it
        logger.debug("The process that predicts has ended before")


def _ended(status: int | None) -> DermCheckError:
    if status is None:
        return PredictionsEndedError("The process that predicts is being started. Ask again in some seconds.")
    return PredictionsEndedError(
        f"The process that predicts has ended ({_in_words(status)}) and is started again. Ask again in some "
        "seconds; if this comes back with the same photograph, report it."
    )


def _in_words(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name if -status in signal.valid_signals() else f"signal {-status}"
    memory = ": the system does this where memory runs out" if name == "SIGKILL" else ""
    return f"{name}{memory}"
