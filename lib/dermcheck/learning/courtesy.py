"""A training gives way to predictions: it waits between two steps while a server predicts.

A server that predicts holds a lock in the registry's folder; a training looks at it before each step. The
operating system takes the lock back from a server that ends in whatever way, so that no training waits for
one that is not there.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock, Timeout

from dermcheck.learning.place import training_folder

if TYPE_CHECKING:
    from dermcheck.training.stopping import StopRequest

__all__ = ["Courtesy", "predicting_lock"]

_LOCK_NAME: Final = "predicting.lock"
_SECONDS_BETWEEN_LOOKS: Final = 0.05


def predicting_lock(registry: Path) -> FileLock:
    """Return the lock that a server holds while it predicts; its folder must be there.

    It belongs to the thread that takes it.
    """
    return FileLock(training_folder(registry) / _LOCK_NAME, timeout=0, mode=0o600)


class Courtesy:
    """What a training does between two steps.

    Parameters
    ----------
    registry
        Folder of the registry.
    """

    def __init__(self, registry: Path) -> None:
        self._lock = predicting_lock(registry)
        self.seconds = 0.0
        """How long it has waited altogether."""

    def __call__(self, stop: StopRequest) -> None:
        """Wait until nobody predicts, or until the training shall end.

        Raises
        ------
        OSError
            If the lock cannot be opened.
        """
        start = time.monotonic()
        while not stop.is_set and self._somebody_predicts():
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            self.seconds += time.monotonic() - start
            start = time.monotonic()

    def _somebody_predicts(self) -> bool:
        try:
            with self._lock:
                return False
        except Timeout:
            return True
