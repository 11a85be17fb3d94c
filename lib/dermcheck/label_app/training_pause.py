"""Lets trainings on this computer wait while the server predicts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from filelock import Timeout

from dermcheck.learning.courtesy import predicting_lock
from dermcheck.learning.place import is_training

__all__ = ["TrainingPause"]

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS: Final = 0.02
_SECONDS_WITHOUT_TRAINING: Final = 2.0
_SECONDS_OF_REST: Final = 1.0
"""A training goes on when nobody has predicted for so long: clinicians look at one photograph after the
other, and a step that has begun is not given up."""


class TrainingPause:
    """Holds the lock that trainings look at (see `Courtesy`) while predictions wait or run.

    The lock belongs to this process: however it ends, trainings go on.

    Parameters
    ----------
    registry
        Folder of the registry.
    is_predicting
        Tells at once whether predictions wait or run.
    """

    def __init__(self, registry: Path, is_predicting: Callable[[], bool]) -> None:
        self._registry = registry
        self._is_predicting = is_predicting
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self.is_held = False
        """Whether trainings wait at this moment."""

    def begin(self) -> None:
        """Look again and again, in a thread of its own."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_looking, name="training pause", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Let trainings go on, and look no more."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def _keep_looking(self) -> None:
        while not self._closing.is_set():
            if not self._look():
                self._closing.wait(_SECONDS_WITHOUT_TRAINING)

    def _look(self) -> bool:
        """Hold trainings up for a while where needed; return whether there is any."""
        try:
            if is_training(self._registry):
                self._watch_a_while()
                return True
        except Exception:  # the next look may be luckier, and predictions go on in any case
            logger.exception("Trainings cannot be told to wait for predictions")
        return False

    def _watch_a_while(self) -> None:
        """Take and release the lock as predictions come and go, until it is time to look for a training."""
        lock = predicting_lock(self._registry)
        until = time.monotonic() + _SECONDS_WITHOUT_TRAINING
        latest = -_SECONDS_OF_REST
        try:
            while not self._closing.is_set() and (lock.is_locked or time.monotonic() < until):
                now = time.monotonic()
                if self._is_predicting():
                    latest = now
                if lock.is_locked and now - latest >= _SECONDS_OF_REST:
                    lock.release()
                elif not lock.is_locked and now - latest < _SECONDS_OF_REST:
                    try:
                        lock.acquire()
                    except Timeout:  # a training looks at it just now, or another server predicts
                        logger.debug("the lock is taken just now")
                self.is_held = lock.is_locked
                self._closing.wait(_SECONDS_BETWEEN_LOOKS)
        finally:
            lock.release()
            self.is_held = False
