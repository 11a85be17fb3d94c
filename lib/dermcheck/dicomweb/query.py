"""The parameters of a search (QIDO-RS, PS3.18 sections 8.3.4 and 10.6)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from pydicom.datadict import keyword_for_tag, tag_for_keyword

from dermcheck.dicomweb.json_model import hexadecimal, to_json
from dermcheck.dicomweb.levels import ALWAYS, KNOWN, Level, Row, Rows
from dermcheck.dicomweb.matching import Matcher, make_matcher
from dermcheck.errors import ArgumentError

__all__ = ["MOST_RESULTS", "Query", "parse_query", "search"]

MOST_RESULTS: Final = 5000
"""Rows of one answer; whoever wants more asks again with an offset."""

_NOT_KEYS: Final = frozenset({"limit", "offset", "includefield", "fuzzymatching", "accept", "charset"})
_SAME: Final = {(Level.STUDY, "Modality"): "ModalitiesInStudy"}
"""Keys that viewers use at another level than the standard's."""


@dataclass(frozen=True, slots=True)
class Query:
    """One search."""

    level: Level
    keys: Mapping[str, Matcher]
    """Keyword -> test of its value."""
    include: frozenset[str]
    """Keywords to be returned besides `ALWAYS`."""
    limit: int
    offset: int
    fuzzy: bool
    """Whether fuzzy matching was asked for; it is not done, which the answer's header says."""
    studies: tuple[str, ...] | None = None
    """StudyInstanceUIDs asked for by a key, which saves looking at all others."""


def parse_query(level: Level, parameters: Iterable[tuple[str, str]]) -> Query:
    """Read the parameters of a search.

    Raises
    ------
    ArgumentError
        If a name is no attribute, an attribute cannot be searched for, or a value is malformed.
    """
    searchable = {keyword for upper in Level if upper <= level for keyword in KNOWN[upper]}
    keys: dict[str, Matcher] = {}
    include: set[str] = set()
    values = {"limit": str(MOST_RESULTS), "offset": "0", "fuzzymatching": "false"}
    studies: tuple[str, ...] | None = None
    for name, value in parameters:
        if name == "includefield":
            include |= _included(value, searchable)
        elif name in _NOT_KEYS:
            values[name] = value
        else:
            keyword = _searched(name, level, searchable)
            keys[keyword] = make_matcher(keyword, value)
            if keyword == "StudyInstanceUID" and value.strip():
                studies = tuple(dict.fromkeys(value.replace("\\", ",").replace(" ", "").split(",")))
    fuzzy = _boolean("fuzzymatching", values["fuzzymatching"])
    limit, offset = (_number(name, values[name]) for name in ("limit", "offset"))
    return Query(level, keys, frozenset(include), min(limit, MOST_RESULTS), offset, fuzzy, studies)


def _keyword(name: str) -> str:
    """Return the keyword of a keyword or a tag in hexadecimal; empty if it is neither."""
    if tag_for_keyword(name) is not None:
        return name
    try:
        return keyword_for_tag(int(name, 16)) if len(name) == 8 else ""
    except ValueError:
        return ""


def _searched(name: str, level: Level, searchable: set[str]) -> str:
    keyword = _keyword(name)
    keyword = _SAME.get((level, keyword), keyword)
    if keyword in searchable:
        return keyword
    what = f"attribute {keyword}" if keyword else f"parameter {name[:64]!r}"
    raise ArgumentError(
        f"{what}: {level.name.lower()} level cannot be searched by it, expected one of "
        f"{', '.join(sorted(searchable))}."
    )


def _included(value: str, searchable: set[str]) -> set[str]:
    """Return what is known of the attributes listed; others may be asked for and are not returned."""
    if value.strip().casefold() == "all":
        return set(searchable)
    keywords = {_keyword(name.strip()) for name in value.split(",") if name.strip()}
    if "" in keywords and not all(
        _is_path(name.strip()) for name in value.split(",") if not _keyword(name.strip())
    ):
        raise ArgumentError(f"includefield is {value[:64]!r}, expected keywords or tags, or all.")
    return keywords & searchable


def _is_path(name: str) -> bool:
    """Tell whether a name is a private tag, or a path into a sequence: legal, but not indexed here."""
    parts = name.split(".")
    return all(_keyword(part) or (len(part) == 8 and _is_hexadecimal(part)) for part in parts)


def _is_hexadecimal(text: str) -> bool:
    try:
        int(text, 16)
    except ValueError:
        return False
    return True


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ArgumentError(f"{name} is {text[:40]!r}, expected a whole number from 0.")
    return int(text)


def _boolean(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise ArgumentError(f"{name} is {text[:40]!r}, expected true or false.")
    return text == "true"


def search(
    rows: Rows, query: Query, study: str | None = None, series: str | None = None
) -> tuple[list[dict[str, Any]], bool]:
    """Search.

    Parameters
    ----------
    study, series
        The UIDs in the address of the request; they must exist.

    Returns
    -------
    list
        A DICOM JSON object for each match, without its URL.
    bool
        Whether there are more than the limit allowed.
    """
    studies = query.studies if study is None else (study,)
    matching = _matching(rows.of(query.level, studies, series), query)
    page = list(islice(matching, query.offset, query.offset + query.limit))
    more = next(matching, None) is not None if query.limit else False
    # A row of a search across studies says whose it is; one below a study does not repeat it.
    lowest = Level.STUDY if study is None else Level.SERIES if series is None else Level.INSTANCE
    returned = {keyword for level in Level if lowest <= level <= query.level for keyword in ALWAYS[level]}
    returned |= query.include | query.keys.keys() | _identity(query.level)
    return [_result(row, returned) for row in page], more


def _identity(level: Level) -> set[str]:
    uids = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    return set(uids[: level + 1])


def _matching(rows: Iterator[Row], query: Query) -> Iterator[Row]:
    for row in rows:
        if all(fits(row[keyword]) for keyword, fits in query.keys.items()):
            yield row


def _result(row: Row, returned: Iterable[str]) -> dict[str, Any]:
    found = to_json({keyword: row[keyword] for keyword in returned if keyword in row})
    found[hexadecimal("InstanceAvailability")] = {"vr": "CS", "Value": ["ONLINE"]}
    return found
