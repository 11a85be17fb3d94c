import errno
import json

import pytest
from fastapi import FastAPI
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException
from starlette.testclient import TestClient

from dermcheck.dicomweb.statuses import BusyError
from dermcheck.errors import (
    ArgumentError,
    DermCheckError,
    MaskError,
    ModelError,
    NotAPhotographError,
    NotFoundError,
    StorageError,
    UnreadableImageError,
)
from dermcheck.label_app.server import attach, http_status


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (ArgumentError, 400),
        (NotFoundError, 404),
        (UnreadableImageError, 422),
        (NotAPhotographError, 422),
        (MaskError, 422),
        (ModelError, 503),
        (StorageError, 503),
        (DermCheckError, 400),
    ],
)
def test_each_kind_of_error_has_its_status(kind, status):
    assert http_status(kind("sentence")) == status


@pytest.mark.parametrize(("number", "status"), [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EROFS, 503)])
def test_a_full_disk_is_told_from_other_failures_by_its_cause(number, status):
    error = StorageError("not saved")
    error.__cause__ = RuntimeError("wrapped")
    error.__cause__.__cause__ = OSError(number, "the system's reason")
    assert http_status(error) == status


@pytest.fixture
def server() -> TestClient:
    """A server whose middleware is built already, as MONAI Label's is when the app is made."""
    app = FastAPI()

    @app.get("/raise/{what}")
    def fail(what: str) -> None:
        raise {
            "ours": NotFoundError("There is no such thing."),
            "busy": BusyError("Too many are waiting."),
            "monailabel": MONAILabelException(MONAILabelError.INVALID_INPUT, "Model is not provided"),
            "json": json.JSONDecodeError("Expecting value", "{x", 1),
            "bug": ZeroDivisionError("division by zero"),
        }[what]

    @app.get("/logs/gpu")
    def stock_page() -> str:
        return "MONAI Label's own"

    client = TestClient(app, raise_server_exceptions=False)
    assert client.get("/logs/gpu").json() == "MONAI Label's own"
    attach(app)
    return client


@pytest.mark.parametrize(
    ("what", "status", "sentence"),
    [
        ("ours", 404, "There is no such thing."),
        ("monailabel", 400, "Model is not provided"),
        ("json", 400, "not JSON: Expecting value at character 1"),
        ("bug", 500, "made a mistake"),
    ],
)
def test_errors_are_answered_with_a_sentence_after_the_middleware_was_built(server, what, status, sentence):
    answer = server.get(f"/raise/{what}")
    assert answer.status_code == status
    assert sentence in answer.json()["detail"]
    assert "division" not in answer.text


def test_an_endpoint_of_ours_answers_before_one_of_the_same_path(server):
    assert "dermcheck doctor" in server.get("/logs/gpu").json()["detail"]


def test_a_busy_server_says_when_to_come_back(server):
    answer = server.get("/raise/busy")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_attaching_twice_adds_nothing(server):
    before = list(server.app.router.routes)
    attach(server.app)
    assert server.app.router.routes == before
