"""The route of the picture that shows how the models came on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastapi import APIRouter
from fastapi.responses import Response
from monailabel.interfaces.utils.app import app_instance

from dermcheck.errors import NotFoundError
from dermcheck.label_app.endpoints import AnyUser

if TYPE_CHECKING:
    from dermcheck.label_app.application import DermCheckApp

__all__ = ["router"]

router = APIRouter(prefix="/viewer", tags=["Viewer"])

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",  # a picture runs no scripts
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}


@router.get("/history.svg", summary="Corrections, versions and their figures as a picture")
def history_picture(user: AnyUser) -> Response:
    """Draw how the models came on."""
    app: DermCheckApp = app_instance()
    if app.history is None:
        raise NotFoundError("This server predicts with fixed models (--models): they have no history.")
    return Response(app.history.svg(), media_type="image/svg+xml", headers=_HEADERS)
