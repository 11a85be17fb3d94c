"""Who works on which photograph, so that no two clinicians are handed the same one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

__all__ = ["Visit", "Worklist"]

_LEASE_S: Final = 600.0
"""Who has not been heard of for so long has gone for lunch."""
_RESERVED_S: Final = 60.0
"""Until a viewer that is being started opens its first photograph."""
_OFFERS_KEPT_S: Final = 8 * 3600.0
_MOST_OFFERS: Final = 2000


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody has a photograph open, or was handed it: a lease that ends unless it is renewed."""

    client: str
    """Random id of a browser, or who asks in 3D Slicer; empty for a viewer that is being started."""
    clinician: str
    since: float
    """Monotonic time in seconds."""
    until: float
    reason: str = ""
    """Why they were handed it, in words; empty for what they opened by its name."""


class Worklist:
    """Remembers in memory who has which photograph; any thread may call it.

    Photographs that somebody has are not handed to others. Who opens one by its name is not kept from it:
    both are told, and both labels are stored. After a restart the next sign of life brings the leases
    back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._visits: dict[str, dict[str, Visit]] = {}  # image -> client -> visit
        self._offers: dict[str, dict[str, float]] = {}  # client -> image -> when it was handed out

    def hand_out(
        self, image: str, client: str, clinician: str, seconds: float = _LEASE_S, reason: str = ""
    ) -> bool:
        """Give a photograph to somebody unless another has it; returns whether they got it.

        Parameters
        ----------
        client
            Empty for a viewer that is being started: the photograph is kept for whoever opens it first.
        seconds
            Until others may have it, unless the lease is renewed by `enter`.
        reason
            Why it is this one; see `reason`.
        """
        with self._lock:
            now = self._clock()
            self._forget(now)
            visits = self._visits.setdefault(image, {})
            if "" in visits or any(other != client for other in visits):
                return False
            until = now + (seconds if client else _RESERVED_S)
            visits[client] = Visit(client, clinician, now, until, reason)
            return True

    def enter(
        self, image: str, client: str, clinician: str, seconds: float = _LEASE_S
    ) -> list[tuple[Visit, float]]:
        """Note that somebody has a photograph open, or still has: the lease begins or is renewed.

        Returns
        -------
        list
            The visits of others, each with the seconds it has lasted.
        """
        with self._lock:
            now = self._clock()
            self._forget(now)
            visits = self._visits.setdefault(image, {})
            opened = visits.pop("", None)
            before = visits.get(client)
            reason = next((visit.reason for visit in (before, opened) if visit), "")
            since = before.since if before else now
            visits[client] = Visit(client, clinician, since, now + seconds, reason)
            return [(visit, now - visit.since) for visit in visits.values() if visit.client != client]

    def renew(self, image: str, client: str, seconds: float = _LEASE_S) -> None:
        """Prolong a lease, if there is one: its client has just done something with the photograph."""
        with self._lock:
            now = self._clock()
            self._forget(now)
            if (visit := self._visits.get(image, {}).get(client)) is not None:
                until = max(visit.until, now + seconds)
                self._visits[image][client] = replace(visit, until=until)

    def leave(self, image: str, client: str) -> None:
        """Give a photograph back: it is submitted, or was left."""
        with self._lock:
            visits = self._visits.get(image, {})
            visits.pop(client, None)
            if not visits:
                self._visits.pop(image, None)

    def leave_all(self, client: str) -> None:
        """Give everything back that a client has."""
        with self._lock:
            for image in [image for image, visits in self._visits.items() if client in visits]:
                del self._visits[image][client]
                if not self._visits[image]:
                    del self._visits[image]

    def visits(self, image: str) -> list[Visit]:
        """Return who has a photograph open."""
        with self._lock:
            self._forget(self._clock())
            return [visit for visit in self._visits.get(image, {}).values() if visit.client]

    def reason(self, image: str, client: str) -> str:
        """Return why somebody was handed a photograph that they have; empty where they were not."""
        with self._lock:
            visit = self._visits.get(image, {}).get(client)
            return visit.reason if visit else ""

    def taken(self, client: str) -> frozenset[str]:
        """Return the photographs that others have."""
        with self._lock:
            self._forget(self._clock())
            return frozenset(
                image
                for image, visits in self._visits.items()
                if "" in visits or any(other != client for other in visits)
            )

    # ---- for viewers that do not remember what they were offered ----

    def offered(self, client: str) -> frozenset[str]:
        """Return what a client was offered in the last hours."""
        with self._lock:
            limit = self._clock() - _OFFERS_KEPT_S
            return frozenset(image for image, when in self._offers.get(client, {}).items() if when > limit)

    def note_offer(self, client: str, image: str) -> None:
        """Remember that a client was offered a photograph, so that it is not the next one again."""
        with self._lock:
            offers = self._offers.setdefault(client, {})
            offers.pop(image, None)
            offers[image] = self._clock()
            while len(offers) > _MOST_OFFERS:
                del offers[next(iter(offers))]

    def forget_offers(self, client: str) -> None:
        """Begin a new round: everything has been offered once."""
        with self._lock:
            self._offers.pop(client, None)

    def _forget(self, now: float) -> None:
        for image, visits in list(self._visits.items()):
            for client, visit in list(visits.items()):
                if visit.until <= now:
                    del visits[client]
            if not visits:
                del self._visits[image]
