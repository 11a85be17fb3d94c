"""The `dermcheck` command: collects the modules of `dermcheck.commands` and runs one.

Nothing heavy is imported here or by the command modules, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import Any

import dermcheck.commands
from dermcheck.errors import ArgumentError, DermCheckError

__all__ = ["build_parser", "main"]

_INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments
        Without the program's name; those of the process by default.

    Returns
    -------
    int
        0; 1 if the work failed; 2 for wrong arguments; 130 if stopped with Ctrl-C. What a user can
        cause is one sentence on stderr; every other exception is a bug and is not caught here.
    """
    _print_any_script()
    # Set before torch is imported: threads that spin while they wait for each other make a prediction
    # up to forty times slower on a busy workstation.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        namespace = build_parser().parse_args(arguments)
        status: int = namespace.run(namespace)
        sys.stdout.flush()
    except ArgumentError as error:
        return _complain(str(error), 2)
    except DermCheckError as error:
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        return _complain("stopped", _INTERRUPTED)
    except BrokenPipeError:  # `dermcheck ... | head`: the reader has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def build_parser() -> argparse.ArgumentParser:
    """Build the parser with every command that `dermcheck.commands` holds."""
    parser = argparse.ArgumentParser(
        prog="dermcheck",
        description="Outlines and classifies skin lesions in DICOM photographs, on this computer\n"
        "alone. Research use only; not a medical device.",
        epilog="Example: dermcheck batch photos/ --output results/\n"
        "`dermcheck COMMAND --help` explains a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, help="show the version and exit")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in pkgutil.iter_modules(dermcheck.commands.__path__):
        importlib.import_module(f"dermcheck.commands.{module.name}").register(subparsers)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when asked: reading package metadata takes a while."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:  # noqa: A002
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"dermcheck {version('dermcheck')}")
        parser.exit()


def _print_any_script() -> None:
    """File names come in any script and encoding; printing one must never end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _complain(sentence: str, status: int) -> int:
    print(f"dermcheck: {sentence}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
