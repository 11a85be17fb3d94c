"""The studies as DICOMweb resources (`/dicom-web/...`): what OHIF and other viewers ask for."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING, BinaryIO, Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response, StreamingResponse
from monailabel.interfaces.utils.app import app_instance
from starlette.concurrency import run_in_threadpool

from dermcheck.dicom.sop_classes import PHOTOGRAPH_SOP_CLASSES
from dermcheck.dicomweb.accept import (
    MediaRange,
    choose_part,
    choose_whole,
    parse_accept,
    parse_media_type,
)
from dermcheck.dicomweb.frames import NATIVE, frame_numbers, frame_parts, instance_bytes
from dermcheck.dicomweb.levels import Level
from dermcheck.dicomweb.metadata import instance_address, metadata_json
from dermcheck.dicomweb.multipart import multipart_type, new_boundary, read_part_places, write_parts
from dermcheck.dicomweb.plain_rgb import rgb_frames
from dermcheck.dicomweb.rendering import PICTURE_KINDS, THUMBNAIL, Rendering, parse_rendering, render
from dermcheck.dicomweb.statuses import TooLargeError, UnsupportedMediaTypeError
from dermcheck.dicomweb.study_list import list_studies
from dermcheck.errors import ArgumentError, NotFoundError, StorageError
from dermcheck.label_app.endpoints import Annotator, AnyUser

if TYPE_CHECKING:
    from dermcheck.datastore.instances import Instance
    from dermcheck.dicomweb.accept import PartKind
    from dermcheck.dicomweb.proxy import Passed
    from dermcheck.dicomweb.service import DicomWebService
    from dermcheck.label_app.application import DermCheckApp

__all__ = ["LARGEST_BODY_BYTES", "PREFIX", "router"]

PREFIX: Final = "/dicom-web"
_JSON: Final = "application/dicom+json"
_JSON_KINDS: Final = (_JSON, "application/json")
_STUDY: Final = "/studies/{study}"
_SERIES: Final = _STUDY + "/series/{series}"
_INSTANCE: Final = _SERIES + "/instances/{instance}"
_DICOM: Final = "application/dicom"
LARGEST_BODY_BYTES: Final = 1 << 30
"""Of one request to store: about forty uncompressed photographs of a camera."""
_PIXEL_DATA: Final = "7FE00010"
_LONGEST_HEADER: Final = 2000
_ASK_AGAIN: Final = "private, no-cache"
"""Browsers keep an answer and ask whether it is still right: files of a folder may be replaced."""

router = APIRouter(prefix=PREFIX, tags=["DICOMweb"])
viewer_router = APIRouter(prefix=f"/viewer{PREFIX}", include_in_schema=False)
"""Searches of our viewer, whose list of studies is to show those with photographs alone."""


def _service() -> DicomWebService:
    service: DicomWebService = app_instance().dicomweb
    return service


def _pass_on(request: Request, service: DicomWebService, *uids: str) -> Response:
    """Let the archive answer, or the outbox for what the archive does not have yet."""
    if unsent := _unsent(request, service, uids):
        return unsent
    passed = _ask_archive(request, service, request.headers)
    return StreamingResponse(passed.content, passed.status, passed.headers)


def _ask_archive(request: Request, service: DicomWebService, headers: Mapping[str, str]) -> Passed:
    assert service.proxy is not None  # noqa: S101 - there is a proxy where there is no origin
    path = request.url.path.partition(PREFIX)[2]
    return service.proxy.get(path, request.url.query, headers, _root(request))


def _unsent(request: Request, service: DicomWebService, uids: Sequence[str]) -> Response | None:
    """Answer for a series or instance that still waits to be sent to the archive."""
    if len(uids) < 2 or not (waiting := service.unsent(*uids)):
        return None
    if request.url.path.endswith("/metadata"):
        root, study, series = _root(request), uids[0], uids[1]
        listed = [
            metadata_json(dataset, instance_address(root, study, series, dataset.SOPInstanceUID))
            for dataset in waiting
        ]
        return Response(json.dumps(listed), media_type=_JSON)
    parts = [(_DICOM, instance_bytes(dataset, dataset.file_meta.TransferSyntaxUID)) for dataset in waiting]
    return _multipart(_DICOM, parts)


def _multipart(
    kind: str, parts: Iterable[tuple[str, bytes]], headers: dict[str, str] | None = None
) -> Response:
    """Answer with parts that are all of one kind, each with its Content-Type."""
    boundary = new_boundary()
    return Response(
        b"".join(write_parts(parts, boundary)), media_type=multipart_type(kind, boundary), headers=headers
    )


# ---- QIDO-RS (PS3.18 section 10.6) ----


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


@router.get(_STUDY + "/series", summary="Search for the series of a study")
def search_series_of_study(request: Request, user: AnyUser, study: str) -> Response:
    """Search one study's series."""
    return _search(request, Level.SERIES, study)


@router.get(_STUDY + "/instances", summary="Search for the instances of a study")
def search_instances_of_study(request: Request, user: AnyUser, study: str) -> Response:
    """Search one study's instances."""
    return _search(request, Level.INSTANCE, study)


@router.get(_SERIES + "/instances", summary="Search for the instances of a series")
def search_instances_of_series(request: Request, user: AnyUser, study: str, series: str) -> Response:
    """Search one series' instances."""
    return _search(request, Level.INSTANCE, study, series)


@viewer_router.get("/studies")
def search_studies_with_photographs(request: Request, user: AnyUser) -> Response:
    """Search the studies that have photographs."""
    service = _service()
    if service.origin is not None:
        photographs = [("SOPClassesInStudy", ",".join(PHOTOGRAPH_SOP_CLASSES))]
        return _search(request, Level.STUDY, more_keys=photographs)
    assert service.proxy is not None  # noqa: S101 - there is a proxy where there is no origin
    proxy, root = service.proxy, _root(request)
    listed = list_studies(
        lambda keys: proxy.search("/studies", keys, root),
        request.query_params.multi_items(),
        proxy.modalities,
    )
    return Response(json.dumps(listed, ensure_ascii=False), media_type=_JSON)


viewer_router.get(_STUDY + "/series")(search_series_of_study)
viewer_router.get(_STUDY + "/instances")(search_instances_of_study)


def _search(
    request: Request,
    level: Level,
    study: str | None = None,
    series: str | None = None,
    more_keys: Sequence[tuple[str, str]] = (),
) -> Response:
    service = _service()
    if service.origin is None:
        return _pass_on(request, service)
    kind = choose_whole(_accepted(request), _JSON_KINDS)
    parameters = [*request.query_params.multi_items(), *more_keys]
    found = service.origin.search(level, parameters, _root(request), study, series)
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


# ---- WADO-RS (PS3.18 section 10.4) ----


@router.get(_STUDY + "/metadata", summary="Attributes of a study's instances")
def metadata_of_study(request: Request, user: AnyUser, study: str) -> Response:
    """Give DICOM JSON without bulk data."""
    return _metadata(request, study)


@router.get(_SERIES + "/metadata", summary="Attributes of a series' instances")
def metadata_of_series(request: Request, user: AnyUser, study: str, series: str) -> Response:
    """Give DICOM JSON without bulk data."""
    return _metadata(request, study, series)


@router.get(_INSTANCE + "/metadata", summary="Attributes of an instance")
def metadata_of_instance(request: Request, user: AnyUser, study: str, series: str, instance: str) -> Response:
    """Give DICOM JSON without bulk data."""
    return _metadata(request, study, series, instance)


def _metadata(request: Request, *uids: str) -> Response:
    service = _service()
    if service.origin is None:
        return _metadata_of_archive(request, service, *uids)
    kind = choose_whole(_accepted(request), _JSON_KINDS)
    origin, instances = service.origin, service.origin.select(*uids)
    etag = _etag(instances)
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=_cached(etag))
    return Response(origin.metadata(instances, _root(request)), media_type=kind, headers=_cached(etag))


def _metadata_of_archive(request: Request, service: DicomWebService, *uids: str) -> Response:
    """Let the archive answer; photographs that browsers would show wrongly are described as RGB."""
    if unsent := _unsent(request, service, uids):
        return unsent
    # Without If-None-Match: "not modified" would be said of the archive's metadata, not of ours.
    passed = _ask_archive(request, service, {"Accept": request.headers.get("accept", "*/*")})
    content = b"".join(passed.content)
    if passed.status == 200:
        content = service.with_rgb(content, _root(request))
    headers = {name: value for name, value in passed.headers.items() if name in ("Content-Type", "Warning")}
    return Response(content, passed.status, headers)


@router.get(_STUDY + "/rendered", summary="A study's first photograph as a picture")
def rendered_study(request: Request, user: AnyUser, study: str) -> Response:
    """Draw the first photograph."""
    return _picture(request, Rendering(), None, study)


@router.get(_SERIES + "/rendered", summary="A series' first photograph as a picture")
def rendered_series(request: Request, user: AnyUser, study: str, series: str) -> Response:
    """Draw the first photograph."""
    return _picture(request, Rendering(), None, study, series)


@router.get(_INSTANCE + "/rendered", summary="A photograph as a picture")
def rendered_instance(request: Request, user: AnyUser, study: str, series: str, instance: str) -> Response:
    """Draw the photograph as JPEG, PNG or GIF; `viewport=columns,rows` and `quality` are heeded."""
    return _picture(request, Rendering(), None, study, series, instance)


@router.get(_INSTANCE + "/frames/{frame}/rendered", summary="A frame as a picture")
def rendered_frame(
    request: Request, user: AnyUser, study: str, series: str, instance: str, frame: str
) -> Response:
    """Draw one frame."""
    return _picture(request, Rendering(), frame, study, series, instance)


@router.get(_STUDY + "/thumbnail", summary="Thumbnail of a study")
def thumbnail_of_study(request: Request, user: AnyUser, study: str) -> Response:
    """Draw the first photograph small."""
    return _picture(request, THUMBNAIL, None, study)


@router.get(_SERIES + "/thumbnail", summary="Thumbnail of a series")
def thumbnail_of_series(request: Request, user: AnyUser, study: str, series: str) -> Response:
    """Draw the first photograph small."""
    return _picture(request, THUMBNAIL, None, study, series)


@router.get(_INSTANCE + "/thumbnail", summary="Thumbnail of a photograph")
def thumbnail_of_instance(
    request: Request, user: AnyUser, study: str, series: str, instance: str
) -> Response:
    """Draw the photograph small."""
    return _picture(request, THUMBNAIL, None, study, series, instance)


@router.get(_INSTANCE + "/frames/{frame}/thumbnail", summary="Thumbnail of a frame")
def thumbnail_of_frame(
    request: Request, user: AnyUser, study: str, series: str, instance: str, frame: str
) -> Response:
    """Draw one frame small."""
    return _picture(request, THUMBNAIL, frame, study, series, instance)


def _picture(request: Request, default: Rendering, frame: str | None, *uids: str) -> Response:
    rendering = parse_rendering(request.query_params, default)
    number = _one_frame(frame) if frame is not None else None
    service = _service()
    if service.origin is None:
        kind = choose_whole(_accepted(request), PICTURE_KINDS)
        content = render(service.first_photograph(*uids), kind, rendering, number)
    else:
        origin = service.origin
        kind, content = origin.picture(origin.select(*uids), _accepted(request), rendering, number)
    return Response(content, media_type=kind, headers={"Cache-Control": _ASK_AGAIN})


def _one_frame(text: str) -> int:
    numbers = frame_numbers(text)
    if len(numbers) > 1:
        raise ArgumentError(f"frames are {text[:40]!r}, expected one: a picture shows a single frame.")
    return numbers[0]


@router.get(_INSTANCE + "/frames/{frames}", summary="Frames of an instance")
def frames_of_instance(
    request: Request, user: AnyUser, study: str, series: str, instance: str, frames: str
) -> Response:
    """Give frames as they are stored, or uncompressed where the request accepts nothing else."""
    numbers = frame_numbers(frames)
    service = _service()
    if service.origin is None:
        return _frames_of_archive(request, service, numbers, study, series, instance)
    origin, instances = service.origin, service.origin.select(study, series, instance)
    etag = _etag(instances, request.headers.get("accept", ""))
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=_cached(etag))
    kind, contents = origin.frames(instances[0], numbers, _accepted(request))
    return _in_parts(kind, contents, _cached(etag))


def _frames_of_archive(
    request: Request, service: DicomWebService, numbers: Iterable[int], study: str, series: str, instance: str
) -> Response:
    """Let the archive answer; take a photograph's frames out of its instance where it cannot.

    Archives fail so at transfer syntaxes that they store but do not know well: Orthanc 1.10 at deflated,
    big endian and High-Throughput JPEG 2000.
    """
    if photograph := service.rgb_photograph(study, series, instance):
        kind = choose_part(_accepted(request), "application/octet-stream", NATIVE)
        return _in_parts(kind, rgb_frames(photograph, numbers), {"Cache-Control": _ASK_AGAIN})
    passed = _ask_archive(request, service, request.headers)
    if passed.status < 500:
        return StreamingResponse(passed.content, passed.status, passed.headers)
    answer = b"".join(passed.content)
    try:
        photograph = service.first_photograph(study, series, instance)
    except NotFoundError:  # it is a Segmentation, or one of the archive's other objects
        return Response(answer, passed.status, passed.headers)
    return _in_parts(*frame_parts(photograph, numbers, _accepted(request)), {"Cache-Control": _ASK_AGAIN})


def _in_parts(kind: PartKind, contents: Iterable[bytes], headers: dict[str, str]) -> Response:
    return _multipart(kind.kind, ((kind.content_type, content) for content in contents), headers)


@router.get(_INSTANCE + "/bulkdata/{tag}", summary="A binary value of an instance")
def bulk_data_of_instance(
    request: Request, user: AnyUser, study: str, series: str, instance: str, tag: str
) -> Response:
    """Give the bytes that metadata refer to by BulkDataURI, alone or as the part of a multipart answer."""
    service = _service()
    if service.origin is None:
        is_pixels = tag.upper() == _PIXEL_DATA
        if is_pixels and (photograph := service.rgb_photograph(study, series, instance)):
            return _bulk_data(request, lambda: rgb_frames(photograph))
        return _pass_on(request, service)
    origin, instances = service.origin, service.origin.select(study, series, instance)
    return _bulk_data(request, lambda: [origin.bulk_data(instances[0], tag)])


def _bulk_data(request: Request, read: Callable[[], list[bytes]]) -> Response:
    accepted = _accepted(request)
    kind = "application/octet-stream"
    as_part = next(
        (found.multipart and found.kind != "*/*" for found in accepted if found.matches(kind)), None
    )
    if as_part is None:
        choose_whole(accepted, [kind])  # says what there is
    content = b"".join(read())
    if not as_part:
        return Response(content, media_type=kind)
    return _multipart(kind, [(kind, content)])


@router.get(_INSTANCE, summary="An instance as a DICOM file")
def instance_file(request: Request, user: AnyUser, study: str, series: str, instance: str) -> Response:
    """Give the instance as stored, or uncompressed where the request accepts nothing else."""
    return _files(request, study, series, instance)


@router.get(_SERIES, summary="A series as DICOM files")
def series_files(request: Request, user: AnyUser, study: str, series: str) -> Response:
    """Give all instances of a series."""
    return _files(request, study, series)


@router.get(_STUDY, summary="A study as DICOM files")
def study_files(request: Request, user: AnyUser, study: str) -> Response:
    """Give all instances of a study."""
    return _files(request, study)


def _files(request: Request, *uids: str) -> Response:
    service = _service()
    if service.origin is None:
        return _pass_on(request, service, *uids)
    origin, instances = service.origin, service.origin.select(*uids)
    accepted = _accepted(request)
    first = accepted[0] if accepted else None
    if len(instances) == 1 and first and first.kind == "application/dicom" and not first.multipart:
        single = MediaRange("application/dicom", True, first.transfer_syntax, 1.0)
        (_, content), *_ = origin.instances(instances, [single])
        return Response(content, media_type="application/dicom")
    boundary = new_boundary()
    parts = _begun(origin.instances(instances, accepted))
    return StreamingResponse(
        write_parts(parts, boundary), media_type=multipart_type("application/dicom", boundary)
    )


def _begun(parts: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Make the first part now, so that what is wrong with it is still answered with a sentence."""
    iterator = iter(parts)
    first = next(iterator)

    def all_of_them() -> Iterator[tuple[str, bytes]]:
        yield first
        yield from iterator

    return all_of_them()


def _accepted(request: Request) -> list[MediaRange]:
    return parse_accept(request.headers.get("accept"), request.query_params.get("accept"))


def _root(request: Request) -> str:
    return f"{str(request.base_url).rstrip('/')}{PREFIX}"


def _etag(instances: Sequence[Instance], *more: str) -> str:
    said = hash((*((found.key, found.revision) for found in instances), *more))
    return f'"{said & 0xFFFFFFFFFFFFFFFF:016x}"'


def _cached(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": _ASK_AGAIN, "Vary": "Accept"}


# ---- STOW-RS (PS3.18 section 10.5) ----


@router.post("/studies", summary="Store instances")
async def store(request: Request, user: Annotator) -> Response:
    """Store DICOM files sent as multipart/related; see `Receiver.receive` for what is refused or changed."""
    return await _store(request, None)


@router.post(_STUDY, summary="Store instances of one study")
async def store_in_study(request: Request, user: Annotator, study: str) -> Response:
    """Store DICOM files of one study."""
    return await _store(request, study)


async def _store(request: Request, study: str | None) -> Response:
    choose_whole(_accepted(request), _JSON_KINDS)
    boundary = _boundary(request.headers.get("content-type", ""))
    with tempfile.TemporaryFile(prefix="dermcheck-") as file:
        await _receive_body(request, file)
        return await run_in_threadpool(_store_parts, file, boundary, _root(request), study)


def _boundary(content_type: str) -> str:
    """Return the boundary of a multipart body, empty for a single file."""
    kind, parameters = parse_media_type(content_type)
    parts = parameters.get("type", _DICOM).lower() if kind == "multipart/related" else kind
    if parts != _DICOM:
        raise UnsupportedMediaTypeError(
            f"Content-Type is {content_type[:80]!r}, expected multipart/related; type={_DICOM!r} with DICOM "
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
    return Response(stored.to_json(), stored.http_status, headers, _JSON)


def _check_kinds(kinds: Iterable[str]) -> None:
    others = {kind for kind in kinds if kind not in ("", _DICOM)}
    if others:
        raise UnsupportedMediaTypeError(
            f"The body has parts of the kind {', '.join(sorted(others))[:80]!r}, expected {_DICOM} only."
        )


# ---- everything else ----


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
