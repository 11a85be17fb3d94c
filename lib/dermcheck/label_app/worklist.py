"""Who works on which photograph in the browser, so that two clinicians do not do the same work unasked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from monailabel.interfaces.tasks.strategy import Strategy

    from dermcheck.label_app.datastore import DermCheckDatastore

__all__ = ["Visit", "Worklist", "choose_next"]

_FORGOTTEN_AFTER_S: Final = 600.0
"""Who has not been heard of for so long has gone for lunch."""


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody has a photograph open, or was handed it."""

    client: str
    """Random id of a browser."""
    clinician: str
    since: float
    """Monotonic time in seconds."""


class Worklist:
    """Remembers in memory who has which photograph; any thread may call it.

    Only a courtesy: nobody is kept from anything, and both labels are stored.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._visits: dict[str, dict[str, Visit]] = {}  # image -> client -> visit

    def enter(self, image: str, client: str, clinician: str) -> list[tuple[Visit, float]]:
        """Note a visit; return the others of this photograph, each with the seconds it has lasted."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            visits = self._visits.setdefault(image, {})
            visits[client] = Visit(client, clinician, now)
            return [(visit, now - visit.since) for visit in visits.values() if visit.client != client]

    def leave(self, image: str, client: str) -> None:
        """Forget a visit: the photograph is submitted."""
        with self._lock:
            self._visits.get(image, {}).pop(client, None)

    def visits(self, image: str) -> list[Visit]:
        """Return who has a photograph open."""
        with self._lock:
            self._forget(self._clock())
            return list(self._visits.get(image, {}).values())

    def taken(self, client: str) -> frozenset[str]:
        """Return the photographs that others have."""
        with self._lock:
            self._forget(self._clock())
            return frozenset(
                image
                for image, visits in self._visits.items()
                if any(visit.client != client for visit in visits.values())
            )

    def _forget(self, now: float) -> None:
        for image, visits in list(self._visits.items()):
            for client, visit in list(visits.items()):
                if now - visit.since > _FORGOTTEN_AFTER_S:
                    del visits[client]
            if not visits:
                del self._visits[image]


def choose_next(
    strategy: Strategy,
    request: dict[str, Any],
    datastore: DermCheckDatastore,
    skip: Iterable[str],
    taken: Collection[str],
) -> str | None:
    """Let a strategy choose among the unlabelled photographs that are neither skipped nor taken.

    Those that others have are chosen only if no further ones are left.
    """
    skip = frozenset(skip)
    for left_out in (skip.union(taken), skip):
        chosen = strategy(request, _WithoutSome(datastore, left_out))
        if chosen and chosen.get("id"):
            return str(chosen["id"])
    return None


class _WithoutSome:
    """A datastore that keeps quiet about some unlabelled photographs."""

    def __init__(self, datastore: DermCheckDatastore, left_out: frozenset[str]) -> None:
        self._datastore = datastore
        self._left_out = left_out

    def get_unlabeled_images(
        self, label_tag: str | None = None, labels: list[str] | None = None
    ) -> list[str]:
        """Return the others."""
        found = self._datastore.get_unlabeled_images(label_tag, labels)
        return [image for image in found if image not in self._left_out]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._datastore, name)
