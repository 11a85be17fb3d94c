"""Hands photographs out: to each clinician another one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dermcheck.active_learning.recommending import nothing_left
from dermcheck.errors import NotFoundError

if TYPE_CHECKING:
    from fastapi import Request
    from monailabel.interfaces.tasks.strategy import Strategy

    from dermcheck.active_learning.score_keeper import ScoreKeeper
    from dermcheck.label_app.datastore import DermCheckDatastore
    from dermcheck.label_app.worklist import Worklist
    from dermcheck.lesions import Language

__all__ = ["LONG_LEASE_S", "NextCase", "NextCases", "slicer_client"]

LONG_LEASE_S: Final = 3600.0
"""For 3D Slicer, which gives no sign of life between predicting and submitting."""


@dataclass(frozen=True, slots=True)
class NextCase:
    """What to label next."""

    image: str | None
    """SOPInstanceUID; None if there is nothing."""
    reason: str = ""
    """Why this one, in words."""
    second_reading: bool = False
    """It has a label that looks like a mistake and must not be shown to whoever reads it again."""
    detail: str = ""
    """Why there is none, in words."""


class NextCases:
    """Chooses by a strategy and leases what it chose. Any thread may ask.

    Parameters
    ----------
    strategies
        By name, the one to use first first.
    datastore
        The photographs.
    worklist
        Who has what.
    scores
        What the strategies know.
    """

    def __init__(
        self,
        strategies: Mapping[str, Strategy],
        datastore: DermCheckDatastore,
        worklist: Worklist,
        scores: ScoreKeeper,
    ) -> None:
        self._strategies = strategies
        self._datastore = datastore
        self._worklist = worklist
        self._scores = scores

    def choose(
        self,
        strategy: str = "",
        *,
        client: str = "",
        clinician: str = "",
        skip: Collection[str] = (),
        request: Mapping[str, Any] | None = None,
        seconds: float | None = None,
        language: Language = "en",
    ) -> NextCase:
        """Choose a photograph and lease it, so that nobody else is handed it.

        Parameters
        ----------
        strategy
            Its name; empty for the first.
        client, clinician
            Who asks, see `Visit`. Without a client the photograph is kept for a minute, for whoever opens it.
        skip
            Photographs not wanted now.
        request
            What the strategy is told besides, e.g. `seed`.
        seconds
            How long the lease lasts.
        language
            Of the reason, and of what is said where there is none.

        Raises
        ------
        NotFoundError
            If there is no such strategy.
        """
        name = strategy or next(iter(self._strategies))
        if name not in self._strategies:
            raise NotFoundError(
                f"There is no strategy {name!r}; the strategies are {', '.join(self._strategies)}."
            )
        skipped, lease = frozenset(skip), {} if seconds is None else {"seconds": seconds}
        while True:
            taken = self._worklist.taken(client)
            told = {**(request or {}), "skip": skipped | taken, "reader": clinician, "language": language}
            chosen = self._strategies[name](told, self._datastore)
            if not chosen:
                return NextCase(None, detail=self._why_none(name, taken, language))
            if self._worklist.hand_out(chosen["id"], client, clinician, reason=chosen["reason"], **lease):
                return NextCase(chosen["id"], chosen["reason"], chosen["second_reading"])
            # Somebody else got it between the choice and the lease: choose among the others.

    def _why_none(self, strategy: str, taken: frozenset[str], language: Language) -> str:
        unlabelled = self._datastore.get_unlabeled_images()
        progress = self._scores.progress()
        return nothing_left(
            strategy,
            len(self._datastore.list_images()),
            len(unlabelled),
            in_other_hands=len(taken.intersection(unlabelled)),
            unscored=progress["of"] - progress["scored"] - progress["failed"],
            language=language,
        )


def slicer_client(client_id: object, http: Request) -> str:
    """Tell clients apart: 3D Slicer sends the same `client_id` from everywhere unless somebody sets it."""
    return f"{client_id}@{http.client.host if http.client else ''}"
