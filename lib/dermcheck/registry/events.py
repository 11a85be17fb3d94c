"""The registry's log: JSON lines that are only ever added to, safe from power cuts and other processes.

Everything that the registry knows follows from this file: which versions exist, which is in use, who
decided so, when and why. A line counts once it ends with a line feed, and it is on the disk by then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, Literal, get_args

from filelock import FileLock, Timeout

from dermcheck.errors import StorageError
from dermcheck.networks.cards import Task
from dermcheck.registry.private_files import append_flushed, make_private_folder

__all__ = ["LOG_NAME", "Event", "EventKind", "EventLog", "LogContent", "now"]

EventKind = Literal["submitted", "promoted", "refused", "rolled back"]

LOG_NAME: Final = "events.jsonl"
_LOCK_NAME: Final = "events.lock"
_LOCK_SECONDS: Final = 60.0
"""Longer than any writer holds the lock: copying two models to a slow disk."""
_CUT_OFF: Final = " <- this line was cut off and does not count\n"
"""Closes what a power cut left, so that it can never be read as JSON, even if only its end was missing."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of the log."""

    at: str
    """ISO 8601, UTC."""
    kind: EventKind
    task: Task
    version: str
    """Which version was submitted or refused, or is in use from now on."""
    who: str
    reason: str
    details: Mapping[str, Any] = field(default_factory=dict)
    """submitted: `entry` and `files` (SHA-256 by name). Decisions: `sha256` of the weights, `instead_of`,
    and the gate's `figures`."""

    def to_line(self) -> str:
        """Write one line of JSON, with its line feed.

        Raises
        ------
        ValueError, TypeError
            If the details hold what JSON cannot say, e.g. NaN.
        """
        return json.dumps(asdict(self), ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Event:
        """Read what `to_line` wrote; fields that a newer DermCheck added are passed over.

        Raises
        ------
        ValueError
            If this is not an event.
        """
        loaded = json.loads(line)
        if not isinstance(loaded, dict):
            raise ValueError("not a JSON object")
        known = {entry.name for entry in fields(cls)}
        if missing := known - {"details"} - loaded.keys():
            raise ValueError(f"without {', '.join(sorted(missing))}")
        values = {name: value for name, value in loaded.items() if name in known}
        texts = all(isinstance(value, str) for name, value in values.items() if name != "details")
        if not texts or not isinstance(values.get("details", {}), dict):
            raise ValueError("with a value of another type")
        if values["kind"] not in get_args(EventKind) or values["task"] not in get_args(Task):
            raise ValueError(f"of the unknown kind {values['kind']!r} {values['task']!r}")
        return cls(**values)


@dataclass(frozen=True)
class LogContent:
    """The log as it can be read now."""

    events: tuple[Event, ...] = ()
    """In the order in which they happened."""
    problems: tuple[str, ...] = ()
    """Lines that do not count, in words."""


class EventLog:
    """The log of one registry.

    Reading needs no lock: a line that is just being written has no line feed yet and is passed over.

    Parameters
    ----------
    folder
        The registry's; made by the first writing.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG_NAME
        self._lock = folder / _LOCK_NAME

    def read(self) -> LogContent:
        """Read all events.

        Raises
        ------
        StorageError
            If the file is there, but cannot be read.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return LogContent()
        except OSError as error:
            raise StorageError(
                f"{self.path}: the log of the models cannot be read ({error.strerror}). "
                "Check its permissions."
            ) from error
        *lines, rest = content.split(b"\n")
        parsed = [self._parse(number, line) for number, line in enumerate(lines, 1)]
        events = [each for each in parsed if isinstance(each, Event)]
        problems = [each for each in parsed if isinstance(each, str)]
        if rest:
            problems.append(
                f"{self.path}: line {len(lines) + 1} has no end. It is being written, or the power failed "
                "meanwhile; it does not count, and the next event starts a new line."
            )
        return LogContent(tuple(events), tuple(problems))

    @contextmanager
    def exclusive(self) -> Iterator[Callable[[Event], None]]:
        """Keep every other process and thread from writing, and give the function that adds an event.

        What is read and decided inside the block is still true when the event is added.

        Raises
        ------
        StorageError
            If the folder can't be written, the disk is full, or another process keeps the lock.
        """
        make_private_folder(self.path.parent)
        lock = FileLock(self._lock, timeout=_LOCK_SECONDS, mode=0o600)
        try:
            lock.acquire()
        except Timeout as error:
            raise StorageError(
                f"{self.path.parent}: another process has been writing here for {_LOCK_SECONDS:.0f} seconds. "
                "Wait for it, or end it."
            ) from error
        except OSError as error:
            raise StorageError(
                f"{self._lock}: this cannot be written ({error.strerror}); nothing has changed. Make the "
                "folder writable."
            ) from error
        try:
            yield self._append
        finally:
            lock.release()

    def _append(self, event: Event) -> None:
        try:
            append_flushed(self.path, event.to_line(), _CUT_OFF)
        except OSError as error:
            raise StorageError(
                f"{self.path}: the event could not be written ({error.strerror}); nothing has changed. "
                "Free some space, or make the folder writable."
            ) from error

    def _parse(self, number: int, line: bytes) -> Event | str:
        """Read one line, or say why it does not count."""
        try:
            return Event.from_line(line.decode())
        except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are such
            if line.endswith(_CUT_OFF.encode().rstrip(b"\n")):
                return f"{self.path}: line {number} was cut off, as by a power failure. It does not count."
            return f"{self.path}: line {number} is no event ({error}). It does not count."


def now() -> str:
    """Return the present time for an event."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
