"""Stopping a training between two steps, so that its last state is whole."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Final

__all__ = ["StopRequest", "TrainingStopped", "stop_signals"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class TrainingStopped(KeyboardInterrupt):
    """Somebody stopped the training; a checkpoint was written, and the same command goes on from it.

    A `KeyboardInterrupt`, as that is what it answers: code that cleans up after Ctrl-C does so here too.
    """


class StopRequest:
    """Whether somebody asked for the end; looked at between steps."""

    def __init__(self) -> None:
        self.is_set = False

    def check(self) -> None:
        """End here if asked to.

        Raises
        ------
        TrainingStopped
            If so.
        """
        if self.is_set:
            raise TrainingStopped


@contextlib.contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Take Ctrl-C and SIGTERM as requests while the block runs; a second one ends at once.

    Only the main thread receives signals; elsewhere nothing is changed.
    """
    request = StopRequest()
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
