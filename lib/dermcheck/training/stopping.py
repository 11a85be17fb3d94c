"""Stopping a training between two steps, so that its last state is whole."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final, TypeAlias

__all__ = ["Pause", "StopRequest", "TrainingStopped", "stop_signals"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class TrainingStopped(KeyboardInterrupt):
    """Somebody stopped the training; a checkpoint was written, and the same command goes on from it.

    A `KeyboardInterrupt`, as that is what it answers: code that cleans up after Ctrl-C does so here too.
    """


class StopRequest:
    """Whether somebody asked for the end; looked at between steps.

    Parameters
    ----------
    pause
        Waits while others need the processor more; returns at once when the end is asked for.
    """

    def __init__(self, pause: Pause | None = None) -> None:
        self.is_set = False
        self._pause = pause

    def check(self) -> None:
        """Give way, and end here if asked to.

        Raises
        ------
        TrainingStopped
            If so.
        """
        if self._pause is not None:
            self._pause(self)
        if self.is_set:
            raise TrainingStopped


Pause: TypeAlias = Callable[[StopRequest], None]
"""Called between two steps."""


@contextlib.contextmanager
def stop_signals(pause: Pause | None = None) -> Iterator[StopRequest]:
    """Take Ctrl-C and SIGTERM as requests while the block runs; a second one ends at once.

    Only the main thread receives signals; elsewhere nothing is changed.

    Parameters
    ----------
    pause
        See `StopRequest`.
    """
    request = StopRequest(pause)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, frame: FrameType | None) -> None:
        if request.is_set:
            raise KeyboardInterrupt
        request.is_set = True

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
