"""Who made a mask or a finding: an algorithm or a clinician."""

import re
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, TypeAlias

from dermcheck.errors import ArgumentError

__all__ = ["SOFTWARE_VERSION", "Algorithm", "Author", "Clinician"]

SOFTWARE_VERSION: Final = version("dermcheck")
"""DermCheck's own version, in every object written."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A model, identified well enough to find its weights again (PS3.3 10.16).

    Raises
    ------
    ArgumentError
        If a field is empty, holds a backslash or control character, or is longer than the 64
        characters that DICOM gives it.
    """

    name: str
    version: str
    model_hash: str
    """SHA-256 of the weights in hexadecimal, as on the model card."""

    def __post_init__(self) -> None:
        """Check the fields."""
        for field in ("name", "version", "model_hash"):
            _check_text(f"the algorithm's {field}", getattr(self, field))


@dataclass(frozen=True, slots=True)
class Clinician:
    """A person who drew or corrected a mask.

    Raises
    ------
    ArgumentError
        If the name is empty, holds a backslash or control character, or is longer than 63 characters.
    """

    name: str
    """A DICOM person name (``Family^Given``), or simply as typed."""

    def __post_init__(self) -> None:
        """Check the name."""
        _check_text("the clinician's name", self.name, longest=63)

    @property
    def person_name(self) -> str:
        """The name as DICOM writes it: one without carets is closed by one (PS3.5 section 6.2, PN)."""
        return self.name if "^" in self.name else f"{self.name}^"


Author: TypeAlias = Algorithm | Clinician


def _check_text(what: str, text: str, longest: int = 64) -> None:
    if not text.strip() or len(text) > longest or re.search(r"[\\\x00-\x1f\x7f]", text):
        raise ArgumentError(
            f"{what} is {len(text)} characters long or holds a character that DICOM does not allow; "
            f"expected 1 to {longest} characters without backslash, line break or tab."
        )
