"""Searches: QIDO-RS (PS3.18 section 10.6)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dermcheck.dicom.sop_classes import PHOTOGRAPH_SOP_CLASSES
from dermcheck.dicomweb.accept import choose_whole
from dermcheck.dicomweb.levels import Level
from dermcheck.dicomweb.study_list import list_studies
from dermcheck.label_app.dicomweb_routes.answering import (
    JSON,
    JSON_KINDS,
    PREFIX,
    SERIES,
    STUDY,
    accepted_kinds,
    pass_on,
    root_address,
    service_in_use,
)
from dermcheck.label_app.endpoints import AnyUser

__all__ = ["router", "viewer_router"]

router = APIRouter()
viewer_router = APIRouter(prefix=f"/viewer{PREFIX}", include_in_schema=False)
"""Searches of our viewer, whose list of studies is to show those with photographs alone."""


@router.get("/studies", summary="Search for studies")
def search_studies(request: Request, user: AnyUser) -> Response:
    """Search all studies."""
    return _search(request, Level.STUDY)


@router.get("/series", summary="Search for series")
def search_series(request: Request, user: AnyUser) -> Response:
    """Search all series."""
    return _search(request, Level.SERIES)


@router.get("/instances", summary="Search for instances")
def search_instances(request: Request, user: AnyUser) -> Response:
    """Search all instances."""
    return _search(request, Level.INSTANCE)


@router.get(STUDY + "/series", summary="Search for the series of a study")
def search_series_of_study(request: Request, user: AnyUser, study: str) -> Response:
    """Search one study's series."""
    return _search(request, Level.SERIES, study)


@router.get(STUDY + "/instances", summary="Search for the instances of a study")
def search_instances_of_study(request: Request, user: AnyUser, study: str) -> Response:
    """Search one study's instances."""
    return _search(request, Level.INSTANCE, study)


@router.get(SERIES + "/instances", summary="Search for the instances of a series")
def search_instances_of_series(request: Request, user: AnyUser, study: str, series: str) -> Response:
    """Search one series' instances."""
    return _search(request, Level.INSTANCE, study, series)


@viewer_router.get("/studies")
def search_studies_with_photographs(request: Request, user: AnyUser) -> Response:
    """Search the studies that have photographs."""
    service = service_in_use()
    if service.origin is not None:
        photographs = [("SOPClassesInStudy", ",".join(PHOTOGRAPH_SOP_CLASSES))]
        return _search(request, Level.STUDY, more_keys=photographs)
    assert service.proxy is not None  # noqa: S101 - there is a proxy where there is no origin
    proxy, root = service.proxy, root_address(request)
    listed = list_studies(
        lambda keys: proxy.search("/studies", keys, root),
        request.query_params.multi_items(),
        proxy.modalities,
    )
    return Response(json.dumps(listed, ensure_ascii=False), media_type=JSON)


viewer_router.get(STUDY + "/series")(search_series_of_study)
viewer_router.get(STUDY + "/instances")(search_instances_of_study)


def _search(
    request: Request,
    level: Level,
    study: str | None = None,
    series: str | None = None,
    more_keys: Sequence[tuple[str, str]] = (),
) -> Response:
    service = service_in_use()
    if service.origin is None:
        return pass_on(request, service)
    kind = choose_whole(accepted_kinds(request), JSON_KINDS)
    parameters = [*request.query_params.multi_items(), *more_keys]
    found = service.origin.search(level, parameters, root_address(request), study, series)
    headers = {}
    if found.fuzzy:  # the standard's own words (table 8.3.4-1)
        headers["Warning"] = (
            '299 dermcheck "The fuzzymatching parameter is not supported. '
            'Only literal matching has been performed."'
        )
    elif found.more:
        headers["Warning"] = '299 dermcheck "There are additional results that can be requested"'
    if found.empty:
        return Response(status_code=204, headers=headers)
    return Response(found.content, media_type=kind, headers=headers)
