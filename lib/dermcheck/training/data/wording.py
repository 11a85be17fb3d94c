"""Sentences about many photographs at once."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["counted", "listed"]


def listed(names: Sequence[str], most: int = 5) -> str:
    """Write the first names of a list.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def counted(what: str, names: Sequence[str]) -> str:
    """Say what is odd, of how many, and of which.

    >>> counted("Photographs without a mask", ["a", "b"])
    'Photographs without a mask (2): a, b.'
    """
    return f"{what} ({len(names)}): {listed(names)}."
