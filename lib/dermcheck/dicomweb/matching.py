"""Whether a value fits a key of a search (PS3.4 section C.2.2.2, PS3.18 section 8.3.4)."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from pydicom.datadict import dictionary_VR

from dermcheck.errors import ArgumentError

__all__ = ["Matcher", "make_matcher"]

Matcher = Callable[[str], bool]
"""Takes the text of an attribute's value."""

_RANGES: Final = frozenset({"DA", "TM", "DT"})
_NO_WILDCARDS: Final = frozenset({"DA", "TM", "DT", "UI", "IS", "DS", "US", "UL", "FL", "FD", "SS", "SL"})
_SHAPES: Final = {
    "DA": re.compile(r"\d{8}"),
    "TM": re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?"),
    "DT": re.compile(r"\d{4}(\d{2}){0,5}(\.\d{1,6})?([+-]\d{4})?"),
}
_EXAMPLES: Final = {"DA": "20240131 or 20240101-20240131", "TM": "1030 or 1000-1200", "DT": "202401311030"}


def make_matcher(keyword: str, wanted: str) -> Matcher:
    r"""Make the test that a value must pass.

    - An empty key, and ``*`` alone, match everything (universal matching).
    - Dates and times: a single value or a range, open at either end (``20240101-``).
    - UIDs and codes: one of a list, with backslashes or commas between.
    - Texts: ``*`` stands for any letters, ``?`` for one. Names of people match in upper and lower case
      alike, other texts exactly. Of several values one must fit.

    Raises
    ------
    ArgumentError
        If a date or time is none.

    >>> make_matcher("StudyDate", "20240101-20240131")("20240115")
    True
    >>> make_matcher("PatientName", "doe*")("DOE^JANE"), make_matcher("PatientID", "A?")("A12")
    (True, False)
    """
    vr = dictionary_VR(keyword)
    if wanted.strip() == "" or (wanted == "*" and vr not in _NO_WILDCARDS):
        return lambda _value: True
    if vr in _RANGES:
        return _range(keyword, vr, wanted)
    if vr == "UI":
        uids = {part.strip() for part in re.split(r"[\\,]", wanted)}
        return lambda value: not uids.isdisjoint(value.split("\\"))
    if vr in _NO_WILDCARDS:
        return lambda value: value.strip() == wanted.strip()
    if vr == "CS" and re.search(r"[\\,]", wanted):  # neither can be part of a code
        choices = [_pattern(part, False) for part in re.split(r"[\\,]", wanted)]
        return lambda value: any(
            choice.fullmatch(part.strip()) for choice in choices for part in value.split("\\")
        )
    pattern = _pattern(wanted, vr == "PN")
    if vr == "PN":
        return lambda value: any(pattern.fullmatch(group) for group in (value, *value.split("=")))
    return lambda value: any(pattern.fullmatch(part.strip()) for part in value.split("\\"))


@lru_cache(256)
def _pattern(wanted: str, ignore_case: bool) -> re.Pattern[str]:
    # Wildcards beside each other mean the same as one; unmerged, they take exponential time.
    merged = re.sub(r"\*+", "*", wanted.strip())
    escaped = re.escape(merged).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(escaped, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def _range(keyword: str, vr: str, wanted: str) -> Matcher:
    text = wanted.strip()
    low, dash, high = text.partition("-") if "-" in text else (text, "", text)
    for end in (low, high):
        if (end or not dash) and not _SHAPES[vr].fullmatch(end):
            raise ArgumentError(f"{keyword} is {wanted[:40]!r}, expected e.g. {_EXAMPLES[vr]}.")
    if not (low or high):
        raise ArgumentError(f"{keyword} is a range without ends, expected e.g. {_EXAMPLES[vr]}.")
    # As many digits as the key has: 1030 means the whole minute, and values may hold seconds.
    return lambda value: (
        value != "" and (not low or value[: len(low)] >= low) and (not high or value[: len(high)] <= high)
    )
