"""What all DICOMweb resources share: their addresses, what a request accepts, the archive's answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from monailabel.interfaces.utils.app import app_instance

from dermcheck.dicomweb.accept import MediaRange, parse_accept
from dermcheck.dicomweb.frames import instance_bytes
from dermcheck.dicomweb.metadata import instance_address, metadata_json
from dermcheck.dicomweb.multipart import multipart_type, new_boundary, write_parts

if TYPE_CHECKING:
    from dermcheck.dicomweb.proxy import Passed
    from dermcheck.dicomweb.service import DicomWebService

__all__ = [
    "DICOM",
    "INSTANCE",
    "JSON",
    "JSON_KINDS",
    "PREFIX",
    "SERIES",
    "STUDY",
    "accepted_kinds",
    "answer_unsent",
    "ask_archive",
    "multipart_response",
    "pass_on",
    "root_address",
    "service_in_use",
]

PREFIX: Final = "/dicom-web"
JSON: Final = "application/dicom+json"
JSON_KINDS: Final = (JSON, "application/json")
DICOM: Final = "application/dicom"
STUDY: Final = "/studies/{study}"
SERIES: Final = STUDY + "/series/{series}"
INSTANCE: Final = SERIES + "/instances/{instance}"


def service_in_use() -> DicomWebService:
    """Return the service of the app that this server runs."""
    service: DicomWebService = app_instance().dicomweb
    return service


def pass_on(request: Request, service: DicomWebService, *uids: str) -> Response:
    """Let the archive answer, or the outbox for what the archive does not have yet."""
    if unsent := answer_unsent(request, service, uids):
        return unsent
    passed = ask_archive(request, service, request.headers)
    return StreamingResponse(passed.content, passed.status, passed.headers)


def ask_archive(request: Request, service: DicomWebService, headers: Mapping[str, str]) -> Passed:
    """Pass a request on to the archive, with these headers."""
    assert service.proxy is not None  # noqa: S101 - there is a proxy where there is no origin
    path = request.url.path.partition(PREFIX)[2]
    return service.proxy.get(path, request.url.query, headers, root_address(request))


def answer_unsent(request: Request, service: DicomWebService, uids: Sequence[str]) -> Response | None:
    """Answer for a series or instance that still waits to be sent to the archive."""
    if len(uids) < 2 or not (waiting := service.unsent(*uids)):
        return None
    if request.url.path.endswith("/metadata"):
        root, study, series = root_address(request), uids[0], uids[1]
        listed = [
            metadata_json(dataset, instance_address(root, study, series, dataset.SOPInstanceUID))
            for dataset in waiting
        ]
        return Response(json.dumps(listed), media_type=JSON)
    parts = [(DICOM, instance_bytes(dataset, dataset.file_meta.TransferSyntaxUID)) for dataset in waiting]
    return multipart_response(DICOM, parts)


def multipart_response(
    kind: str, parts: Iterable[tuple[str, bytes]], headers: dict[str, str] | None = None
) -> Response:
    """Answer with parts that are all of one kind, each with its Content-Type."""
    boundary = new_boundary()
    return Response(
        b"".join(write_parts(parts, boundary)), media_type=multipart_type(kind, boundary), headers=headers
    )


def accepted_kinds(request: Request) -> list[MediaRange]:
    """Read what the Accept header, or the query in its place, asks for."""
    return parse_accept(request.headers.get("accept"), request.query_params.get("accept"))


def root_address(request: Request) -> str:
    """Return the address that all resources begin with."""
    return f"{str(request.base_url).rstrip('/')}{PREFIX}"
