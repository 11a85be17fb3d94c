"""The process in which a server predicts: `python -m dermcheck.label_app.answering_child`.

Pickled messages come by its standard input and leave by its standard output; `answering_process` is the
other end. It ends when its input does, so it never outlives its server.
"""

from __future__ import annotations

import copy
import logging
import os
import pickle
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import psutil

from dermcheck.errors import DermCheckError
from dermcheck.label_app.lean_imports import lean_imports, uncollected

if TYPE_CHECKING:
    from dermcheck.label_app.answering import LocalAnswering, Situation
    from dermcheck.label_app.answers import Reply

__all__ = ["main"]

logger = logging.getLogger(__name__)

_THREADS: Final = 16
"""For photographs that are decoded, computed or written. As many as the server ever asks at once."""
_NICEST: Final = 19
_NICENESS: Final = 5
"""Behind the server and the browser on the same machine, before a training (10)."""


def main() -> None:
    """Answer until nobody can ask any more."""
    inbox, outbox = _take_over_pipes()
    for number in (signal.SIGINT, signal.SIGTERM):  # for the whole group: the server decides when it ends
        signal.signal(number, signal.SIG_IGN)
    _let_others_go_first()
    with lean_imports():  # also those that are made when the first prediction needs them
        _import_beforehand()
        try:
            folder, is_registry, level = pickle.load(inbox)  # noqa: S301  # our server wrote it
        except EOFError:  # it does not serve after all
            os._exit(0)
        sender = _Sender(outbox)
        logging.basicConfig(level=level, handlers=[_Forwarder(sender)])
        logging.getLogger("dermcheck").setLevel(min(level, logging.INFO))
        _serve(inbox, sender, folder, is_registry)
    os._exit(0)  # threads that compute for nobody must not keep it, and Python's own end would abort them


def _let_others_go_first() -> None:
    own = psutil.Process()
    below_normal = getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", None)  # only on Windows
    own.nice(min(_NICEST, own.nice() + _NICENESS) if below_normal is None else below_normal)


def _import_beforehand() -> None:
    """Import while the server finds out what it shall serve."""
    with uncollected():
        from dermcheck import inference, registry  # noqa: F401
        from dermcheck.label_app import answering, source_image  # noqa: F401


def _take_over_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes for messages; what libraries print goes to the log."""
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return inbox, outbox


class _Sender:
    """Sends messages: number of the question or None, result, error."""

    def __init__(self, outbox: BinaryIO) -> None:
        self._outbox = outbox
        self._lock = threading.Lock()
        self._told: Situation | None = None

    def send(self, number: int | None, result: Any, error: BaseException | None = None) -> None:
        message = pickle.dumps((number, result, error))
        with self._lock:
            self._outbox.write(message)
            self._outbox.flush()

    def tell(self, situation: Situation | None) -> None:
        """Send how the models are, if that has changed."""
        if situation is not None and situation != self._told:
            self._told = situation
            self.send(None, situation)


class _Forwarder(logging.Handler):
    """Hands log records to the server, which has the log."""

    def __init__(self, sender: _Sender) -> None:
        super().__init__()
        self._sender = sender

    def emit(self, record: logging.LogRecord) -> None:
        plain = copy.copy(record)
        plain.msg, plain.args = record.getMessage(), None
        if record.exc_info:
            plain.exc_text, plain.exc_info = logging.Formatter().formatException(record.exc_info), None
        self._sender.send(None, plain)


def _serve(inbox: BinaryIO, sender: _Sender, folder: Path, is_registry: bool) -> None:
    answering = _make(folder, is_registry)

    def work(number: int, what: str, arguments: tuple[Any, ...]) -> None:
        result: Reply | None = None
        failure: Exception | None = None
        try:
            result = _do(answering, what, arguments)
        except DermCheckError as error:
            failure = error
        except Exception as error:
            logger.exception("A prediction failed")
            failure = RuntimeError(f"{type(error).__name__}: {error}")
        sender.tell(answering.situation())  # first: whoever has the answer sees whose it is
        sender.send(number, result, failure)

    with ThreadPoolExecutor(_THREADS, "answer") as pool:
        pool.submit(work, -1, "follow", ())
        while True:
            try:
                message = pickle.load(inbox)  # noqa: S301  # our server wrote it
            except (EOFError, OSError):
                os._exit(0)
            pool.submit(work, *message)


def _do(answering: LocalAnswering, what: str, arguments: tuple[Any, ...]) -> Reply | None:
    if what == "answer":
        return answering.answer(*arguments)
    answering.wait()  # loads the models that are in use now
    _share_cores(answering.situation())
    return None


def _share_cores(situation: Situation | None) -> None:
    """Let PyTorch prepare photographs with one thread where another back end computes.

    What it does then takes a millisecond, and waiting for a second thread that must be woken takes as long.
    """
    import torch

    backend = situation.state["backend"] if situation is not None else None
    threads = 1 if backend and "torch" not in backend else psutil.cpu_count(logical=False) or 1
    torch.set_num_threads(threads)


def _make(folder: Path, is_registry: bool) -> LocalAnswering:
    from dermcheck.label_app.answering import LocalAnswering

    if is_registry:
        from dermcheck.registry import Registry

        return LocalAnswering(Registry(folder))
    return LocalAnswering(folder)


if __name__ == "__main__":
    main()
