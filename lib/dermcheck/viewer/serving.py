"""Serves OHIF's files as they are, our configuration and our module, to this origin alone."""

from __future__ import annotations

import html
import logging
import re
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from dermcheck.viewer.bundles import Bundle, BundleError
from dermcheck.viewer.configuration import app_config
from dermcheck.viewer.installation import chosen_bundle

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

    from fastapi import FastAPI
    from starlette.requests import Request

__all__ = ["HEADERS", "attach_viewer"]

_logger = logging.getLogger(__name__)

HEADERS: Final = {
    # Nothing may be loaded from, or sent to, another origin: OHIF asks Google for fonts. It needs inline
    # styles and scripts, WebAssembly for decoding, and workers made of blobs.
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'self'",
            "script-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' blob:",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "worker-src 'self' blob:",
            "connect-src 'self' blob: data:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'self'",
        )
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_ASK_AGAIN: Final = "no-cache"  # the browser keeps it, but asks by its ETag whether it is still the same
_HASHED: Final = re.compile(r"[.-]?[0-9a-f]{16,20}\.(js|css|wasm)$")
_STATIC: Final = Path(__file__).parent / "static"


def attach_viewer(server: FastAPI) -> None:
    """Add the viewer to MONAI Label's server, once: its pages, and the routes that our module calls.

    Also where no viewer can be shown the server serves everything else; the page then says why.
    """
    from dermcheck.label_app.dicomweb_routes import viewer_router
    from dermcheck.label_app.viewer_routes import router
    from dermcheck.viewer.manual import router as manual_router

    if getattr(server.state, "has_viewer", False):
        return
    server.state.has_viewer = True
    checked = _CheckedBundle()
    stock = list(server.router.routes)
    server.include_router(router)
    server.include_router(viewer_router)
    server.include_router(manual_router)
    ours = server.router.routes[len(stock) :]
    files = [
        Mount("/viewer/static", _Files(directory=_STATIC)),
        Route("/ohif", _redirect_to_list),
        Mount("/ohif", _Pages(checked)),
    ]
    # The first route that fits a request answers it: ours before MONAI Label's /ohif, and last of all the
    # files that the optional build asks for at the root.
    server.router.routes[:] = [*files, *ours, *stock, Mount("/", _RootFiles(checked))]


async def _redirect_to_list(request: Request) -> Response:
    return Response(status_code=307, headers={"Location": "/ohif/"})


class _CheckedBundle:
    """The viewer in use, compared with what was tested in a thread of its own from now on."""

    def __init__(self) -> None:
        self._checked: Future[tuple[Bundle, Path]] = Future()
        Thread(target=self._check, name="check viewer", daemon=True).start()

    def _check(self) -> None:
        try:
            bundle, folder = chosen_bundle()
            bundle.check(folder)
        except BaseException as error:  # handed to whoever asks for the viewer
            _logger.error("The viewer cannot be shown: %s", error)
            self._checked.set_exception(error)
        else:
            self._checked.set_result((bundle, folder))

    async def get(self) -> tuple[Bundle, Path]:
        """Return it, waiting for the check if need be. Raises BundleError if it is another than tested."""
        return await run_in_threadpool(self._checked.result)


class _Files(StaticFiles):
    """Files with `HEADERS`; the browser keeps those for ever whose names change with their content."""

    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        response.headers["Cache-Control"] = _FOR_EVER if _HASHED.search(path) else _ASK_AGAIN
        return response


class _BundleFiles(_Files):
    """Files of the viewer in use, with our configuration in the place of its own."""

    def __init__(self, checked: _CheckedBundle) -> None:
        super().__init__(check_dir=False)
        self._checked = checked

    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        bundle, folder = await self._checked.get()
        self.all_directories = [folder]
        if path == "app-config.js":
            headers = {**HEADERS, "Cache-Control": _ASK_AGAIN}
            return Response(app_config(bundle), media_type="text/javascript", headers=headers)
        return await super().get_response(path, scope)


class _Pages(_BundleFiles):
    """What is under /ohif/: a file, or the page, which finds out by itself what its address means."""

    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        try:
            return await super().get_response(path, scope)
        except BundleError as error:
            return HTMLResponse(_EXPLANATION.format(html.escape(str(error))), 503, headers=HEADERS)
        except HTTPException as error:
            if error.status_code != 404 or Path(path).suffix:
                raise
            return await super().get_response("index.html", scope)


class _RootFiles(_BundleFiles):
    """Files that a build for `/` asks for there; nothing for a build for `/ohif/`."""

    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        try:
            bundle, _ = await self._checked.get()
        except BundleError:
            raise HTTPException(404) from None
        if bundle.base != "/" or path in (".", "index.html"):
            raise HTTPException(404)
        return await super().get_response(path, scope)


_EXPLANATION: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>DermCheck</title></head>
<body style="font: 1rem/1.5 sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem">
<h1>The viewer cannot be shown</h1><p>{}</p><p><a href="/">Start page</a></p></body></html>
"""
