"""What the documents say is true: their code runs, their links lead somewhere, their names exist."""

import contextlib
import io
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from dermcheck.cli import build_parser, main
from dermcheck.dicom import MAX_FILE_BYTES, MAX_PIXELS, PHOTOGRAPH_SOP_CLASSES
from dermcheck.lesions import CODING_SCHEME, LESION_CLASSES

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS = [ROOT / "README.md", *PAGES]
LONGEST_LINE = 120
COMMANDS = sorted(build_parser()._subparsers._group_actions[0].choices)

of_each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def command_lines(block):
    """Split a block into its commands, each a list of words."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def run_here(arguments):
    """Run one of our commands in this process, which has everything imported; give status and output."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = main(arguments)
    return status, output.getvalue()


def run_program(words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def without_code(text):
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL))


def anchor(heading):
    """The anchor of a heading as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@of_each_document
def test_code_in_the_document_runs(document, blocks, workplace):
    names: dict[str, object] = {"__name__": "document"}
    for block in blocks(document):
        if block.file:
            Path(block.file).write_text(block.text + "\n")
        elif block.language == "python" and not block.reason:
            with contextlib.redirect_stdout(None):
                exec(compile(f"{chr(10) * block.line}{block.text}", str(document), "exec"), names)
        elif block.language == "bash" and not block.reason:
            for words in command_lines(block):
                status, output = run_here(words[1:]) if words[0] == "dermcheck" else run_program(words)
                assert status == 0, f"{shlex.join(words)}\n{output}"


@of_each_document
def test_commands_that_are_shown_only_have_right_arguments(document, blocks):
    for block in blocks(document):
        for words in command_lines(block) if block.language == "bash" else []:
            if words[0] == "dermcheck":
                build_parser().parse_args(words[1:])
            elif words[0].startswith("python3") and words[1] != "-m":
                assert (ROOT / words[1]).is_file(), f"{document.name}: {words[1]}"


@of_each_document
def test_every_command_that_is_named_exists(document):
    named = set(re.findall(r"`dermcheck ([a-z]+)", document.read_text()))
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command):
    text = (ROOT / "docs/administrator.md").read_text()
    assert re.search(rf"dermcheck {command}\b", text)


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_links_lead_to_files_and_headings_that_exist(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        path, _, wanted = target.partition("#")
        if "://" in target:
            continue
        page = (document.parent / path) if path else document
        assert page.exists(), f"{document.name} links to {target}"
        if wanted:
            headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
            assert wanted in map(anchor, headings), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_lines_are_short(document):
    """Tables cannot be wrapped; everything else can."""
    long = [
        number
        for number, line in enumerate(document.read_text().splitlines(), start=1)
        if len(line) > LONGEST_LINE and not line.startswith("|")
    ]
    assert not long


def test_the_environment_variables_documented_are_those_of_the_code():
    code = "".join(path.read_text() for path in (ROOT / "lib/dermcheck").rglob("*.py"))
    documents = "".join(path.read_text() for path in DOCUMENTS)
    pattern = r"\bDERMCHECK_[A-Z_]+\b"
    assert set(re.findall(pattern, documents)) == set(re.findall(pattern, code))


@pytest.fixture(scope="module")
def conformance():
    return (ROOT / "docs/dicom-conformance.md").read_text()


def test_the_conformance_statement_lists_every_sop_class_that_is_read(conformance):
    for uid, name in PHOTOGRAPH_SOP_CLASSES.items():
        assert f"| {name} | {uid} |" in conformance


def test_the_conformance_statement_lists_every_class_with_its_code(conformance):
    assert f"`{CODING_SCHEME}`" in conformance
    for lesion in LESION_CLASSES:
        assert f"| `{lesion.name}` | {lesion.meaning} |" in conformance


def test_the_limits_documented_are_those_of_the_code(conformance):
    assert f"1 to {MAX_PIXELS:,} pixels" in conformance
    assert f"{MAX_FILE_BYTES // 2**30} GiB a file" in conformance
    readme = (ROOT / "README.md").read_text()
    assert f"{MAX_PIXELS // 10**6} megapixels, and {MAX_FILE_BYTES // 2**30} GiB a file" in readme


def test_the_clinicians_page_names_every_class_as_viewers_do():
    page = (ROOT / "docs/clinician.md").read_text()
    for lesion in LESION_CLASSES:
        assert f"| `{lesion.name}` | {lesion.meaning} |" in page


def test_the_readme_says_first_that_it_is_no_medical_device():
    start = without_code((ROOT / "README.md").read_text())[:800]
    assert "Research use only" in start
    assert "not a medical device" in start


def test_the_readmes_picture_is_small():
    assert (ROOT / "docs/images/prediction.png").stat().st_size < 300_000
