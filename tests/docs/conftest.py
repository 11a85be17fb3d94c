import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from dermcheck.dicom import read_photograph

ROOT = Path(__file__).parents[2]
_COMMENT = re.compile(r"<!-- (?P<word>not run|file): (?P<text>.+) -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    language: str
    text: str
    line: int
    """Of its fence, from 1."""
    reason: str | None = None
    """Why it is shown only (`<!-- not run: reason -->` above it)."""
    file: str | None = None
    """As which file a reader has it before him (`<!-- file: NAME -->` above it)."""


@pytest.fixture(scope="session")
def blocks() -> Callable[[Path], list[Block]]:
    """Find the fenced blocks of a document, in a list item too, with what the comment above says of them."""

    def find(document: Path) -> list[Block]:
        found: list[Block] = []
        lines = document.read_text().splitlines()
        opened = None
        for number, line in enumerate(lines, start=1):
            if not line.strip().startswith("```"):
                continue
            if opened is None:
                opened = number
                continue
            comment = _COMMENT.match(lines[opened - 2].strip())
            said = {comment["word"]: comment["text"]} if comment else {}
            indent = len(lines[opened - 1]) - len(lines[opened - 1].lstrip())
            text = "\n".join(content[indent:] for content in lines[opened : number - 1])
            language = lines[opened - 1].strip().removeprefix("```")
            found.append(Block(language, text, opened, said.get("not run"), said.get("file")))
            opened = None
        assert opened is None, f"{document.name}, line {opened}: this block has no end"
        return found

    return find


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    sample = ROOT / "sample_studies/synthetic-4/visit-1/13-melanoma-dark-skin.dcm"
    return Image.fromarray(read_photograph(sample).pixels)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Image.Image) -> Path:
    """A folder as a reader has it: the sample studies, two photos, and a cache of his own."""
    (tmp_path / "sample_studies").symlink_to(ROOT / "sample_studies")
    (tmp_path / "photos").mkdir()
    photo.save(tmp_path / "photos/IMG_0001.JPG")
    photo.rotate(90, expand=True).save(tmp_path / "photos/IMG_0002.JPG")
    monkeypatch.setenv("DERMCHECK_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path
