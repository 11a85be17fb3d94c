"""Python and the installed packages."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement

from dermcheck.doctor.finding import Finding

__all__ = ["check_packages", "check_python", "compare_packages", "locked_requirements"]

LOCK: Final = Path(__file__).parents[3] / "requirements.lock"
"""Beside a source checkout; absent where only the wheel is installed."""
_RUN_SECTION: Final = re.compile(r"^# === run: .*?===$(.*?)(?=^# === |\Z)", re.MULTILINE | re.DOTALL)
_MOST_NAMED: Final = 5


def check_python() -> Finding:
    """Whether this Python is one that the locked packages are made for."""
    found = f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}"
    if (3, 10) <= sys.version_info[:2] <= (3, 12) and platform.python_implementation() == "CPython":
        return Finding("Python", found)
    return Finding("Python", f"{found}, expected CPython 3.10 to 3.12", "Set up again with one of these.")


def check_packages() -> Finding:
    """Compare what is installed with the lock file, or without one with the package's own requirements."""
    if LOCK.is_file():
        return compare_packages(locked_requirements(LOCK.read_text(encoding="utf-8")), "locked")
    own = (Requirement(text) for text in metadata.requires("dermcheck") or [])
    return compare_packages([each for each in own if _applies(each)], "required")


def locked_requirements(lock: str) -> list[Requirement]:
    """Read the lock's section ``run``, as far as its markers concern this machine."""
    section = _RUN_SECTION.search(lock)
    lines = section.group(1).splitlines() if section else []
    requirements = []
    for line in lines:
        if line and line[0].isalnum():
            try:
                requirements.append(Requirement(line.rstrip("\\ ")))
            except InvalidRequirement:
                continue  # a cut-off line; the finding then counts fewer packages than there are
    return [each for each in requirements if _applies(each)]


def compare_packages(requirements: Iterable[Requirement], how: str) -> Finding:
    """Name the packages that are missing or of another version.

    Parameters
    ----------
    requirements
        Those that apply to this machine.
    how
        What the requirements are, as the answer calls them: "locked" or "required".
    """
    problems, count = [], 0
    for requirement in requirements:
        count += 1
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            problems.append(f"{requirement.name} is missing")
            continue
        # A CPU-only torch is 2.13.0+cpu: `==2.13.0` allows a local part.
        if not requirement.specifier.contains(found, prereleases=True):
            problems.append(f"{requirement.name} is {found}, {how} {requirement.specifier}")
    if not problems and count:
        return Finding("Packages", f"{count} as {how}")
    if not count:
        return Finding("Packages", f"{LOCK.name} names none", "Get this file anew; it is damaged.")
    more = f" and {len(problems) - _MOST_NAMED} more" if len(problems) > _MOST_NAMED else ""
    return Finding(
        "Packages", "; ".join(problems[:_MOST_NAMED]) + more, "Remove .venv and run python3 scripts/start.py."
    )


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})
