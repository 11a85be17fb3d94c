import errno
import importlib
import sys
from pathlib import Path

import pytest

SCRIPTS = str(Path(__file__).parents[2] / "scripts")


@pytest.fixture
def environment(monkeypatch):
    """Import a module of scripts/environment."""
    monkeypatch.syspath_prepend(SCRIPTS)
    return lambda name: importlib.import_module(f"environment.{name}")


def test_too_little_space_is_told_with_both_figures(environment, tmp_path):
    problems = environment("problems")
    with pytest.raises(
        problems.SetUpError, match=r"Set-up needs about 1000000 GB and .* GB free: free some space"
    ):
        environment("checks").check_space(tmp_path, 10**15, "Set-up")


def test_enough_space_is_not_mentioned(environment, tmp_path):
    environment("checks").check_space(tmp_path, 1, "Set-up")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_disk_that_fills_up_meanwhile_is_told(environment):
    with pytest.raises(OSError, match="No space left") as full:
        Path("/dev/full").write_text("x")
    assert environment("virtual").explain_os_error(full.value).startswith("The disk is full")


def test_a_folder_of_somebody_else_is_told(environment):
    refused = PermissionError(errno.EACCES, "Permission denied")
    assert "cannot be written: copy DermCheck into a folder of your own" in environment(
        "virtual"
    ).explain_os_error(refused)


NO_FILE = "ERROR: No matching distribution found for torch==2.13.0"


@pytest.mark.parametrize(
    ("output", "beginning"),
    [
        ("ERROR: OSError: [Errno 28] No space left on device", "The disk is full"),
        (
            f"Failed to establish a new connection: [Errno -2] ...\n{NO_FILE}",
            "The package index cannot be reached",
        ),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM", "A downloaded package is not the one"),
        (NO_FILE, "The package index has no file"),
        ("ERROR: Failed building wheel for numpymaxflow", "A package must be compiled"),
        (
            "torch-2.13.0-x.whl is not a supported wheel on this platform.",
            "The file given with --torch-wheel",
        ),
    ],
)
def test_what_pip_says_becomes_one_sentence(environment, output, beginning):
    assert environment("problems").explain(output).startswith(beginning)


def test_words_of_pip_that_are_not_known_are_not_guessed_at(environment):
    assert environment("problems").explain("ERROR: something new") is None


def test_a_python_without_venv_is_told_what_to_install(environment, monkeypatch):
    problems = environment("problems")
    monkeypatch.setitem(sys.modules, "ensurepip", None)  # as Debian's python3 without python3-venv
    with pytest.raises(problems.SetUpError, match=r"sudo apt install python3\.\d+-venv"):
        environment("checks").check_machine()
