"""What DermCheck adds to MONAI Label's web server: its own endpoints, and sentences for errors."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from monailabel.interfaces.exception import MONAILabelException

from dermcheck.dicomweb.statuses import BusyError, http_status
from dermcheck.errors import DermCheckError
from dermcheck.label_app.prediction_queue import ClientGoneError

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

__all__ = ["attach", "http_status"]

logger = logging.getLogger(__name__)


def attach(server: FastAPI) -> None:
    """Add DermCheck's endpoints and error sentences to MONAI Label's server, once.

    MONAI Label makes its app while the server starts, when the middleware stack is built already.
    Starlette builds it anew before the next request if it is unset; what was added to the server by
    then takes part. So this works alike under `monailabel start_server` and `dermcheck serve`.
    """
    from dermcheck.label_app.active_learning_routes import router as active_learning_router
    from dermcheck.label_app.dicomweb_routes import router as dicomweb_router
    from dermcheck.label_app.endpoints import router
    from dermcheck.label_app.history_route import router as history_router

    if getattr(server.state, "has_dermcheck", False):
        return
    server.state.has_dermcheck = True
    stock = list(server.router.routes)
    server.include_router(router)
    server.include_router(active_learning_router)
    server.include_router(dicomweb_router)
    server.include_router(history_router)
    ours = server.router.routes[len(stock) :]
    server.router.routes[:] = ours + stock  # the first route that fits a request answers it
    for kind, handler in (
        (DermCheckError, _answer_error),
        (MONAILabelException, _answer_monailabel_error),
        (json.JSONDecodeError, _answer_bad_json),
        (RequestValidationError, _answer_invalid_request),
        (ClientGoneError, _answer_nobody),
        (Exception, _answer_bug),
    ):
        server.add_exception_handler(kind, handler)
    server.middleware_stack = None


async def _answer_error(request: Request, error: Any) -> JSONResponse:
    status = http_status(error)
    logger.log(logging.ERROR if status >= 500 else logging.INFO, "%d: %s", status, error)
    answer = _sentence(status, str(error))
    if isinstance(error, BusyError):
        answer.headers["Retry-After"] = str(error.retry_after_s)
    return answer


async def _answer_monailabel_error(request: Request, error: Any) -> JSONResponse:
    return _sentence(400, str(error.msg))


async def _answer_bad_json(request: Request, error: Any) -> JSONResponse:
    return _sentence(
        400, f"params or info is not JSON: {error.msg} at character {error.pos}. Send a JSON object."
    )


async def _answer_invalid_request(request: Request, error: Any) -> JSONResponse:
    problems = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
    return _sentence(422, f"The request is incomplete or wrong: {problems}.")


async def _answer_nobody(request: Request, error: Any) -> Response:
    """End a request whose client has closed the connection; the status is for the log only."""
    return Response(status_code=499)


async def _answer_bug(request: Request, error: Exception) -> JSONResponse:
    """Answer for what should not happen; the server logs the traceback."""
    return _sentence(
        500, "DermCheck made a mistake and cannot answer. Please report it; details are in its log."
    )


def _sentence(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"detail": sentence}, status)
