"""When trainings start by themselves: the settings, and the decision that follows from them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final, Literal

from dermcheck.errors import ArgumentError
from dermcheck.learning.learnt import LEAST_CORRECTIONS

__all__ = ["Attempt", "Night", "Plan", "Schedule", "Standing", "decide"]

_MOST_AFTER: Final = 100_000

End = Literal["", "done", "failed", "stopped"]
"""How an attempt ended; empty while it runs, and for good where its server was ended meanwhile."""

Why = Literal["off", "too_few", "nothing_new", "collecting", "due"]


@dataclass(frozen=True, slots=True)
class Night:
    """Hours of each day in which trainings may start by themselves; over midnight if they end earlier."""

    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> Night:
        """Read e.g. ``22:00-06:00``.

        Raises
        ------
        ArgumentError
            If it is something else.

        >>> str(Night.parse("22:00-06:00"))
        '22:00-06:00'
        """
        found = re.fullmatch(r"\s*(\d{1,2}):(\d{2})\s*[-–]\s*(\d{1,2}):(\d{2})\s*", text)
        numbers = [int(part) for part in found.groups()] if found else []
        try:
            start, end = (
                time(hour, minute) for hour, minute in zip(numbers[::2], numbers[1::2], strict=True)
            )
        except ValueError:
            numbers = []
        if not numbers or start == end:
            raise ArgumentError(
                f"The hours for trainings are {text!r}, expected a beginning and an end like 22:00-06:00."
            )
        return cls(start, end)

    def __str__(self) -> str:
        """Return the hours as they are typed."""
        return f"{self.start:%H:%M}-{self.end:%H:%M}"

    def window(self, now: datetime) -> tuple[datetime, datetime]:
        """Return beginning and end of the present night, or of the next; local time.

        >>> night = Night.parse("22:00-06:00")
        >>> [f"{edge:%d %H:%M}" for edge in night.window(datetime(2026, 5, 2, 3, 0))]
        ['01 22:00', '02 06:00']
        >>> [f"{edge:%d %H:%M}" for edge in night.window(datetime(2026, 5, 2, 12, 0))]
        ['02 22:00', '03 06:00']
        """
        length = timedelta(days=1 if self.end <= self.start else 0)
        for day in (-1, 0, 1):
            date = now.date() + timedelta(days=day)
            start = datetime.combine(date, self.start)
            end = datetime.combine(date, self.end) + length
            if now < end:
                return start, end
        raise AssertionError("one of three days has not ended yet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When trainings start by themselves; without any of both, never.

    Raises
    ------
    ArgumentError
        If `after` is out of range.
    """

    after: int | None = None
    """So many new corrections."""
    night: Night | None = None
    """Once in each of these nights, if there are new corrections."""

    def __post_init__(self) -> None:
        """Check the number."""
        if self.after is not None and not 1 <= self.after <= _MOST_AFTER:
            raise ArgumentError(
                f"Trainings shall start after {self.after} new corrections, expected 1 to {_MOST_AFTER:,}."
            )

    @classmethod
    def parse(cls, after: str | int | None, night: str | None) -> Schedule:
        """Read both settings as they are typed; empty ones are off.

        Raises
        ------
        ArgumentError
            If one cannot be understood.
        """
        try:
            number = int(after) if after not in (None, "") else None
        except ValueError:
            raise ArgumentError(
                f"Trainings shall start after {after!r} new corrections, expected a number like 50."
            ) from None
        return cls(after=number, night=Night.parse(night) if night else None)

    @property
    def is_on(self) -> bool:
        """Whether trainings start by themselves at all."""
        return self.after is not None or self.night is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The latest training that started by itself and made no version."""

    at: datetime
    """Local time."""
    new: int
    """Corrections that were new then."""
    end: End = ""
    answer: str = ""
    """Its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What there is to learn for one task."""

    corrections: int
    """Corrected photographs."""
    new: int
    """Of these, whose label the latest version from corrections has not learnt."""
    attempt: Attempt | None = None
    """Since that version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Whether a training shall start now; else when, and why not now."""

    why: Why
    missing: int | None = None
    """How many new corrections are still missing; None if their number does not decide."""
    at: datetime | None = None
    """When the next night begins in which it may start; None if no night decides."""
    occasion: str = ""
    """If due: why, for the registry's log."""

    @property
    def due(self) -> bool:
        """Whether it shall start now."""
        return self.why == "due"


def decide(schedule: Schedule, standing: Standing, now: datetime) -> Plan:
    """Decide whether a training of one task starts now.

    A training that failed or was stopped by a person is not simply started again: that takes as many further
    corrections, or another night. One whose server was ended meanwhile goes on.
    """
    if not schedule.is_on:
        return Plan(why="off")
    if standing.corrections < LEAST_CORRECTIONS:
        return Plan(why="too_few", missing=LEAST_CORRECTIONS - standing.corrections)
    if standing.new <= 0:
        return Plan(why="nothing_new", missing=schedule.after)
    attempt = standing.attempt
    if attempt is not None and not attempt.end:
        return Plan(why="due", occasion="going on where the server was ended")
    further = standing.new - (min(attempt.new, standing.new) if attempt else 0)
    if schedule.after is not None and further >= schedule.after:
        return Plan(why="due", occasion=f"by itself after {further} new corrections")
    missing = None if schedule.after is None else schedule.after - further
    if schedule.night is None:
        return Plan(why="collecting", missing=missing)
    start, _ = schedule.night.window(now)
    tried = attempt is not None and attempt.at >= start
    if start <= now and not tried:
        return Plan(why="due", occasion=f"by itself at night with {standing.new} new corrections")
    if tried:
        start += timedelta(days=1)
    return Plan(why="collecting", missing=missing, at=start)
