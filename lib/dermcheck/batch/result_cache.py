"""Answers to pictures that a batch has met already, found by their content."""

from __future__ import annotations

import threading
from collections import OrderedDict

from dermcheck.batch.stages import Answer

__all__ = ["ResultCache"]

_ENTRY_BYTES = 4096
"""What an answer takes besides its files, roughly."""


class ResultCache:
    """The answers of this run, by the SHA-256 of the file; the least recently used go first.

    A copy of a photograph under another name, as archives hold many, costs no more than reading it. Any
    number of threads may ask.

    Parameters
    ----------
    most_bytes
        How much is kept. 16 MB hold the tables' rows and masks of a few thousand photographs.
    """

    def __init__(self, most_bytes: int = 16 * 2**20) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()
        self._access = threading.Lock()

    def get(self, digest: bytes) -> Answer | None:
        """Give the answer to a file of this content, if there is one."""
        with self._access:
            answer = self._answers.get(digest)
            if answer is not None:
                self._answers.move_to_end(digest)
            return answer

    def put(self, answer: Answer) -> None:
        """Keep an answer, and let go of what is too much."""
        size = _size(answer)
        if size > self._most_bytes // 8:  # one large photograph must not cost all others their place
            return
        with self._access:
            before = self._answers.pop(answer.digest, None)
            self._bytes += size - (_size(before) if before is not None else 0)
            self._answers[answer.digest] = answer
            while self._bytes > self._most_bytes:
                _, oldest = self._answers.popitem(last=False)
                self._bytes -= _size(oldest)


def _size(answer: Answer) -> int:
    return _ENTRY_BYTES + sum(map(len, answer.files.values()))
