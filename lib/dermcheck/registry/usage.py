"""Which version is in use, and which were before it: what follows from the log alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dermcheck.networks.cards import Task
from dermcheck.registry.events import Event
from dermcheck.registry.versions import REFERENCE

__all__ = ["line_of_use"]


def line_of_use(events: Iterable[Event], task: Task) -> Sequence[str]:
    """Return the names of the versions in use, the present one first, the reference last.

    A promotion puts a version on top; rolling back takes off what lies above the version that is gone
    back to. So rolling back twice goes back two promotions, whatever was refused in between.

    >>> def event(kind, version):
    ...     return Event(at="", kind=kind, task="segmentation", version=version, who="", reason="")
    >>> line_of_use([event("promoted", "a"), event("promoted", "b")], "segmentation")
    ('b', 'a', 'reference')
    >>> line_of_use([event("promoted", "a"), event("rolled back", "reference")], "segmentation")
    ('reference',)
    """
    line = [REFERENCE]
    for event in events:
        if event.task != task:
            continue
        if event.kind == "promoted":
            line.append(event.version)
        elif event.kind == "rolled back":
            while len(line) > 1 and line[-1] != event.version:
                line.pop()
            if line[-1] != event.version:  # what promoted it is unreadable; this event says what counts
                line.append(event.version)
    return tuple(reversed(line))
