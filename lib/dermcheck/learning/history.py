"""How the models came on: corrections, versions, their figures on the untouched photographs, decisions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from dermcheck.networks.cards import Task
    from dermcheck.registry import Event

__all__ = ["CORRECTIONS_LEARNT", "FIGURES", "Decision", "History", "read_history"]

CORRECTIONS_LEARNT: Final = "corrections_learnt"
"""Key of a version's configuration: how many corrected photographs it has learnt from."""
FIGURES: Final[Mapping[Task, str]] = {"classification": "balanced_accuracy", "segmentation": "jaccard"}
"""By which figure the gate decides first."""
_NAMES: Final[Mapping[Task, str]] = {"classification": "bal. acc.", "segmentation": "Jaccard"}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What became of a version at one moment: the gate's decision, or a person's."""

    task: Task
    version: str
    at: str
    """ISO 8601, UTC."""
    what: str
    """``promoted``, ``refused`` or ``rolled back``."""
    instead_of: str = ""
    """Which version was in use before, or stayed so."""
    who: str = ""
    reason: str = ""
    corrections: int | None = None
    """How many corrected photographs the version has learnt from; None if that is not known."""
    candidate: float | None = None
    """Its figure on the untouched photographs (fold 9); None if nothing was measured."""
    current: float | None = None
    """The same of the version in use before, on the same photographs."""
    lowest_difference: float | None = None
    """Lower bound of the difference, with 95 % confidence."""
    melanomas_found: int | None = None
    melanomas_found_before: int | None = None
    melanomas: int | None = None
    """Photographs of melanomas among the untouched ones."""

    @property
    def moment(self) -> datetime:
        """When, in local time without time zone."""
        return datetime.fromisoformat(self.at).astimezone().replace(tzinfo=None)


@dataclass(frozen=True, kw_only=True)
class History:
    """All decisions, oldest first, and when corrections were made."""

    decisions: tuple[Decision, ...] = ()
    corrected: tuple[str, ...] = ()
    """Local time (ISO 8601) of the label that counts of each corrected photograph, oldest first."""

    def of(self, task: Task) -> list[Decision]:
        """Return the decisions about one task's versions."""
        return [each for each in self.decisions if each.task == task]

    def in_use(self, task: Task) -> list[tuple[datetime, float]]:
        """Return the figure of the version in use from each decision on, where it was measured."""
        known: dict[str, float] = {}
        line = []
        for each in self.of(task):
            if each.candidate is not None:
                known[each.version] = each.candidate
            if each.current is not None:
                known[each.instead_of] = each.current
            used = each.instead_of if each.what == "refused" else each.version
            if used in known:
                line.append((each.moment, known[used]))
        return line

    def to_json(self) -> dict[str, Any]:
        """Give all of it as JSON values."""
        return {"decisions": [asdict(each) for each in self.decisions], "corrected": list(self.corrected)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> History:
        """Read what `to_json` gave."""
        return cls(
            decisions=tuple(Decision(**each) for each in values["decisions"]),
            corrected=tuple(values["corrected"]),
        )

    def rows(self, tasks: Collection[Task]) -> list[list[str]]:
        """Return a table of some tasks for people: a head, then one row a decision."""
        head = ["when", "version", "learnt from", "figure", "before", "melanomas found", "decision"]
        return [head, *(_row(each) for each in self.decisions if each.task in tasks)]


def read_history(events: Iterable[Event], corrected: Sequence[datetime] = ()) -> History:
    """Gather the history from the registry's log.

    Parameters
    ----------
    events
        All of the log, oldest first.
    corrected
        When the labels that count were made, in local time; unknown moments (year 1) are left out.
    """
    learnt: dict[tuple[Task, str], int] = {}
    decisions = []
    for event in events:
        if event.kind == "submitted":
            count = event.details.get("entry", {}).get("configuration", {}).get(CORRECTIONS_LEARNT)
            if isinstance(count, int):
                learnt[event.task, event.version] = count
        else:
            decisions.append(_decision(event, learnt.get((event.task, event.version))))
    moments = sorted(moment for moment in corrected if moment.year > 1)
    return History(
        decisions=tuple(decisions),
        corrected=tuple(moment.isoformat(timespec="seconds") for moment in moments),
    )


def _decision(event: Event, corrections: int | None) -> Decision:
    """Read one event; what an older or newer DermCheck wrote otherwise stays unknown."""
    figures = _mapping(event.details.get("figures"))
    compared = _mapping(figures.get(FIGURES[event.task]))
    melanomas = _mapping(figures.get("melanoma_sensitivity"))
    return Decision(
        task=event.task,
        version=event.version,
        at=event.at,
        what=event.kind,
        instead_of=str(event.details.get("instead_of") or ""),
        who=event.who,
        reason=event.reason,
        corrections=corrections,
        candidate=_number(compared.get("candidate")),
        current=_number(compared.get("current")),
        lowest_difference=_number(compared.get("low")),
        melanomas_found=_whole(melanomas.get("candidate_found")),
        melanomas_found_before=_whole(melanomas.get("current_found")),
        melanomas=_whole(melanomas.get("photographs")),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _row(each: Decision) -> list[str]:
    found = ""
    if each.melanomas_found is not None:
        found = f"{each.melanomas_found} of {each.melanomas} (before {each.melanomas_found_before})"
    return [
        f"{each.moment:%Y-%m-%d %H:%M}",
        each.version if each.version.startswith(each.task) else f"{each.task} {each.version}",
        "" if each.corrections is None else f"{each.corrections} corrections",
        "" if each.candidate is None else f"{_NAMES[each.task]} {each.candidate:.3f}",
        "" if each.current is None else f"{each.current:.3f}",
        found,
        each.what,
    ]
