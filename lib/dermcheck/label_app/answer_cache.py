"""Answers that were given before: the same photograph asked about again is answered at once."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from dermcheck.label_app.answers import Reply

__all__ = ["AnswerCache"]

_MOST_BYTES: Final = 64 << 20
"""A label map's file has a few kilobytes (24 megapixels: some 25), so these are thousands of answers."""


class AnswerCache:
    """The latest answers, as long as they fit into a bound; any thread may use it.

    What an answer depends on must be in its key: the photograph's content, the models, model and form.

    Parameters
    ----------
    most_bytes
        The bound.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._replies: OrderedDict[Hashable, tuple[Reply, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable) -> Reply | None:
        """Return an answer given before."""
        with self._lock:
            if key not in self._replies:
                return None
            self._replies.move_to_end(key)
            return self._replies[key][0]

    def put(self, key: Hashable, reply: Reply) -> None:
        """Remember an answer; those not asked for the longest are forgotten for it."""
        size = len(reply.content) + len(json.dumps(reply.params))
        with self._lock:
            self._bytes += size - self._replies.pop(key, (reply, 0))[1]
            self._replies[key] = reply, size
            while self._bytes > self._most_bytes:
                _, (_, freed) = self._replies.popitem(last=False)
                self._bytes -= freed
