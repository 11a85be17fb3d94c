"""``requirements.lock``: one file, sections by purpose, every entry with its hashes.

A section begins with a line ``# === name: explanation ===``. An entry is pip's own syntax: the
requirement, its hashes, then comments.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SECTIONS", "name_of", "pinned_version", "read_sections", "split_entries"]

SECTIONS = {
    "run": "the server, the commands and training",
    "cuda": "only with torch's CUDA build (Linux)",
    "test": "only for the tests and checks",
    "reference": "only to train the reference models from scratch",
}
_HEADING = re.compile(r"^# === (\w+): .* ===$", re.MULTILINE)
_ENTRY = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)


def split_entries(text: str) -> list[str]:
    """Cut a requirements text into entries, each from its name to its last comment."""
    starts = [match.start() for match in _ENTRY.finditer(text)]
    ends = [*starts[1:], len(text)]
    return [text[start:end].rstrip() + "\n" for start, end in zip(starts, ends, strict=True)]


def name_of(entry: str) -> str:
    """Return the package's name, normalised as in the lock file."""
    match = _ENTRY.match(entry)
    if match is None:
        raise ValueError("not an entry: " + entry[:40])
    return match.group(1)


def pinned_version(entry: str) -> str:
    """Return the one version that the entry allows, without a local part such as ``+cpu``."""
    match = _ENTRY.match(entry)
    if match is None:
        raise ValueError("not an entry: " + entry[:40])
    return match.group(2)


def read_sections(path: Path) -> dict[str, list[str]]:
    """Section name to entries, in the file's order."""
    parts = _HEADING.split(path.read_text(encoding="utf-8"))
    return {name: split_entries(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}
