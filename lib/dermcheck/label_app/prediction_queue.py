"""The predictions that wait for a processor: in order, not too many, none for nobody, none twice."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dermcheck.dicomweb.statuses import BusyError

if TYPE_CHECKING:
    from fastapi import Request

__all__ = ["ClientGoneError", "PredictionQueue"]

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_AT_ONCE: Final = 8
"""As many as are computed together; each holds a photograph's file."""
_LONGEST: Final = 32
"""Waiting predictions. The last of them starts after some ten seconds; nobody waits longer gladly."""
_LAST_PREDICTION_S: Final = 10.0


class ClientGoneError(Exception):
    """Whoever asked has closed the connection: there is nobody to answer."""


@dataclass(eq=False)
class _Job:
    key: Hashable
    work: Callable[[], Any]
    result: Future[Any] = field(default_factory=Future)
    wanted_by: int = 0


class PredictionQueue:
    """Lets predictions begin first come, first served; any thread may call it.

    Its threads only read files and wait: what they call computes in another process
    (`answering_process`), which puts together those that run at the same time.

    Parameters
    ----------
    at_once
        How many run at the same time.
    longest
        How many may wait besides these.
    """

    def __init__(self, at_once: int = _AT_ONCE, longest: int = _LONGEST) -> None:
        self._at_once = at_once
        self._longest = longest
        self._changed = threading.Condition()
        self._jobs: dict[Hashable, _Job] = {}  # waiting or running
        self._waiting: deque[_Job] = deque()
        self._idle = 0
        self._threads: list[threading.Thread] = []
        self._closed = False

    async def answer(
        self, request: Request, key: Hashable, work: Callable[[], _Result], may_leave: bool = True
    ) -> _Result:
        """Wait for one's turn and for the result, without keeping anybody else waiting.

        Parameters
        ----------
        request
            Whose body has been read. If its client leaves before the work has begun, and nobody else
            waits for the same, the work is never done.
        key
            What the work is about: requests that wait for the same share one result.
        work
            Runs in a thread of the queue.
        may_leave
            False for work that must be done once asked for, e.g. that stores something.

        Raises
        ------
        BusyError
            If too many wait already.
        ClientGoneError
            If the client left.
        Exception
            What `work` raises.
        """
        job = self._enter(key, work)
        result = asyncio.wrap_future(job.result)
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait(
                {result} if not may_leave else {result, gone}, return_when=asyncio.FIRST_COMPLETED
            )
            if not result.done():
                raise ClientGoneError
            answer: _Result = result.result()
            return answer
        finally:
            gone.cancel()
            if not result.done():
                self._leave(job)
                result.add_done_callback(_look_at)  # nobody will: asyncio would complain of it

    def waiting(self) -> int:
        """Return how many wait for their turn."""
        with self._changed:
            return len(self._waiting)

    def busy(self) -> bool:
        """Tell whether a prediction waits or runs; so cheap that it may be asked all the time."""
        return bool(self._jobs)

    def close(self) -> None:
        """Begin nothing any more, and wait for what is running: it may have something to store."""
        with self._changed:
            self._closed = True
            for job in self._waiting:
                job.result.cancel()
                self._jobs.pop(job.key, None)
            self._waiting.clear()
            self._changed.notify_all()
        until = time.monotonic() + _LAST_PREDICTION_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _enter(self, key: Hashable, work: Callable[[], Any]) -> _Job:
        with self._changed:
            job = self._jobs.get(key)
            if job is None:
                if self._closed or len(self._waiting) >= self._longest:
                    raise BusyError(
                        f"{len(self._waiting)} predictions are waiting already. Try again in some seconds."
                    )
                job = self._jobs[key] = _Job(key, work)
                self._waiting.append(job)
                if len(self._waiting) > self._idle and len(self._threads) < self._at_once:
                    name = f"predict {len(self._threads) + 1}"
                    self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
                    self._threads[-1].start()
                self._changed.notify()
            job.wanted_by += 1
            return job

    def _leave(self, job: _Job) -> None:
        with self._changed:
            job.wanted_by -= 1
            if not job.wanted_by and job in self._waiting:
                self._waiting.remove(job)
                del self._jobs[job.key]
                job.result.cancel()
                logger.info("A prediction is dropped: nobody waits for it any more")

    def _work(self) -> None:
        while (job := self._next()) is not None:
            self._run(job)

    def _run(self, job: _Job) -> None:
        try:
            outcome = job.work()
        except BaseException as error:  # handed to whoever waits
            self._end(job)
            job.result.set_exception(error)
        else:
            self._end(job)
            job.result.set_result(outcome)

    def _next(self) -> _Job | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._idle -= 1
            if self._closed:
                return None
            job = self._waiting.popleft()
            job.result.set_running_or_notify_cancel()
            return job

    def _end(self, job: _Job) -> None:
        with self._changed:  # from now on the same key is new work: the photograph may have changed
            self._jobs.pop(job.key, None)


async def _disconnected(request: Request) -> None:
    """Return when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _look_at(result: asyncio.Future[Any]) -> None:
    if not result.cancelled():
        result.exception()
