"""The studies as DICOMweb resources (`/dicom-web/...`): what OHIF and other viewers ask for."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request

from dermcheck.errors import NotFoundError
from dermcheck.label_app.dicomweb_routes import retrieving, searching, storing
from dermcheck.label_app.dicomweb_routes.answering import PREFIX
from dermcheck.label_app.dicomweb_routes.searching import viewer_router

__all__ = ["PREFIX", "router", "viewer_router"]

router = APIRouter(prefix=PREFIX, tags=["DICOMweb"])
for _part in (searching, retrieving, storing):
    router.include_router(_part.router)


@router.get("/{path:path}", include_in_schema=False)
def no_such_resource(path: str) -> None:
    """Answer here: what serves the viewer's files would be asked next."""
    raise NotFoundError(f"{PREFIX}/{path[:80]}: there is no such resource.")


@router.api_route(
    "/{path:path}", methods=["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"], include_in_schema=False
)
def no_such_method(request: Request, path: str) -> None:
    """Refuse to change or remove anything: studies are only ever added to."""
    raise HTTPException(
        405,
        f"{request.method} of {PREFIX}/{path[:80]} is not offered. Resources are retrieved by GET, objects "
        f"stored by POST to {PREFIX}/studies.",
        {"Allow": "GET, POST" if path == "studies" else "GET"},
    )
