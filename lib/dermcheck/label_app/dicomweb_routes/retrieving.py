"""Retrieval: WADO-RS (PS3.18 section 10.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from dermcheck.dicomweb.accept import MediaRange, choose_part, choose_whole
from dermcheck.dicomweb.frames import NATIVE, frame_numbers, frame_parts
from dermcheck.dicomweb.multipart import multipart_type, new_boundary, write_parts
from dermcheck.dicomweb.plain_rgb import rgb_frames
from dermcheck.dicomweb.rendering import PICTURE_KINDS, THUMBNAIL, Rendering, parse_rendering, render
from dermcheck.errors import ArgumentError, NotFoundError
from dermcheck.label_app.dicomweb_routes.answering import (
    INSTANCE,
    JSON_KINDS,
    SERIES,
    STUDY,
    accepted_kinds,
    answer_unsent,
    ask_archive,
    multipart_response,
    pass_on,
    root_address,
    service_in_use,
)
from dermcheck.label_app.endpoints import AnyUser

if TYPE_CHECKING:
    from dermcheck.datastore.instances import Instance
    from dermcheck.dicomweb.accept import PartKind
    from dermcheck.dicomweb.service import DicomWebService

__all__ = ["router"]

_PIXEL_DATA: Final = "7FE00010"
_ASK_AGAIN: Final = "private, no-cache"
"""Browsers keep an answer and ask whether it is still right: files of a folder may be replaced."""

router = APIRouter()


@router.get(STUDY + "/metadata", summary="Attributes of a study's instances")
def metadata_of_study(request: Request, user: AnyUser, study: str) -> Response:
    """Give DICOM JSON without bulk data."""
    return _metadata(request, study)


@router.get(SERIES + "/metadata", summary="Attributes of a series' instances")
def metadata_of_series(request: Request, user: AnyUser, study: str, series: str) -> Response:
    """Give DICOM JSON without bulk data."""
    return _metadata(request, study, series)


@router.get(INSTANCE + "/metadata", summary="Attributes of an instance")
def metadata_of_instance(request: Request, user: AnyUser, study: str, series: str, instance: str) -> Response:
    """Give DICOM JSON without bulk data."""
    return _metadata(request, study, series, instance)


def _metadata(request: Request, *uids: str) -> Response:
    service = service_in_use()
    if service.origin is None:
        return _metadata_of_archive(request, service, *uids)
    kind = choose_whole(accepted_kinds(request), JSON_KINDS)
    origin, instances = service.origin, service.origin.select(*uids)
    etag = _etag(instances)
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=_cached(etag))
    return Response(origin.metadata(instances, root_address(request)), media_type=kind, headers=_cached(etag))


def _metadata_of_archive(request: Request, service: DicomWebService, *uids: str) -> Response:
    """Let the archive answer; photographs that browsers would show wrongly are described as RGB."""
    if unsent := answer_unsent(request, service, uids):
        return unsent
    # Without If-None-Match: "not modified" would be said of the archive's metadata, not of ours.
    passed = ask_archive(request, service, {"Accept": request.headers.get("accept", "*/*")})
    content = b"".join(passed.content)
    if passed.status == 200:
        content = service.with_rgb(content, root_address(request))
    headers = {name: value for name, value in passed.headers.items() if name in ("Content-Type", "Warning")}
    return Response(content, passed.status, headers)


@router.get(STUDY + "/rendered", summary="A study's first photograph as a picture")
def rendered_study(request: Request, user: AnyUser, study: str) -> Response:
    """Draw the first photograph."""
    return _picture(request, Rendering(), None, study)


@router.get(SERIES + "/rendered", summary="A series' first photograph as a picture")
def rendered_series(request: Request, user: AnyUser, study: str, series: str) -> Response:
    """Draw the first photograph."""
    return _picture(request, Rendering(), None, study, series)


@router.get(INSTANCE + "/rendered", summary="A photograph as a picture")
def rendered_instance(request: Request, user: AnyUser, study: str, series: str, instance: str) -> Response:
    """Draw the photograph as JPEG, PNG or GIF; `viewport=columns,rows` and `quality` are heeded."""
    return _picture(request, Rendering(), None, study, series, instance)


@router.get(INSTANCE + "/frames/{frame}/rendered", summary="A frame as a picture")
def rendered_frame(
    request: Request, user: AnyUser, study: str, series: str, instance: str, frame: str
) -> Response:
    """Draw one frame."""
    return _picture(request, Rendering(), frame, study, series, instance)


@router.get(STUDY + "/thumbnail", summary="Thumbnail of a study")
def thumbnail_of_study(request: Request, user: AnyUser, study: str) -> Response:
    """Draw the first photograph small."""
    return _picture(request, THUMBNAIL, None, study)


@router.get(SERIES + "/thumbnail", summary="Thumbnail of a series")
def thumbnail_of_series(request: Request, user: AnyUser, study: str, series: str) -> Response:
    """Draw the first photograph small."""
    return _picture(request, THUMBNAIL, None, study, series)


@router.get(INSTANCE + "/thumbnail", summary="Thumbnail of a photograph")
def thumbnail_of_instance(
    request: Request, user: AnyUser, study: str, series: str, instance: str
) -> Response:
    """Draw the photograph small."""
    return _picture(request, THUMBNAIL, None, study, series, instance)


@router.get(INSTANCE + "/frames/{frame}/thumbnail", summary="Thumbnail of a frame")
def thumbnail_of_frame(
    request: Request, user: AnyUser, study: str, series: str, instance: str, frame: str
) -> Response:
    """Draw one frame small."""
    return _picture(request, THUMBNAIL, frame, study, series, instance)


def _picture(request: Request, default: Rendering, frame: str | None, *uids: str) -> Response:
    rendering = parse_rendering(request.query_params, default)
    number = _one_frame(frame) if frame is not None else None
    service = service_in_use()
    if service.origin is None:
        kind = choose_whole(accepted_kinds(request), PICTURE_KINDS)
        content = render(service.first_photograph(*uids), kind, rendering, number)
    else:
        origin = service.origin
        kind, content = origin.picture(origin.select(*uids), accepted_kinds(request), rendering, number)
    return Response(content, media_type=kind, headers={"Cache-Control": _ASK_AGAIN})


def _one_frame(text: str) -> int:
    numbers = frame_numbers(text)
    if len(numbers) > 1:
        raise ArgumentError(f"frames are {text[:40]!r}, expected one: a picture shows a single frame.")
    return numbers[0]


@router.get(INSTANCE + "/frames/{frames}", summary="Frames of an instance")
def frames_of_instance(
    request: Request, user: AnyUser, study: str, series: str, instance: str, frames: str
) -> Response:
    """Give frames as they are stored, or uncompressed where the request accepts nothing else."""
    numbers = frame_numbers(frames)
    service = service_in_use()
    if service.origin is None:
        return _frames_of_archive(request, service, numbers, study, series, instance)
    origin, instances = service.origin, service.origin.select(study, series, instance)
    etag = _etag(instances, request.headers.get("accept", ""))
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=_cached(etag))
    kind, contents = origin.frames(instances[0], numbers, accepted_kinds(request))
    return _in_parts(kind, contents, _cached(etag))


def _frames_of_archive(
    request: Request, service: DicomWebService, numbers: Iterable[int], study: str, series: str, instance: str
) -> Response:
    """Let the archive answer; take a photograph's frames out of its instance where it cannot.

    Archives fail so at transfer syntaxes that they store but do not know well: Orthanc 1.10 at deflated,
    big endian and High-Throughput JPEG 2000.
    """
    if photograph := service.rgb_photograph(study, series, instance):
        kind = choose_part(accepted_kinds(request), "application/octet-stream", NATIVE)
        return _in_parts(kind, rgb_frames(photograph, numbers), {"Cache-Control": _ASK_AGAIN})
    passed = ask_archive(request, service, request.headers)
    if passed.status < 500:
        return StreamingResponse(passed.content, passed.status, passed.headers)
    answer = b"".join(passed.content)
    try:
        photograph = service.first_photograph(study, series, instance)
    except NotFoundError:  # it is a Segmentation, or one of the archive's other objects
        return Response(answer, passed.status, passed.headers)
    return _in_parts(
        *frame_parts(photograph, numbers, accepted_kinds(request)), {"Cache-Control": _ASK_AGAIN}
    )


def _in_parts(kind: PartKind, contents: Iterable[bytes], headers: dict[str, str]) -> Response:
    return multipart_response(kind.kind, ((kind.content_type, content) for content in contents), headers)


@router.get(INSTANCE + "/bulkdata/{tag}", summary="A binary value of an instance")
def bulk_data_of_instance(
    request: Request, user: AnyUser, study: str, series: str, instance: str, tag: str
) -> Response:
    """Give the bytes that metadata refer to by BulkDataURI, alone or as the part of a multipart answer."""
    service = service_in_use()
    if service.origin is None:
        is_pixels = tag.upper() == _PIXEL_DATA
        if is_pixels and (photograph := service.rgb_photograph(study, series, instance)):
            return _bulk_data(request, lambda: rgb_frames(photograph))
        return pass_on(request, service)
    origin, instances = service.origin, service.origin.select(study, series, instance)
    return _bulk_data(request, lambda: [origin.bulk_data(instances[0], tag)])


def _bulk_data(request: Request, read: Callable[[], list[bytes]]) -> Response:
    accepted = accepted_kinds(request)
    kind = "application/octet-stream"
    as_part = next(
        (found.multipart and found.kind != "*/*" for found in accepted if found.matches(kind)), None
    )
    if as_part is None:
        choose_whole(accepted, [kind])  # says what there is
    content = b"".join(read())
    if not as_part:
        return Response(content, media_type=kind)
    return multipart_response(kind, [(kind, content)])


@router.get(INSTANCE, summary="An instance as a DICOM file")
def instance_file(request: Request, user: AnyUser, study: str, series: str, instance: str) -> Response:
    """Give the instance as stored, or uncompressed where the request accepts nothing else."""
    return _files(request, study, series, instance)


@router.get(SERIES, summary="A series as DICOM files")
def series_files(request: Request, user: AnyUser, study: str, series: str) -> Response:
    """Give all instances of a series."""
    return _files(request, study, series)


@router.get(STUDY, summary="A study as DICOM files")
def study_files(request: Request, user: AnyUser, study: str) -> Response:
    """Give all instances of a study."""
    return _files(request, study)


def _files(request: Request, *uids: str) -> Response:
    service = service_in_use()
    if service.origin is None:
        return pass_on(request, service, *uids)
    origin, instances = service.origin, service.origin.select(*uids)
    accepted = accepted_kinds(request)
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


def _etag(instances: Sequence[Instance], *more: str) -> str:
    said = hash((*((found.key, found.revision) for found in instances), *more))
    return f'"{said & 0xFFFFFFFFFFFFFFFF:016x}"'


def _cached(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": _ASK_AGAIN, "Vary": "Accept"}
