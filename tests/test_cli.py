import resource
import subprocess
import sys

import pytest

from dermcheck import commands
from dermcheck.cli import build_parser, main
from dermcheck.errors import ArgumentError, NotFoundError, StorageError

ALL_COMMANDS = sorted(build_parser()._subparsers._group_actions[0].choices)  # what `--help` lists


def raising(error):
    """A command module whose only command raises."""

    def run(arguments):
        raise error

    def register(subparsers):
        subparsers.add_parser("fail").set_defaults(run=run)

    return register


@pytest.fixture
def failing_command(monkeypatch):
    """Add the command `fail`, which raises the error it is given, to those of the package."""

    def add(error):
        monkeypatch.setattr("dermcheck.commands.batch.register", raising(error))

    return add


def test_the_commands_of_this_issue_are_there():
    assert {"batch", "import"} <= set(ALL_COMMANDS)


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([command, "--help"])
    assert exit_info.value.code == 0
    assert f"dermcheck {command} " in capsys.readouterr().out.split("xample", 1)[1]


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_answer_at_once_and_without_torch(option):
    program = f"""
import sys
from dermcheck.cli import main
try:
    main([{option!r}])
finally:
    heavy = {{"torch", "monai", "monailabel", "highdicom", "pydicom", "numpy", "PIL", "SimpleITK"}}
    assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of the processor, as a busy machine makes everything else slow.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("dermcheck 0.")


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["batch"], ["batch", "x", "--output", "y", "--masks", "gif"]]
)
def test_wrong_arguments_end_with_status_2_and_usage(arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert "usage: dermcheck" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ArgumentError("the sentence"), 2),
        (NotFoundError("the sentence"), 1),
        (StorageError("the sentence"), 1),
    ],
)
def test_an_error_of_the_user_is_one_line_and_a_status(failing_command, capsys, error, status):
    failing_command(error)
    assert main(["fail"]) == status
    assert capsys.readouterr().err == "dermcheck: the sentence\n"


def test_control_c_ends_with_status_130(failing_command, capsys):
    failing_command(KeyboardInterrupt())
    assert main(["fail"]) == 130
    assert capsys.readouterr().err == "dermcheck: stopped\n"


def test_a_bug_keeps_its_traceback(failing_command):
    failing_command(KeyError("bug"))
    with pytest.raises(KeyError, match="bug"):
        main(["fail"])


def test_a_reader_that_leaves_early_causes_no_traceback():
    command = f"{sys.executable} -m dermcheck.cli batch --help | true"
    done = subprocess.run(command, shell=True, check=False, capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_the_package_of_commands_holds_nothing_but_commands():
    import importlib
    import pkgutil

    for module in pkgutil.iter_modules(commands.__path__):
        assert callable(importlib.import_module(f"dermcheck.commands.{module.name}").register)
