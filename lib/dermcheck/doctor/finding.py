"""One line of the doctor's answer."""

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was found, and what to do if it is not well."""

    name: str
    """What was looked at, in a word or two."""
    found: str
    """The value found; for a problem also the value expected."""
    advice: str | None = None
    """What to do; None where all is well."""

    @property
    def ok(self) -> bool:
        """Whether there is nothing to do."""
        return self.advice is None
