"""Runs MONAI Label's server in this process, with settings that are safe on a clinic's workstation."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from dermcheck.label_app import app as app_folder
from dermcheck.label_app.answering_process import AnsweringProcess
from dermcheck.label_app.lean_imports import lean_imports, uncollected

if TYPE_CHECKING:
    from fastapi import FastAPI

    from dermcheck.label_app.application import DermCheckApp

__all__ = ["ServerSettings", "lean_imports", "run_server"]

_LOOPBACK_NAMES: Final = ["127.0.0.1", "localhost", "[::1]", "::1", "["]
"""Host headers of requests from this machine; the last is what Starlette makes of ``[::1]:8000``."""
_SECONDS_FOR_LAST_ANSWERS: Final = 5


@dataclass(frozen=True)
class ServerSettings:
    """What `dermcheck serve` was asked for."""

    studies: str
    """Folder (absolute) or DICOMweb URL."""
    models: Path | None
    """Folder of the models, or None for the versions in use of a registry."""
    listener: socket.socket
    """Bound to host and port already, so that nobody takes it during the start."""
    loopback: bool
    """Whether only this machine can reach `listener`."""
    verbose: bool = False
    extend: Callable[[FastAPI], None] | None = None
    """Adds what rooms above this one serve (the viewer)."""
    registry: Path | None = None
    """Folder of the registry (absolute), or None for the default one."""
    retrain_after: int | None = None
    """Start a training by itself after so many new corrections."""
    retrain_at: str | None = None
    """Start trainings by themselves in these hours, e.g. 22:00-06:00."""
    process: subprocess.Popen[bytes] | None = None
    """From `start_process`, so that it starts while everything else does."""

    @property
    def port(self) -> int:
        """The port, also where 0 was asked for."""
        return int(self.listener.getsockname()[1])


def run_server(settings: ServerSettings, when_ready: Callable[[DermCheckApp], None]) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises
    ------
    DermCheckError
        If the studies cannot be opened or the models cannot be used; nothing was served then.
    """
    _set_environment(settings)
    _set_logging(settings.verbose)
    with _silent_stdout():  # MONAI Label prints its progress
        server, app = _make_app(settings)
        try:
            _Server(server, settings, lambda: when_ready(app)).run(sockets=[settings.listener])
        finally:
            app.end_trainings()
            app.predictions.close()
            app.answering.close()
            app.scores.close()
            app.store.close()


def _make_app(settings: ServerSettings) -> tuple[FastAPI, DermCheckApp]:
    with lean_imports(), uncollected():
        from dermcheck.registry import Registry

        answering = AnsweringProcess(settings.models or Registry.open(settings.registry), settings.process)
        from monailabel.app import app as server
        from monailabel.config import settings as environment
        from monailabel.interfaces.utils.app import apps
        from starlette.middleware.trustedhost import TrustedHostMiddleware

        from dermcheck.label_app.application import DermCheckApp

    if settings.loopback:  # else a web site could reach the server under a name of its own (DNS rebinding)
        server.add_middleware(TrustedHostMiddleware, allowed_hosts=_LOOPBACK_NAMES)
    folder, studies = environment.MONAI_LABEL_APP_DIR, environment.MONAI_LABEL_STUDIES
    app = DermCheckApp(folder, studies, environment.MONAI_LABEL_APP_CONF, answering)
    apps[f"{folder}{studies}"] = app  # where MONAI Label looks for it before it makes one
    if settings.extend:
        settings.extend(server)
    answering.wait()
    return server, app


def _set_environment(settings: ServerSettings) -> None:
    """Say in the environment what MONAI Label's own command says there, for its child processes too."""
    places = {"models": settings.models, "registry": settings.registry}
    conf = {name: str(place) for name, place in places.items() if place}
    trainings = {"retrain_after": settings.retrain_after, "retrain_at": settings.retrain_at}
    conf |= {name: str(value) for name, value in trainings.items() if value is not None}
    os.environ |= {
        "MONAI_LABEL_APP_DIR": str(Path(str(app_folder.__file__)).parent),
        "MONAI_LABEL_STUDIES": settings.studies,
        "MONAI_LABEL_APP_CONF": json.dumps(conf),
        "MONAI_LABEL_SERVER_PORT": str(settings.port),
        "MONAI_LABEL_TRACKING_ENABLED": "false",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),  # MONAI Label fails where it is unset
    }
    # MONAI Label lets every web site read its answers; only our own pages may.
    os.environ.setdefault("MONAI_LABEL_CORS_ORIGINS", json.dumps([f"http://127.0.0.1:{settings.port}"]))


def _set_logging(verbose: bool) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("dermcheck").setLevel(logging.INFO)
    logging.getLogger("timeloop").disabled = not verbose  # it announces itself whatever the level


@contextlib.contextmanager
def _silent_stdout() -> Iterator[None]:
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


class _Server(uvicorn.Server):
    """A uvicorn server that says when it is ready, and takes SIGTERM like Ctrl-C."""

    def __init__(self, server: FastAPI, settings: ServerSettings, when_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                server,
                log_config=None,
                access_log=settings.verbose,
                timeout_graceful_shutdown=_SECONDS_FOR_LAST_ANSWERS,
            )
        )
        self._when_ready = when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._when_ready()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        # After it has shut down, uvicorn raises the signals again that ended it.
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            super().run(sockets=sockets)
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGTERM, before)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
