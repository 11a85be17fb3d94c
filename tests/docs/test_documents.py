"""What the documents say is true: their code runs, their links lead somewhere."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
NOT_RUN = "<!-- not run:"
"""A block after this comment is shown only; the comment gives the reason."""


def blocks(document: Path, language: str) -> list[str]:
    """Fenced blocks of one language, without those marked as shown only."""
    found = []
    for match in re.finditer(rf"^```{language}\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL):
        if NOT_RUN not in document.read_text()[: match.start()].rstrip().splitlines()[-1]:
            found.append(match.group(1))
    return found


def with_blocks(language: str) -> list[Path]:
    return [document for document in DOCUMENTS if blocks(document, language)]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder as a reader has it: `sample_studies/` is there, the cache is his own."""
    (tmp_path / "sample_studies").symlink_to(ROOT / "sample_studies")
    monkeypatch.setenv("DERMCHECK_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("document", with_blocks("python"), ids=lambda path: path.name)
def test_python_in_the_document_runs(document, workplace):
    names: dict[str, object] = {"__name__": "document"}
    for block in blocks(document, "python"):
        exec(compile(block, str(document), "exec"), names)


@pytest.mark.parametrize("document", with_blocks("bash"), ids=lambda path: path.name)
def test_commands_in_the_document_run(document, workplace):
    programs = {"dermcheck": [sys.executable, "-m", "dermcheck"]}
    for line in "\n".join(blocks(document, "bash")).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            command = [*programs.get(words[0], [words[0]]), *words[1:]]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_that_exist(document):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"
