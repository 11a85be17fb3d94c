"""The clinic's own mix of diagnoses, for which its probabilities are meant.

A model's card says for which patients its probabilities hold: the `natural_prior`, for the reference models
the shares of HAM10000, a collection of specialist referrals where one lesion in nine is a melanoma. Where
patients are others, say those of a screening with one melanoma in a hundred lesions, the same evidence means
a smaller probability. The environment variable `DERMCHECK_PRIOR` then holds the clinic's shares, e.g.
``akiec=2%,bcc=4%,bkl=12%,df=1%,mel=1%,nv=79%,vasc=1%``. They are exchanged for the card's
(Saerens et al. 2002). What changes are the probabilities shown and their entropy; the decision and the rules
of the card (`inference.rules`) stay, as they do not depend on how frequent the classes are.
"""

from __future__ import annotations

import math
import os
from typing import Final

from dermcheck.errors import ArgumentError
from dermcheck.lesions import CLASSES

__all__ = ["PRIOR_VARIABLE", "clinic_prior", "parse_prior"]

PRIOR_VARIABLE: Final = "DERMCHECK_PRIOR"
_TOLERANCE: Final = 0.02
"""Shares rounded to whole per cent may miss 100 % by this much; they are scaled to sum to 1."""


def clinic_prior() -> tuple[float, ...] | None:
    """Return the shares that the environment names, in the order of `CLASSES`; None if it names none.

    Raises
    ------
    ArgumentError
        If they are not seven shares that sum to 1.
    """
    text = os.environ.get(PRIOR_VARIABLE, "").strip()
    return parse_prior(text) if text else None


def parse_prior(text: str) -> tuple[float, ...]:
    """Read shares such as ``mel=0.02`` or ``mel=2%``, one for each class, separated by commas.

    Raises
    ------
    ArgumentError
        As of `clinic_prior`.

    >>> parse_prior("akiec=3%,bcc=5%,bkl=11%,df=1%,mel=11%,nv=67%,vasc=2%")[4]
    0.11
    """
    shares: dict[str, float] = {}
    for entry in text.split(","):
        name, _, value = (part.strip() for part in entry.partition("="))
        if name.casefold() not in CLASSES or name.casefold() in shares:
            raise ArgumentError(
                f"{PRIOR_VARIABLE}: {entry.strip()!r} is not the share of one of {', '.join(CLASSES)}, each "
                "named once. Write for example mel=2%."
            )
        shares[name.casefold()] = _share(name, value)
    if missing := [name for name in CLASSES if name not in shares]:
        raise ArgumentError(
            f"{PRIOR_VARIABLE}: the share of {', '.join(missing)} is missing. Give all seven."
        )
    total = math.fsum(shares.values())
    if abs(total - 1) > _TOLERANCE:
        raise ArgumentError(f"{PRIOR_VARIABLE}: the seven shares sum to {total:.3f}, expected 1 (or 100 %).")
    return tuple(shares[name] / total for name in CLASSES)


def _share(name: str, value: str) -> float:
    try:
        share = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 < share < 1:  # a share of 0 would exclude a diagnosis whatever the picture shows
        raise ArgumentError(
            f"{PRIOR_VARIABLE}: the share of {name} is {value!r}, expected a number between 0 and 1, or a "
            "percentage."
        )
    return share
