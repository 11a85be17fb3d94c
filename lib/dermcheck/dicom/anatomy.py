"""Words for places on the skin, as codes of PS3.16 CID 4029 (Dermatology Anatomic Sites)."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType
from typing import Final

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dermcheck.errors import ArgumentError
from dermcheck.lesions import CODING_SCHEME

__all__ = ["find_site"]

_NAMED_IN_CID_4029: Final[Mapping[str, str]] = MappingProxyType(
    {
        "arm": "Skin of upper extremity",
        "anterior torso": "Skin of anterior trunk",
        "armpit": "Skin of axilla",
        "calf": "Skin of posterior surface of lower leg",
        "buttocks": "Skin of buttock",
        "elbow": "Skin of posterior surface of elbow",
        "finger": "Skin of digit of hand",
        "genital": "Skin of external genitalia",
        "genitals": "Skin of external genitalia",
        "groin": "Skin of inguinal region",
        "knee": "Skin of anterior surface of knee",
        "leg": "Skin of lower extremity",
        "lower limb": "Skin of lower extremity",
        "navel": "Skin of umbilicus",
        "palm": "Skin of palm of hand",
        "posterior torso": "Skin of back of trunk",
        "shin": "Skin of anterior surface of lower leg",
        "upper limb": "Skin of upper extremity",
    }
)
"""Words of clinics and public data sets that are not simply "Skin of …" in CID 4029."""

_OTHER: Final[Mapping[str, Code]] = MappingProxyType(
    {
        # SNOMED CT concepts that CID 4029, an extensible group, leaves out.
        "chest": Code("74160004", "SCT", "Skin of chest"),
        "trunk": Code("86381001", "SCT", "Skin of trunk"),
        "torso": Code("86381001", "SCT", "Skin of trunk"),
        "lateral torso": Code("86381001", "SCT", "Skin of trunk"),
        # Whole parts of the body, of which the group has only the skin of one surface.
        "forearm": codes.SCT.Forearm,
        "upper arm": codes.SCT.UpperArm,
        "shoulder": codes.SCT.Shoulder,
        "thigh": codes.SCT.Thigh,
        "lower leg": codes.SCT.LowerLeg,
        "hip": codes.SCT.Hip,
        "flank": codes.SCT.Flank,
        "breast": codes.SCT.Breast,
        # HAM10000's word has no single concept.
        "acral": Code("acral", CODING_SCHEME, "Acral skin (palms and soles)"),
        "palms/soles": Code("acral", CODING_SCHEME, "Acral skin (palms and soles)"),
    }
)

_NOTHING: Final = frozenset({"", "unknown", "unspecified", "n/a", "na", "none", "-"})
_SIDES: Final = MappingProxyType({"left": "L", "right": "R"})
_MOST_USED: Final = (
    "back, trunk, abdomen, chest, face, scalp, neck, ear, upper extremity, hand, lower extremity, foot"
)


def find_site(words: str) -> tuple[Code | None, str | None]:
    """Find the code for a place on the skin.

    Parameters
    ----------
    words
        A word of HAM10000 or the ISIC archive (``lower extremity``, ``anterior torso``), a code
        meaning of CID 4029 (``Skin of nose``), its part behind "Skin of" (``nose``), or the code
        itself (``113179006``). A side may come first: ``left cheek``. Case, hyphens and underscores
        don't matter. Words like ``unknown`` are no place.

    Returns
    -------
    Code or None
        The site, or None for no place.
    str or None
        ``L`` or ``R`` where the words begin with a side.

    Raises
    ------
    ArgumentError
        If no site is called so; the message suggests similar ones.

    >>> site, side = find_site("left lower_extremity")
    >>> site.meaning, side
    ('Skin of lower extremity', 'L')
    """
    wanted = _normalise(words)
    if wanted in _NOTHING:
        return None, None
    known = _known_sites()
    first, _, rest = wanted.partition(" ")
    if wanted not in known and first in _SIDES and rest in known:
        return known[rest], _SIDES[first]
    if wanted in known:
        return known[wanted], None
    names = sorted((name for name in known if not name.startswith("skin of")), key=len)
    similar = [name for name in names if wanted in name][:4] or get_close_matches(wanted, names, n=3)
    raise ArgumentError(
        f"the body site {words!r} is not known. "
        + (f"Did you mean {' or '.join(similar)}?" if similar else f"Expected e.g. {_MOST_USED}.")
    )


def _normalise(words: str) -> str:
    return re.sub(r"[\s_-]+", " ", words).strip().casefold() if words.strip() != "-" else "-"


@cache
def _known_sites() -> dict[str, Code]:
    known: dict[str, Code] = {}
    for code in codes.cid4029.concepts.values():
        meaning = _normalise(code.meaning)
        known[meaning] = known[code.value] = code
        known.setdefault(meaning.removeprefix("skin of ").removeprefix("the "), code)
    known |= {word: known[_normalise(meaning)] for word, meaning in _NAMED_IN_CID_4029.items()}
    return {**known, **_OTHER}
