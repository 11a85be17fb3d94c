"""The endpoints of active learning. Where MONAI Label has one of the same path, this one answers instead.

MONAI Label's own hands the same photograph to everybody who asks, and scores in a process that it starts
through a request to itself.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from monailabel.interfaces.utils.app import app_instance

from dermcheck.errors import ArgumentError, NotFoundError
from dermcheck.label_app.endpoints import Annotator, AnyUser
from dermcheck.label_app.next_cases import slicer_client

if TYPE_CHECKING:
    from dermcheck.active_learning.score_keeper import ScoreKeeper
    from dermcheck.label_app.application import DermCheckApp

__all__ = ["router"]

router = APIRouter(tags=["Active learning"])


@router.post("/activelearning/{strategy}", summary="Choose the next photograph to label")
def next_sample(
    http: Request, user: AnyUser, strategy: str, params: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Give id, name, checksum and (for viewers on this machine) path of a photograph, and why this one.

    Nobody else is handed it for an hour, or until its label is submitted or the same `client_id` asks for
    another one. If there is none, the answer has a `detail` that says why, and no `id`.
    """
    app: DermCheckApp = app_instance()
    params = params or {}
    client = str(params.get("client_id") or user.username)
    sample = app.next_sample(params | {"strategy": strategy, "client": slicer_client(client, http)})
    if "id" not in sample:
        return sample
    known = app.datastore().get_image_info(sample["id"])
    handed_out = {strategy: {"ts": int(time.time()), "client_id": client}}
    app.datastore().update_image_info(sample["id"], {"strategy": known.get("strategy", {}) | handed_out})
    return {**sample, **known}


@router.get("/scoring/", summary="Tell how far the scoring of photographs is")
def scoring_status(user: AnyUser) -> dict[str, Any]:
    """Give `state` (loading, waiting, scoring, complete, stopped or failed) and counts."""
    return _scores().progress()


@router.post("/scoring/{method}", summary="Score the photographs now")
@router.post("/scoring/", include_in_schema=False)
def score(user: Annotator, method: str = "", run_sync: bool = False) -> dict[str, Any]:
    """Begin to score in the background what has no scores yet; `GET /scoring/` tells how far it is."""
    app: DermCheckApp = app_instance()
    if method and method not in (known := app.scoring_methods()):
        raise NotFoundError(
            f"There is no scoring method {method!r}; there is {' and '.join(known) or 'none on this server'}."
        )
    if run_sync:
        raise ArgumentError(
            "run_sync would keep this request waiting for minutes or hours. Send the request without it, and "
            "ask GET /scoring/ how far it is."
        )
    scores = _scores()
    scores.start()
    return scores.progress()


@router.delete("/scoring/", summary="Stop the scoring")
def stop_scoring(user: Annotator) -> dict[str, Any]:
    """Stop until it is asked for again, or other models are in use. What is scored stays so."""
    scores = _scores()
    scores.stop()
    return scores.progress()


def _scores() -> ScoreKeeper:
    app: DermCheckApp = app_instance()
    if not app.scoring_methods():
        raise NotFoundError("Scoring is switched off on this server (MONAI_LABEL_TASKS_SCORING).")
    return app.scores
