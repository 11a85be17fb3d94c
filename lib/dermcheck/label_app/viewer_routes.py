"""The routes that our module in OHIF calls (`/viewer/...`); `dermcheck.viewer` attaches them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Body, Header, Query, Request
from fastapi.responses import RedirectResponse
from monailabel.config import settings
from monailabel.interfaces.utils.app import app_instance
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from dermcheck.dicom.segmentation import LesionSegment, read_segmentation
from dermcheck.errors import ArgumentError, DermCheckError, NotFoundError
from dermcheck.label_app.browser_masks import encode_label_map
from dermcheck.label_app.browser_submissions import BrowserSubmission
from dermcheck.label_app.endpoints import Annotator, AnyUser
from dermcheck.label_app.start_page import spoken_language
from dermcheck.label_app.submissions import UNKNOWN_CLINICIAN
from dermcheck.lesions import LESION_CLASSES, Language

if TYPE_CHECKING:
    from dermcheck.datastore import StoredLabel
    from dermcheck.label_app.application import DermCheckApp

__all__ = ["NextRequest", "router"]

router = APIRouter(prefix="/viewer", tags=["Viewer"])

_MODEL: Final = "dermcheck"
_PAGE: Final = "/ohif/derm"


class NextRequest(BaseModel):
    """Which photograph is wanted next."""

    model_config = ConfigDict(extra="forbid")

    strategy: str = ""
    """Empty for the first that there is."""
    skip: list[str] = []
    """Photographs that the viewer has already: open, or submitted and still on the way."""
    client: str = ""
    """Random id of the browser."""
    clinician: str = ""
    language: Language = "en"
    """Of the reason."""


@router.get("/settings", summary="What the viewer must know once")
def settings_of_viewer(user: AnyUser) -> dict[str, Any]:
    """Give the seven classes with their colours, the strategies and, where it tells, who is logged in."""
    app: DermCheckApp = app_instance()
    return {
        "classes": [
            {
                "name": lesion.name,
                "colour": lesion.colour,
                "meanings": {"en": lesion.meaning, "de": lesion.german},
                "short": {"en": lesion.short, "de": lesion.german_short},
            }
            for lesion in LESION_CLASSES
        ],
        "strategies": {name: task.description for name, task in app.strategies().items()},
        "user": _logged_in(user),
    }


@router.get("/photographs/{image}", summary="What is known of one photograph, with its newest outline")
def photograph(
    user: AnyUser, image: str, client: str = "", clinician: str = "", second_reading: bool = False
) -> dict[str, Any]:
    """Describe a photograph, its newest label by a human (else by a model), and who else has it open.

    A label that cannot be read does not keep the photograph from being worked on: `problem` says why.
    For a second reading no label is given; `newest` names that of a human all the same, so that the
    viewer can tell at its submission what it knew of.
    """
    app: DermCheckApp = app_instance()
    header = app.store.header(image)
    answer: dict[str, Any] = {
        "image": image,
        "study": header.study_instance_uid,
        "series": header.series_instance_uid,
        "rows": header.rows,
        "columns": header.columns,
        "site": header.anatomic_site,
        "laterality": header.laterality,
        "lesion": header.tracking_id,
        "acquired": header.acquired.isoformat() if header.acquired else None,
        "spacing_mm": header.pixel_spacing_mm,
        "label": None,
        "newest": None,
        "problem": None,
    }
    final = app.store.latest_final(image)
    answer["newest"] = final.sop_instance_uid if final else None
    label = final or next(reversed(app.store.labels(image)), None)
    if label is not None and not second_reading:
        try:
            segments = read_segmentation(app.store.retrieve_label(label.sop_instance_uid), header)
            answer["label"] = _listed(label) | _outline(segments, header.rows, header.columns)
        except DermCheckError as error:
            answer["problem"] = str(error)
    visits = app.worklist.enter(image, client, _logged_in(user) or clinician) if client else []
    answer["visitors"] = [
        {"clinician": visit.clinician, "minutes": round(seconds / 60)} for visit, seconds in visits
    ]
    answer["reason"] = app.worklist.reason(image, client)
    return answer


@router.post("/predictions/{image}", summary="Predict on one photograph; nothing is stored")
async def predict(request: Request, user: AnyUser, image: str) -> dict[str, Any]:
    """Give outline and diagnosis as the viewer shows them."""
    app: DermCheckApp = app_instance()
    if known := await run_in_threadpool(app.known, image, _MODEL):
        return {"image": image, **known.params}
    reply, _ = await app.predictions.answer(request, ("viewer", image), lambda: app.predict(image, _MODEL))
    return {"image": image, **reply.params}


@router.post("/submissions", summary="Store outlines and diagnoses of one photograph, once")
def submit(user: Annotator, submission: BrowserSubmission, client: str = "") -> dict[str, Any]:
    """Keep a submission as a DICOM Segmentation beside its photograph.

    Sending the same `id` again stores nothing again. `others` lists what other clinicians stored for
    this photograph meanwhile; all of it is kept.
    """
    app: DermCheckApp = app_instance()
    submitted = app.submissions.submit(submission, _logged_in(user))
    label = submitted.label
    if not submitted.repeated:
        noted = submission.model_dump(mode="json", exclude={"mask", "rows", "columns", "image"})
        app.datastore().update_label_info(label.sop_instance_uid, "final", noted | {"viewer": "OHIF"})
        app.on_save_label(submission.image, label.sop_instance_uid)
    app.worklist.leave(submission.image, client)
    return {
        "label": _listed(label),
        "repeated": submitted.repeated,
        "others": [_listed(other) for other in submitted.others],
        "queue": _queue(app, label.creator or ""),
    }


@router.post("/next", summary="Choose the next photograph to label")
def next_photograph(user: AnyUser, wanted: Annotated[NextRequest, Body()]) -> dict[str, Any]:
    """Give image, study and series of a photograph, and the `reason` for it; nobody else is handed it.

    With `second_reading` it has a label that must not be shown. `image` is null if there is none, and
    `detail` then says why.
    """
    app: DermCheckApp = app_instance()
    clinician = _logged_in(user) or wanted.clinician
    case = app.next_cases.choose(
        wanted.strategy,
        client=wanted.client,
        clinician=clinician,
        skip=wanted.skip,
        language=wanted.language,
    )
    answer: dict[str, Any] = {
        "image": case.image,
        "reason": case.reason,
        "second_reading": case.second_reading,
        "detail": case.detail,
        "queue": _queue(app, clinician),
    }
    if case.image is not None:
        header = app.store.header(case.image)
        answer |= {"study": header.study_instance_uid, "series": header.series_instance_uid}
    return answer


class LeaseRequest(BaseModel):
    """Which photographs a browser has in hand."""

    model_config = ConfigDict(extra="forbid")

    images: list[str] = Field(max_length=10)
    client: str = Field(min_length=1, max_length=64)
    clinician: str = ""


@router.post("/leases", summary="Say that photographs are still in hand")
def renew_leases(user: AnyUser, lease: LeaseRequest) -> dict[str, int]:
    """Keep photographs from being handed to others for some more minutes; unknown ones are passed over."""
    app: DermCheckApp = app_instance()
    known = [image for image in lease.images if app.store.has_image(image)]
    for image in known:
        app.worklist.enter(image, lease.client, _logged_in(user) or lease.clinician)
    return {"renewed": len(known)}


@router.delete("/leases", summary="Give photographs back")
def give_back(
    user: AnyUser, client: str, image: Annotated[list[str], Query(max_length=10)]
) -> dict[str, int]:
    """Let others be handed photographs that a browser has left without a submission."""
    app: DermCheckApp = app_instance()
    for one in image:
        app.worklist.leave(one, client)
    return {"given_back": len(image)}


@router.get("/start", include_in_schema=False)
def start(
    user: AnyUser, strategy: str = "", accept_language: Annotated[str, Header()] = ""
) -> RedirectResponse:
    """Open the viewer at the next photograph, or at the list of studies if none is left."""
    app: DermCheckApp = app_instance()
    case = app.next_cases.choose(strategy, language=spoken_language(accept_language))
    if case.image is None:
        return RedirectResponse("/ohif/", 303)
    header = app.store.header(case.image)
    place = f"StudyInstanceUIDs={header.study_instance_uid}&image={case.image}"
    if case.second_reading:
        place += "&again=1"
    return RedirectResponse(f"{_PAGE}?{place}", 303)


@router.get("/queue", summary="How much is done, and how much is left")
def queue(user: AnyUser, clinician: str = "") -> dict[str, int]:
    """Count photographs: all, done, left, and those that this clinician has labelled."""
    return _queue(app_instance(), _logged_in(user) or clinician)


@router.get("/training", summary="What the training does")
def training(user: AnyUser) -> dict[str, Any]:
    """Tell which models can be trained, whether one is, its progress, and how the last one ended."""
    app: DermCheckApp = app_instance()
    info = app.info()
    return {
        "trainers": list(info["trainers"]),
        "running": _is_training(app),
        "stats": info["train_stats"],
    }


@router.get("/doctor", summary="Examine the installation")
def doctor(user: AnyUser) -> dict[str, Any]:
    """Give what `dermcheck doctor` finds: name, found and (where something is wrong) advice."""
    app: DermCheckApp = app_instance()
    if app.examine is None:
        raise NotFoundError("This server cannot examine itself. Run `dermcheck doctor` on its computer.")
    return {"findings": app.examine()}


def _is_training(app: DermCheckApp) -> bool:
    if app.trainers is None:
        return False
    try:
        app.trainers.status(running_only=True)
    except NotFoundError:
        return False
    return True


def _outline(segments: list[LesionSegment], rows: int, columns: int) -> dict[str, Any]:
    """Flatten segments into one label map; where lesions overlap, the later one is shown."""
    if len(segments) > np.iinfo(np.uint8).max:
        raise ArgumentError(f"The label holds {len(segments)} lesions, the viewer shows at most 255.")
    label_map = np.zeros((rows, columns), np.uint8)
    for value, segment in enumerate(segments, start=1):
        label_map[segment.mask] = value
    lesions = [
        {
            "value": value,
            "diagnosis": segment.lesion_class.name if segment.lesion_class else None,
            "tracking_id": segment.tracking_id,
            "tracking_uid": segment.tracking_uid,
        }
        for value, segment in enumerate(segments, start=1)
        if segment.mask.any() or segment.lesion_class
    ]
    return {"rows": rows, "columns": columns, "mask": encode_label_map(label_map), "lesions": lesions}


def _listed(label: StoredLabel) -> dict[str, Any]:
    return {
        "id": label.sop_instance_uid,
        "automatic": label.automatic,
        "creator": label.creator,
        "created": label.created.isoformat() if label.created.year > 1 else None,
    }


def _queue(app: DermCheckApp, clinician: str) -> dict[str, int]:
    name = clinician.strip() or UNKNOWN_CLINICIAN
    films = app.store.multi_frame_ids()  # nobody is asked to label them
    image_ids = [image for image in app.store.image_ids() if image not in films]
    done = app.store.finished_ids().intersection(image_ids)
    yours = sum(
        any(label.creator == name for label in app.store.labels(image_id) if not label.automatic)
        for image_id in done
    )
    left = len(app.datastore().get_unlabeled_images())
    return {"total": len(image_ids), "done": len(done), "left": left, "yours": yours}


def _logged_in(user: Any) -> str | None:
    return str(user.username) if settings.MONAI_LABEL_AUTH_ENABLE else None
