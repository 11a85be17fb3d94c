"""`dermcheck viewer`: which build of OHIF the browser gets."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dermcheck.errors import DermCheckError

__all__ = ["register", "run"]

_DESCRIPTION = """\
Choose the viewer that `dermcheck serve` shows in the browser. DermCheck comes with OHIF 3.10, which needs
no installation. OHIF 3.13 is newer; its package is installed from a file, nothing is downloaded.
"""
_EPILOG = """\
The package is made on any computer with internet access and Node.js:

  npm pack @ohif/app@3.13.2

A change takes effect when the server is started the next time.

Exit status: 0 done, 1 the work could not be done, 2 wrong arguments.

Examples:
  dermcheck viewer list
  dermcheck viewer install ohif-app-3.13.2.tgz
  dermcheck viewer use ohif-3.13
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "viewer",
        help="choose the viewer in the browser",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    steps = parser.add_subparsers(dest="step", metavar="STEP", required=True)
    listed = steps.add_parser("list", help="show which viewers there are, and check their files")
    listed.add_argument("--json", action="store_true", help="print the list as JSON")
    install = steps.add_parser("install", help="install the optional viewer from its package")
    install.add_argument("file", metavar="FILE", type=Path, help="what `npm pack @ohif/app@3.13.2` has made")
    use = steps.add_parser("use", help="choose the viewer for the server's next start")
    use.add_argument("name", metavar="NAME", help="ohif-3.10 or ohif-3.13")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do a step, and say what was done."""
    from dermcheck.viewer import install_bundle, use_bundle

    if arguments.step == "list":
        return _list(arguments.json)
    if arguments.step == "install":
        bundle = install_bundle(arguments.file)
        print(f"OHIF {bundle.version} is installed. To use it: dermcheck viewer use {bundle.name}")
        return 0
    bundle = use_bundle(arguments.name)
    print(f"OHIF {bundle.version} is used from the server's next start on.")
    return 0


def _list(as_json: bool) -> int:
    """Print the viewers; 1 if the one in use cannot be used."""
    from dermcheck.viewer import list_bundles

    states = list_bundles()
    if as_json:
        print(
            json.dumps(
                [
                    {
                        "name": state.bundle.name,
                        "version": state.bundle.version,
                        "installed": state.installed,
                        "in_use": state.in_use,
                        "problem": state.problem,
                    }
                    for state in states
                ],
                indent=2,
            )
        )
    else:
        for state in states:
            found = "installed" if state.installed else "not installed"
            print(f"{'*' if state.in_use else ' '} {state.bundle.name}  OHIF {state.bundle.version}  {found}")
    problems = [state.problem for state in states if state.in_use and state.problem]
    if problems and not as_json:
        raise DermCheckError(problems[0])
    return 1 if problems else 0
