"""`dermcheck serve`: the server that viewers connect to."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dermcheck.commands.models import add_model_options, open_registry
from dermcheck.errors import ArgumentError, DermCheckError
from dermcheck.label_app import STUDIES_VARIABLE

if TYPE_CHECKING:
    from dermcheck.label_app.application import DermCheckApp
    from dermcheck.label_app.running import ServerSettings

__all__ = ["STUDIES_VARIABLE", "register", "run"]

_DESCRIPTION = """\
Serve studies to 3D Slicer and other MONAI Label viewers: predictions, and corrections
that are kept as DICOM beside the photographs. Research use only; not a medical device.

Only this computer can connect, unless --host says otherwise. Nothing is sent anywhere.
"""
_EPILOG = f"""\
Without --studies, the environment variable {STUDIES_VARIABLE} counts; without that, the
sample studies of a source checkout.

Exit status: 0 stopped by Ctrl-C, 1 the work could not be done, 2 wrong arguments.

Example:
  dermcheck serve --studies ~/studies
"""
_SAMPLE_STUDIES: Final = Path(__file__).parents[3] / "sample_studies"
_MOST_PROBLEMS_SHOWN: Final = 5


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "serve",
        help="serve studies to 3D Slicer and other viewers",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--studies", metavar="DIR_OR_URL", help="folder of DICOM files, or DICOMweb address")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8000, help="port to listen on; 0 takes a free one (default: %(default)s)"
    )
    add_model_options(parser)
    trainings = parser.add_argument_group("trainings that start by themselves (default: none)")
    trainings.add_argument(
        "--retrain-after", metavar="N", type=int, help="learn from the corrections after N new ones"
    )
    trainings.add_argument(
        "--retrain-at", metavar="HH:MM-HH:MM",
        help="learn from new corrections once a night, beginning in these hours, e.g. 22:00-06:00",
    )  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="log every request and MONAI Label's steps")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C.

    Raises
    ------
    ArgumentError
        If the studies folder is missing, or the port is taken or not to be had.
    DermCheckError
        If the studies, models or MONAI Label cannot be used.
    """
    studies = _find_studies(arguments.studies)
    if arguments.models and not arguments.models.is_dir():
        raise ArgumentError(f"{arguments.models}: there is no such folder of models. Check the spelling.")
    with _listen(arguments.host, arguments.port) as listener:
        loopback = ipaddress.ip_address(listener.getsockname()[0]).is_loopback
        if not loopback:
            _warn_of_network(arguments.host)
        print("DermCheck starts. This takes some seconds.", flush=True)
        settings = _settings(arguments, studies, listener, loopback)
        output, host = sys.stdout, arguments.host

        def say_ready(app: DermCheckApp) -> None:
            app.examine = lambda: _examination(settings, arguments.registry)
            print(_welcome(app, studies, host, settings.port), file=output, flush=True)

        from dermcheck.label_app.running import run_server

        run_server(settings, say_ready)
    print("DermCheck has stopped.", flush=True)
    return 0


def _settings(
    arguments: argparse.Namespace, studies: str, listener: socket.socket, loopback: bool
) -> ServerSettings:
    try:
        from dermcheck.label_app.answering_process import start_process
        from dermcheck.label_app.running import ServerSettings, lean_imports
        from dermcheck.viewer import attach_viewer
    except ImportError as error:
        raise DermCheckError(
            f"The server's packages cannot be imported ({error}). Run `dermcheck doctor` to see why."
        ) from error
    models = arguments.models.absolute() if arguments.models else None
    process = start_process()  # as early as can be: it takes as long to start as the rest together
    with lean_imports():
        _check_schedule(arguments)
        registry = open_registry(arguments).folder
    return ServerSettings(
        studies, models, listener, loopback, arguments.verbose, attach_viewer, registry,
        arguments.retrain_after, arguments.retrain_at, process,
    )  # fmt: skip


def _check_schedule(arguments: argparse.Namespace) -> None:
    from dermcheck.learning.schedule import Schedule

    if Schedule.parse(arguments.retrain_after, arguments.retrain_at).is_on and arguments.models:
        raise ArgumentError(
            "--retrain-after and --retrain-at make versions of the models, and with --models none is used: "
            "leave one of them out."
        )


def _examination(settings: ServerSettings, registry: Path | None) -> list[dict[str, str | None]]:
    """Let the doctor look, for the start page.

    `registry` is the folder that was asked for. Only such a one must exist; the default one, which the
    settings name too, comes with the first training.
    """
    from dermcheck.doctor import Subject, examine

    # Port 0: the server itself has taken its own.
    subject = Subject(settings.studies, settings.models, "127.0.0.1", 0, registry)
    return [
        {"name": finding.name, "found": finding.found, "advice": finding.advice}
        for finding in examine(subject)
        if finding.name != "Port"
    ]


def _find_studies(named: str | None) -> str:
    """Return the studies as an absolute path or a URL."""
    location = (
        named
        or os.environ.get(STUDIES_VARIABLE)
        or (str(_SAMPLE_STUDIES) if _SAMPLE_STUDIES.is_dir() else "")
    )
    if not location:
        raise ArgumentError(
            "Which studies? Name their folder or address: dermcheck serve --studies DIR_OR_URL."
        )
    if location.casefold().startswith(("http://", "https://")):
        return location.rstrip("/")
    folder = Path(location).expanduser().absolute()
    if not folder.is_dir():
        found = "a file" if folder.exists() else "missing"
        raise ArgumentError(
            f"{folder}: the studies folder is {found}, expected a folder. Make it, or check the spelling."
        )
    return str(folder)


def _listen(host: str, port: int) -> socket.socket:
    """Bind a socket to the address, or say in words why that is impossible."""
    if not 0 <= port <= 65535:
        raise ArgumentError(f"--port is {port}, expected a number from 0 to 65535.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:  # the latter for a name that no name can be
        raise ArgumentError(
            f"--host {host}: there is no such host. Use 127.0.0.1 for this computer."
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let two programs share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ArgumentError(_why_not(error, host, port)) from error
    return listener


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < 65535 else 0
        return (
            f"Port {port} of {host} is taken by another program (perhaps DermCheck runs already). "
            f"End that one, or take another port: dermcheck serve --port {other}."
        )
    if error.errno == errno.EACCES:
        return f"Port {port} is reserved by the system. Take one from 1024 on: dermcheck serve --port 8000."
    return f"--host {host}: this computer cannot listen there ({error.strerror}). Use 127.0.0.1."


def _warn_of_network(host: str) -> None:
    print(
        f"Warning: with --host {host}, every computer that reaches this one can read and label the "
        "studies, without log-in and without encryption. Do this only in a network that you trust.",
        file=sys.stderr,
        flush=True,
    )


def _welcome(app: DermCheckApp, studies: str, host: str, port: int) -> str:
    """Say what to open next."""
    from dermcheck.datastore.locations import without_password

    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "localhost") else host  # noqa: S104  # not bound here
    address = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
    problems = [*app.model_versions()["problems"], *app.store.problems()]
    lines = [
        "DermCheck is ready. Research use only; not a medical device.",
        f"  Studies    {without_password(studies)} ({len(app.store.image_ids())} photographs)",
        f"  Models     {_models_in_use(app)}",
        f"  3D Slicer  module MONAI Label, server address {address}, then Next Sample",
        f"  Browser    {address}",
        "  Stop       Ctrl-C",
        *(f"  Problem    {problem}" for problem in problems[:_MOST_PROBLEMS_SHOWN]),
    ]
    if len(problems) > _MOST_PROBLEMS_SHOWN:
        lines.append(f"  Problem    and {len(problems) - _MOST_PROBLEMS_SHOWN} more like these")
    return "\n".join(lines)


def _models_in_use(app: DermCheckApp) -> str:
    versions = app.model_versions()["versions"].values()
    return ", ".join(f"{each['name']} {each['version']}" for each in versions)
