"""`dermcheck doctor`: what is wrong with this installation, and what to do."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dermcheck.commands.models import add_model_options
from dermcheck.commands.serve import STUDIES_VARIABLE
from dermcheck.errors import ArgumentError

if TYPE_CHECKING:
    from dermcheck.doctor import Finding

__all__ = ["register", "run"]

_DESCRIPTION = """\
Check Python, the packages, memory, the studies and cache folders, the port, the processor,
the models and the server, and say what to do where something is wrong. Changes nothing.
"""
_EPILOG = """\
Exit status: 0 all is well, 1 something is wrong, 2 wrong arguments.

Example:
  dermcheck doctor --studies ~/studies
"""
_SAMPLE_STUDIES: Final = Path(__file__).parents[3] / "sample_studies"


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "doctor",
        help="check the installation and say what is wrong",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--studies", metavar="DIR_OR_URL", help="studies to look at, as for `dermcheck serve`"
    )
    add_model_options(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address of the server (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port of the server (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Examine and print; 1 if there is anything to do."""
    from dermcheck.doctor import Subject, examine

    if not 0 < arguments.port < 65536:
        raise ArgumentError(f"--port is {arguments.port}, expected a number from 1 to 65535.")
    samples = str(_SAMPLE_STUDIES) if _SAMPLE_STUDIES.is_dir() else None
    studies = arguments.studies or os.environ.get(STUDIES_VARIABLE) or samples
    findings = []
    subject = Subject(studies, arguments.models, arguments.host, arguments.port, arguments.registry)
    for finding in examine(subject):
        findings.append(finding)
        if not arguments.json:
            print(_line(finding), flush=True)
    problems = sum(not finding.ok for finding in findings)
    if arguments.json:
        print(json.dumps({"ok": not problems, "findings": [_as_json(each) for each in findings]}, indent=2))
    elif problems:
        print(f"\n{problems} of {len(findings)} checks found a problem.")
    else:
        print("\nAll is well.")
    return int(bool(problems))


def _line(finding: Finding) -> str:
    good, bad = ("✔", "✘") if _can_print("✔✘") else ("ok     ", "PROBLEM")
    line = f"{good if finding.ok else bad} {finding.name}: {finding.found}"
    return line if finding.advice is None else f"{line}\n  → {finding.advice}"


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _as_json(finding: Finding) -> dict[str, object]:
    return {"name": finding.name, "ok": finding.ok, "found": finding.found, "advice": finding.advice}
