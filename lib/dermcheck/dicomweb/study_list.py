"""The studies of an archive that have photographs, a page at a time.

No search of QIDO-RS asks for one of several modalities in a way that every archive understands. So each
modality is searched for by itself, with what every archive keeps an index of, and a study that has
several is listed with the first of them.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

from dermcheck.dicomweb.json_model import hexadecimal
from dermcheck.errors import ArgumentError

__all__ = ["list_studies"]

Search: TypeAlias = Callable[[Sequence[tuple[str, str]]], list[dict[str, Any]]]
"""Asks the archive for studies by keys and their values."""

_MODALITIES: Final = hexadecimal("ModalitiesInStudy")
_STUDY: Final = hexadecimal("StudyInstanceUID")
_NAMES: Final = frozenset({"ModalitiesInStudy", _MODALITIES, "Modality", hexadecimal("Modality")})
"""What clients call the modality when they search for studies."""
_PAGE: Final = 200
_DEFAULT_LIMIT: Final = 100
_MOST: Final = 1000


def list_studies(
    search: Search, parameters: Sequence[tuple[str, str]], modalities: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a page of the studies that have photographs, in an order that does not change with the page.

    Parameters
    ----------
    parameters
        Those of the viewer's search. Modalities that it asks for are searched for if they are among
        `modalities`; `limit` and `offset` count studies with photographs.
    modalities
        Of photographs.

    Raises
    ------
    ArgumentError
        If `limit` or `offset` is no number.
    StorageError
        If the archive does not answer.
    """
    keys = [(name, value) for name, value in parameters if name not in (*_NAMES, "limit", "offset")]
    given = dict(parameters)
    limit = _number("limit", given.get("limit", str(_DEFAULT_LIMIT)))
    offset = _number("offset", given.get("offset", "0"))
    wanted = _wanted(parameters, modalities)
    found = _studies(search, keys, wanted)
    return list(islice(found, offset, offset + min(limit, _MOST)))


def _wanted(parameters: Sequence[tuple[str, str]], modalities: Sequence[str]) -> list[str]:
    asked = {
        part.strip().upper()
        for name, value in parameters
        if name in _NAMES
        for part in value.replace("\\", ",").split(",")
        if part.strip()
    }
    return [modality for modality in modalities if not asked or modality in asked]


def _studies(search: Search, keys: list[tuple[str, str]], modalities: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the studies of one modality after the other, asking for a page when it is needed."""
    listed: set[str] = set()
    for modality in modalities:
        for row in _pages(search, [*keys, ("ModalitiesInStudy", modality)]):
            uid = _value(row, _STUDY)[0]
            # An archive may ignore the key, or leave the attribute out of its answer.
            if uid not in listed and modality in (_value(row, _MODALITIES) or [modality]):
                listed.add(uid)
                yield row


def _pages(search: Search, keys: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    offset, seen = 0, set[str]()
    while True:
        rows = search([*keys, ("limit", str(_PAGE)), *([("offset", str(offset))] if offset else [])])
        fresh = [row for row in rows if (uid := _value(row, _STUDY)) and uid[0] not in seen]
        if not fresh:
            return  # the end; or an archive that ignores the offset sends the same page for ever
        seen.update(_value(row, _STUDY)[0] for row in fresh)
        yield from fresh
        offset += len(rows)


def _value(row: dict[str, Any], tag: str) -> list[Any]:
    element = row.get(tag)
    value = element.get("Value") if isinstance(element, dict) else None
    return value if isinstance(value, list) else []


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ArgumentError(f"{name} is {text[:40]!r}, expected a whole number from 0.")
    return int(text)
