"""Puts together what several threads want to have computed at the same time."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dermcheck.inference import ComputedPhotograph, Predictor, PreparedPhotograph

__all__ = ["MicroBatches"]

logger = logging.getLogger(__name__)

_MOST: Final = 8
"""Photographs in a batch. More are hardly quicker for each, and the first would wait for the last."""
_WINDOW_S: Final = 0.004
"""How long a batch waits for photographs that are being decoded; nobody waits if there are none."""


@dataclass(eq=False)
class _Wanted:
    predictor: Predictor
    photograph: PreparedPhotograph
    computed: Future[ComputedPhotograph] = field(default_factory=Future)


class MicroBatches:
    """Runs the networks in one thread, on all the photographs that are there when it is free.

    While it computes, the next ones are decoded and gather: the more is asked, the larger the batches, and a
    single photograph is computed at once.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[_Wanted] = deque()
        self._coming = 0
        self._thread: threading.Thread | None = None

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Announce a photograph while it is decoded and prepared."""
        with self._changed:
            self._coming += 1
        try:
            yield
        finally:
            with self._changed:
                self._coming -= 1
                self._changed.notify_all()

    def compute(self, predictor: Predictor, photograph: PreparedPhotograph) -> ComputedPhotograph:
        """Run the predictor's networks; raises what they raise."""
        wanted = _Wanted(predictor, photograph)
        with self._changed:
            self._waiting.append(wanted)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="compute", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return wanted.computed.result()

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            try:
                found = batch[0].predictor.compute([each.photograph for each in batch])
            except Exception as error:  # one of them may be to blame
                logger.warning("%d photographs together failed, each is tried alone: %r", len(batch), error)
                for each in batch:
                    _compute_alone(each)
            else:
                for each, computed in zip(batch, found, strict=True):
                    each.computed.set_result(computed)
            del batch  # else the last photographs would stay in memory until the next ones come

    def _next_batch(self) -> list[_Wanted]:
        """Take the first in line and those behind it that the same models answer."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting)
            self._changed.wait_for(lambda: not self._coming or len(self._waiting) >= _MOST, _WINDOW_S)
            batch = [self._waiting.popleft()]
            while self._waiting and len(batch) < _MOST and self._waiting[0].predictor is batch[0].predictor:
                batch.append(self._waiting.popleft())
            return batch


def _compute_alone(wanted: _Wanted) -> None:
    try:
        [computed] = wanted.predictor.compute([wanted.photograph])
    except Exception as error:  # handed to whoever waits
        wanted.computed.set_exception(error)
    else:
        wanted.computed.set_result(computed)
