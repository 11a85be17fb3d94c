"""DermCheck's own endpoints. Where MONAI Label has one of the same path, this one answers instead.

They are here because MONAI Label's own

- predict in the event loop, so that every other request waits (ours wait for their turn in
  `PredictionQueue`, and are plain functions otherwise, which FastAPI runs in threads);
- open an `image` that exists as a path on the server, unpack archives, and leave an upload's
  temporary file behind when the request fails;
- write DICOM Segmentations with a program that they download;
- kill a training instead of stopping it, and start a child process for scorings and batches that cannot run,
  and report success.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, File, Form, HTTPException, Query, Request, UploadFile
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.utils.app import app_instance
from requests_toolbelt import MultipartEncoder
from starlette.concurrency import run_in_threadpool

from dermcheck.errors import ArgumentError, DermCheckError, NotFoundError
from dermcheck.label_app.answers import SEGMENTATION_SUFFIX, Reply, wanted_form
from dermcheck.label_app.next_cases import LONG_LEASE_S, slicer_client
from dermcheck.label_app.sessions import safe_file_name
from dermcheck.label_app.source_image import SentPhotograph, read_sent
from dermcheck.label_app.start_page import (
    HEADERS,
    START_PAGE_WITHOUT_LIST,
    Listed,
    render_start_page,
    spoken_language,
)
from dermcheck.label_app.train_tasks import Trainers
from dermcheck.learning.place import TrainingRunsError

if TYPE_CHECKING:
    from dermcheck.label_app.application import DermCheckApp

__all__ = ["Output", "router"]

router = APIRouter(tags=["DermCheck"])

AnyUser = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))]
Annotator = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))]
Administrator = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))]


class Output(str, Enum):
    """Kinds of answers to a prediction, named as in MONAI Label."""

    image = "image"
    json = "json"
    all = "all"
    dicom_seg = "dicom_seg"


@router.get("/", include_in_schema=False)
def start_page(
    http: Request, listed: Annotated[Listed, Query(alias="list")] = "open", page: int = 1
) -> Response:
    """Say what to do next; unlike MONAI Label's page it loads nothing from the internet."""
    if settings.MONAI_LABEL_AUTH_ENABLE:  # the list is for those who have logged in; a page cannot log in
        return HTMLResponse(START_PAGE_WITHOUT_LIST, headers=HEADERS)
    language = spoken_language(http.headers.get("accept-language", ""))
    return HTMLResponse(render_start_page(app_instance(), language, listed, page), headers=HEADERS)


@router.post("/infer/{model}", summary="Predict on one photograph")
async def infer(
    http: Request,
    user: AnyUser,
    model: str,
    image: str = "",
    session_id: str = "",
    params: Annotated[str, Form()] = "{}",
    file: Annotated[UploadFile | None, File()] = None,
    output: Output | None = None,
) -> Response:
    """Predict on a photograph of the studies (`image`), of a session, or sent along (`file`).

    `params` is a JSON object with `result_extension` (.nrrd, .nii.gz or .seg.nrrd) and `save_label`.
    The answer is `params` and the mask as multipart (`output` all or left out), the one or the
    other (json, image), or a DICOM Segmentation (dicom_seg).
    """
    request = _json_object(params)
    app: DermCheckApp = app_instance()
    form = SEGMENTATION_SUFFIX if output is Output.dicom_seg else wanted_form(request)
    keep = bool(request.get("save_label"))
    is_of_studies = bool(image) and not session_id and file is None
    app.worklist.renew(image, slicer_client(request.get("client_id") or user.username, http), LONG_LEASE_S)
    if is_of_studies and not keep and (known := await run_in_threadpool(app.known, image, model, form)):
        return _answer(known, form, output)

    def work() -> Response:
        photograph: object = image
        if session_id:
            photograph = app.sessions().photograph(session_id)
        elif file is not None:
            photograph = _read_sent_photograph(file)
        reply, _ = app.predict(photograph, model, form, keep=keep)
        return _answer(reply, form, output)

    key = object() if file is not None or keep else (model, image, session_id, form, output)
    return await app.predictions.answer(http, key, work, may_leave=not keep)


def _answer(reply: Reply, form: str, output: Output | None) -> Response:
    media_type = "application/dicom" if form == SEGMENTATION_SUFFIX else "application/octet-stream"
    name = f"mask{form}"
    if output is Output.json:
        return JSONResponse(reply.params)
    if output in (Output.image, Output.dicom_seg):
        disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(reply.content, media_type=media_type, headers=disposition)
    parts = {
        "params": (None, json.dumps(reply.params), "application/json"),
        "image": (name, reply.content, media_type),
    }
    body = MultipartEncoder(fields=parts)
    return Response(body.to_string(), media_type=body.content_type)


@router.put("/datastore/label", summary="Submit a label")
def save_label(
    http: Request,
    user: Annotator,
    image: str,
    label: Annotated[UploadFile, File()],
    params: Annotated[str, Form()] = "{}",
    tag: str = "final",
) -> dict[str, Any]:
    """Keep a mask as a DICOM Segmentation beside its photograph.

    `label` is .nii.gz, .nrrd, .seg.nrrd or a DICOM Segmentation; `label_info` in `params` names the
    segments, as 3D Slicer sends it.
    """
    details = _with_user(_json_object(params), user)
    app = app_instance()
    with _stored(label) as path:
        label_id = app.datastore().save_label(image, str(path), tag or "final", details)
    client = slicer_client(details.get("client_id") or user.username, http)
    app.worklist.leave(app.datastore().resolve(image), client)
    return {**(app.on_save_label(image, label_id) or {}), "image": image, "label": label_id}


@router.put("/datastore/image", summary="Add a photograph to the studies")
@router.put("/datastore/", include_in_schema=False)  # the path that 3D Slicer uses
def add_image(
    user: Annotator,
    file: Annotated[UploadFile, File()],
    image: str = "",
    params: Annotated[str, Form()] = "{}",
) -> dict[str, str]:
    """Add a photograph; the answer's `image` is its id."""
    details = _with_user(_json_object(params), user)
    with _stored(file) as path:
        return {"image": app_instance().datastore().add_image(image or path.name, str(path), details)}


@router.put("/session/", summary="Send a photograph to be looked at once")
def create_session(
    user: AnyUser,
    files: Annotated[list[UploadFile], File()],
    uncompress: bool = False,
    expiry: int = 0,
) -> dict[str, Any]:
    """Keep one photograph (DICOM, JPEG, PNG, TIFF, NRRD or NIfTI) for an hour, outside the studies."""
    sessions = app_instance().sessions()
    if sessions is None:
        raise ArgumentError("Sessions are switched off on this server (MONAI_LABEL_SESSIONS).")
    if uncompress or len(files) != 1:
        raise ArgumentError(
            f"The session holds {len(files)} files{' to be unpacked' if uncompress else ''}, expected one "
            "photograph. Send a single file that is not an archive."
        )
    session_id, info = sessions.keep(files[0].file, files[0].filename or "", expiry)
    return {"session_id": session_id, "session_info": info.to_json()}


@router.post("/train/{model}", summary="Train a model on the corrections")
@router.post("/train/", include_in_schema=False)
def train(
    user: Administrator,
    model: str = "",
    params: dict[str, Any] | None = None,
    run_sync: bool = False,
    enqueue: bool = False,
) -> Any:
    """Start a training in a process of its own; `GET /train/` and `/info/` tell how far it is.

    Answered with 429 if another one runs, unless it may wait (`enqueue`). Without a model, all are trained,
    one after the other.
    """
    if run_sync:
        raise ArgumentError(
            "run_sync would train inside the server, which then answers nobody. Send the request without it."
        )
    with _busy_as_429():
        if model:
            return _trainers().start(model, params or {}, enqueue=enqueue)
        return _trainers().start_all(params or {})


@router.get("/train/", summary="Tell how the latest training is")
def training_status(
    user: AnyUser,
    all: bool = False,  # noqa: A002  # MONAI Label's name
    check_if_running: bool = False,
) -> Any:
    """Give its `status` (SUBMITTED, RUNNING, DONE, ERROR or STOPPED), last lines and `progress`."""
    return _trainers().status(all_of_them=all, running_only=check_if_running)


@router.delete("/train/", summary="Stop the training")
def stop_training(user: Administrator) -> Any:
    """Let the training write where it is, and end it; the same training goes on from there next time."""
    with _busy_as_429():
        return _trainers().stop()


@router.post("/batch/infer/{model}", summary="Predict on many photographs")
def batch_infer(user: Administrator, model: str) -> None:
    """Refuse: the command line does it, with progress and a list of failures."""
    raise ArgumentError("Predict on many photographs with the command `dermcheck batch`.")


@router.put("/model/{model}", include_in_schema=False)
@router.delete("/model/{model}", include_in_schema=False)
def change_model(user: Administrator, model: str) -> None:
    """Refuse: whoever reaches the server must not be able to exchange the weights."""
    raise ArgumentError("Models cannot be exchanged or removed over the network.")


@router.get("/logs/", include_in_schema=False)
def logs(user: Administrator, lines: int = 300) -> PlainTextResponse:
    """Give the last lines of MONAI Label's log as text; its own page loads programs from the internet."""
    path = Path(settings.MONAI_LABEL_APP_DIR, "logs", "app.log")
    try:
        with path.open(encoding="utf-8", errors="replace") as log:
            return PlainTextResponse("".join(deque(log, max(1, lines))))
    except FileNotFoundError:
        raise NotFoundError("This server writes its log to the terminal that it was started in.") from None


@router.get("/logs/gpu", include_in_schema=False)
def gpu_info(user: Administrator) -> None:
    """Refuse: it would run a program that most machines do not have."""
    raise NotFoundError("To see the graphics card, run `dermcheck doctor` on the server.")


@router.get("/proxy/dicom/{path:path}", include_in_schema=False)
@router.post("/proxy/dicom/{path:path}", include_in_schema=False)
def proxy(user: AnyUser, path: str) -> None:
    """Refuse: it would pass on any request, with the server's own log-in."""
    raise NotFoundError("DermCheck passes no requests on here. Ask for studies at /dicom-web.")


def _read_sent_photograph(file: UploadFile) -> SentPhotograph:
    with _stored(file) as path:
        return read_sent(path)


@contextmanager
def _stored(upload: UploadFile) -> Iterator[Path]:
    """Put an upload into a temporary folder of its own, under the last part of its own name.

    Sentences about it name the file as it was sent, not where it lay on the server.
    """
    with tempfile.TemporaryDirectory(prefix="dermcheck-") as folder:
        path = Path(folder) / safe_file_name(upload.filename or "")
        with path.open("wb") as file:
            shutil.copyfileobj(upload.file, file)
        try:
            yield path
        except DermCheckError as error:
            raise type(error)(str(error).replace(f"{folder}{os.sep}", "")) from error


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text or "{}")  # a JSONDecodeError is answered with a sentence
    if not isinstance(value, dict):
        raise ArgumentError(f"params is a JSON {type(value).__name__}, expected an object like {{...}}.")
    return value


def _with_user(details: dict[str, Any], user: User) -> dict[str, Any]:
    """Say who sends it, where a log-in tells."""
    return details | {"user": user.username} if settings.MONAI_LABEL_AUTH_ENABLE else details


def _trainers() -> Trainers:
    trainers: Trainers | None = app_instance().trainers
    if trainers is None:
        raise NotFoundError(
            "This server cannot train: it predicts with fixed models (--models), or its trainings are "
            "switched off (MONAI_LABEL_TASKS_TRAIN)."
        )
    return trainers


@contextmanager
def _busy_as_429() -> Iterator[None]:
    """Answer with MONAI Label's status where another training runs."""
    try:
        yield
    except TrainingRunsError as error:
        raise HTTPException(429, str(error)) from error
