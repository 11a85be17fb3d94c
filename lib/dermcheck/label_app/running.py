"""Runs MONAI Label's server in this process, with settings that are safe on a clinic's workstation."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from dermcheck.label_app import app as app_folder

if TYPE_CHECKING:
    from fastapi import FastAPI

    from dermcheck.label_app.application import DermCheckApp

__all__ = ["ServerSettings", "lean_imports", "run_server"]

_LOOPBACK_NAMES: Final = ["127.0.0.1", "localhost", "[::1]", "::1", "["]
"""Host headers of requests from this machine; the last is what Starlette makes of ``[::1]:8000``."""
_NOT_FOR_SERVING: Final = (
    "ignite",
    "matplotlib",
    "mlflow",
    "nibabel",
    "pandas",
    "skimage",
    "sklearn",
    "tensorboard",
)
"""Packages that MONAI imports where it finds them, for training, plots and other file formats. Without
them the server starts in about half the time; trainings run in processes of their own, which have them."""
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
            app.predictions.close()
            app.store.close()


def _make_app(settings: ServerSettings) -> tuple[FastAPI, DermCheckApp]:
    with lean_imports():
        from monailabel.app import app as server
    from monailabel.interfaces.utils.app import app_instance
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    if settings.loopback:  # else a web site could reach the server under a name of its own (DNS rebinding)
        server.add_middleware(TrustedHostMiddleware, allowed_hosts=_LOOPBACK_NAMES)
    app: DermCheckApp = app_instance()
    if settings.extend:
        settings.extend(server)
    app.predictor.get()
    return server, app


def _set_environment(settings: ServerSettings) -> None:
    """Say in the environment what MONAI Label's own command says there, for its child processes too."""
    places = {"models": settings.models, "registry": settings.registry}
    conf = {name: str(place) for name, place in places.items() if place}
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
def lean_imports() -> Iterator[None]:
    """Make imports of packages fail that serving does not need; whoever can do without them does.

    Later imports of them work again. For whatever imports MONAI first.
    """
    absent = [name for name in _NOT_FOR_SERVING if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None: "must not be imported"
    try:
        yield
    finally:
        for name in absent:
            if sys.modules.get(name, ...) is None:
                del sys.modules[name]


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
