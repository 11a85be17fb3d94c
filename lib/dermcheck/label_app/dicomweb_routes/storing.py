"""Storing: STOW-RS (PS3.18 section 10.5)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING, BinaryIO, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response
from monailabel.interfaces.utils.app import app_instance
from starlette.concurrency import run_in_threadpool

from dermcheck.dicomweb.accept import choose_whole, parse_media_type
from dermcheck.dicomweb.multipart import read_part_places
from dermcheck.dicomweb.statuses import TooLargeError, UnsupportedMediaTypeError
from dermcheck.errors import ArgumentError, StorageError
from dermcheck.label_app.dicomweb_routes.answering import (
    DICOM,
    JSON,
    JSON_KINDS,
    STUDY,
    accepted_kinds,
    root_address,
)
from dermcheck.label_app.endpoints import Annotator

if TYPE_CHECKING:
    from dermcheck.label_app.application import DermCheckApp

__all__ = ["LARGEST_BODY_BYTES", "router"]

LARGEST_BODY_BYTES: Final = 1 << 30
"""Of one request to store: about forty uncompressed photographs of a camera."""
_LONGEST_HEADER: Final = 2000

router = APIRouter()


@router.post("/studies", summary="Store instances")
async def store(request: Request, user: Annotator) -> Response:
    """Store DICOM files sent as multipart/related; see `Receiver.receive` for what is refused or changed."""
    return await _store(request, None)


@router.post(STUDY, summary="Store instances of one study")
async def store_in_study(request: Request, user: Annotator, study: str) -> Response:
    """Store DICOM files of one study."""
    return await _store(request, study)


async def _store(request: Request, study: str | None) -> Response:
    choose_whole(accepted_kinds(request), JSON_KINDS)
    boundary = _boundary(request.headers.get("content-type", ""))
    with tempfile.TemporaryFile(prefix="dermcheck-") as file:
        await _receive_body(request, file)
        return await run_in_threadpool(_store_parts, file, boundary, root_address(request), study)


def _boundary(content_type: str) -> str:
    """Return the boundary of a multipart body, empty for a single file."""
    kind, parameters = parse_media_type(content_type)
    parts = parameters.get("type", DICOM).lower() if kind == "multipart/related" else kind
    if parts != DICOM:
        raise UnsupportedMediaTypeError(
            f"Content-Type is {content_type[:80]!r}, expected multipart/related; type={DICOM!r} with DICOM "
            "files as its parts."
        )
    if kind != "multipart/related":
        return ""
    if not parameters.get("boundary"):
        raise ArgumentError("Content-Type names no boundary, expected multipart/related; boundary=…")
    return parameters["boundary"]


async def _receive_body(request: Request, file: BinaryIO) -> None:
    """Write a body to disk as it comes, so that its size takes no memory and is limited."""
    announced = request.headers.get("content-length", "0")
    size = int(announced) if announced.isdigit() else 0
    received = 0
    if size <= LARGEST_BODY_BYTES:
        async for chunk in request.stream():
            received += len(chunk)
            if received > LARGEST_BODY_BYTES:
                break
            try:
                await run_in_threadpool(file.write, chunk)
            except OSError as error:
                raise StorageError(
                    f"What was sent cannot be kept ({error.strerror}). Free some space on the disk of "
                    f"{tempfile.gettempdir()}, and send it again."
                ) from error
    if max(size, received) > LARGEST_BODY_BYTES:
        raise TooLargeError(
            f"The body is larger than {LARGEST_BODY_BYTES:,} bytes. Send fewer objects at once."
        )
    file.flush()


def _store_parts(file: BinaryIO, boundary: str, root: str, study: str | None) -> Response:
    if file.seek(0, os.SEEK_END) == 0:
        raise ArgumentError("The body is empty, expected DICOM files.")
    app: DermCheckApp = app_instance()
    with mmap(file.fileno(), 0, access=ACCESS_READ) as body:
        if boundary:
            parts = list(read_part_places(body, boundary))  # a broken body stores nothing
            _check_kinds(kind for kind, _, _ in parts)
            contents = (body[start:end] for _, start, end in parts)
            stored = app.dicomweb.receiver.receive(contents, root, study)
        else:
            stored = app.dicomweb.receiver.receive([body[:]], root, study)
    for image, label in stored.labels:
        app.on_save_label(image, label)
    headers = {}
    if stored.sentences:
        said = " ".join(stored.sentences)[:_LONGEST_HEADER].replace('"', "'")
        headers["Warning"] = f'299 dermcheck "{said.encode("ascii", "replace").decode()}"'
    return Response(stored.to_json(), stored.http_status, headers, JSON)


def _check_kinds(kinds: Iterable[str]) -> None:
    others = {kind for kind in kinds if kind not in ("", DICOM)}
    if others:
        raise UnsupportedMediaTypeError(
            f"The body has parts of the kind {', '.join(sorted(others))[:80]!r}, expected {DICOM} only."
        )
