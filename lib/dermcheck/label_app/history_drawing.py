"""Draws how the models came on, for the start page."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Final

from dermcheck.errors import DermCheckError
from dermcheck.learning.history import History, read_history
from dermcheck.learning.learnt import corrections

if TYPE_CHECKING:
    from dermcheck.datastore import StudyStore
    from dermcheck.registry import Registry

__all__ = ["HistoryPicture"]

logger = logging.getLogger(__name__)

_SECONDS_TO_DRAW: Final = 120.0


class HistoryPicture:
    """Draws the history in a process of its own, once for each state; any thread may ask.

    Parameters
    ----------
    registry
        Of the versions.
    store
        The studies.
    """

    def __init__(self, registry: Registry, store: StudyStore) -> None:
        self._registry = registry
        self._store = store
        self._lock = threading.Lock()
        self._drawn: tuple[History, bytes] | None = None

    def history(self) -> History:
        """Return the history as it is now. Raises StorageError if the log cannot be read."""
        labels = corrections(self._store).values()
        return read_history(self._registry.history(), [label.created for label in labels])

    def svg(self) -> bytes:
        """Return the picture.

        Raises
        ------
        DermCheckError
            If the log cannot be read, or the picture not be drawn.
        """
        history = self.history()
        with self._lock:  # whoever asks meanwhile waits for the same picture
            if self._drawn is None or self._drawn[0] != history:
                self._drawn = history, _draw(history)
            return self._drawn[1]


def _draw(history: History) -> bytes:
    """Let another process draw: the plotting package would keep this one from answering for a second."""
    command = [sys.executable, "-m", "dermcheck.learning.history_picture"]
    content = json.dumps(history.to_json()).encode()
    try:
        done = subprocess.run(  # noqa: S603  # nothing of it comes from a viewer
            command, input=content, capture_output=True, timeout=_SECONDS_TO_DRAW, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("The history cannot be drawn: %s %s", error, getattr(error, "stderr", None))
        raise DermCheckError("The history cannot be drawn; the server's log says why.") from error
    return done.stdout
