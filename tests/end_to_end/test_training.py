"""The Train button: from corrections on a running server to a new version, in a process of its own."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from dermcheck.registry import Registry

TRAINERS = ["lesion_classification", "lesion_segmentation"]
CORRECTIONS = 24
"""Four more than are needed."""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def training_server(place, start, serve_command, free_port, make_corrections):
    """A server whose studies hold corrections, with a registry of its own."""
    studies = make_corrections(place / "Studien 皮膚", CORRECTIONS)
    (place / "registry").mkdir()
    port = free_port()
    command = [*serve_command, "--studies", str(studies), "--registry", str(place / "registry")]
    return start([*command, "--port", str(port)], studies, port)


@pytest.fixture
def wait_for(training_server) -> Callable[..., dict[str, Any]]:
    """Ask `GET /train/` until its answer is as expected."""

    def wait(expected: Callable[[dict[str, Any]], bool], seconds: float = 200) -> dict[str, Any]:
        until = time.monotonic() + seconds
        while True:
            answer = training_server.get("/train/").json()
            if expected(answer):
                return answer
            assert time.monotonic() < until, answer
            time.sleep(0.1)

    return wait


def trainings(server) -> list[psutil.Process]:
    """Find the training processes of a server."""
    return [p for p in psutil.Process(server.process.pid).children(recursive=True) if "train" in p.cmdline()]


def test_trainers_are_offered_and_nothing_has_been_trained(training_server):
    info = training_server.get("/info/").json()
    assert list(info["trainers"]) == TRAINERS
    assert info["train_stats"] == {name: {"epoch": 0, "total_epochs": 1} for name in TRAINERS}
    answer = training_server.get("/train/")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "Nobody has asked this server for a training yet."


@pytest.mark.parametrize(
    ("model", "params", "body", "status", "sentence"),
    [
        (
            "lesion_classification",
            {"run_sync": "true"},
            {},
            400,
            "run_sync would train inside the server",
        ),
        (
            "dermcheck",
            {},
            {},
            404,
            "no trainer 'dermcheck'; the trainers are lesion_classification",
        ),
        ("lesion_classification", {}, {"registry": "/etc"}, 400, "have no setting 'registry'"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_words(training_server, model, params, body, status, sentence):
    answer = training_server.post(f"/train/{model}", params=params, json=body)
    assert (answer.status_code, sentence in answer.json()["detail"]) == (status, True), answer.text


def test_the_train_button(training_server, slicer_client, tmp_path, wait_for, place):
    """Start, refuse a second one, stop, start again, and end with the gate's answer: as 3D Slicer does it."""
    client = slicer_client.MONAILabelClient(training_server.address, str(tmp_path), "slicer-user")
    registry = Registry(place / "registry")

    client.train_start("lesion_segmentation", {})
    stopped_at = wait_for(lambda task: task.get("progress", {}).get("phase") == "training")
    assert stopped_at["status"] == "RUNNING"
    assert client.train_status(check_if_running=True)
    with pytest.raises(slicer_client.MONAILabelClientException, match="Status: 429"):
        client.train_start("lesion_classification", {})
    assert training_server.get("/datastore/").ok  # the server goes on answering

    (process,) = trainings(training_server)
    assert process.nice() > psutil.Process(training_server.process.pid).nice()
    assert client.train_stop()["status"] == "STOPPED"
    assert not process.is_running()
    assert training_server.get("/train/", params={"check_if_running": "true"}).status_code == 404
    stats = training_server.get("/info/").json()["train_stats"]
    assert next(iter(stats)) == "lesion_segmentation"  # 3D Slicer shows the first
    assert stats["lesion_segmentation"]["phase"] == "stopped"
    assert registry.history() == []

    client.train_start("lesion_segmentation", {})
    seen = []
    task = wait_for(lambda task: seen.append(task) or task["status"] not in ("SUBMITTED", "RUNNING"))
    assert task["status"] == "DONE", task
    told = [each["progress"] for each in seen if each.get("progress", {}).get("phase") == "training"]
    assert told
    assert all(each["total_epochs"] == 8 and each["metric"] == "jaccard" for each in told)
    assert any(each.get("seconds_left") is not None for each in told)
    answer = json.loads(task["details"][-1])
    assert answer["version"] == "segmentation-0001"
    assert not answer["promoted"]
    assert "too few untouched photographs" in task["progress"]["answer"]
    stats = training_server.get("/info/").json()["train_stats"]["lesion_segmentation"]
    assert (stats["phase"], stats["version"]) == ("finished", "segmentation-0001")
    assert 0 < stats["best_metric"] <= 1
    assert [event.kind for event in registry.history()] == ["submitted", "refused"]
    assert registry.in_use("segmentation").name == "reference"

    plans = training_server.get("/info/").json()["automatic_training"]["trainers"]
    assert plans["lesion_segmentation"]["new_corrections"] == 0
    assert plans["lesion_classification"]["new_corrections"] == CORRECTIONS
    picture = training_server.get("/viewer/history.svg")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert picture.text.rstrip().endswith("</svg>")


def test_a_killed_training_is_an_error_and_the_server_goes_on(training_server, wait_for, place):
    training_server.post("/train/lesion_classification")
    wait_for(lambda task: task.get("progress", {}).get("phase") == "training")
    (process,) = trainings(training_server)
    process.kill()
    task = wait_for(lambda task: task["status"] not in ("SUBMITTED", "RUNNING"))
    assert task["status"] == "ERROR"
    stats = training_server.get("/info/").json()["train_stats"]
    assert stats["lesion_classification"]["phase"] == "interrupted"
    assert Registry(place / "registry").in_use("classification").name == "reference"


def test_the_server_ends_while_it_trains(training_server, wait_for):
    """Last, as it ends the server of this module."""
    training_server.post("/train/lesion_classification")
    wait_for(lambda task: task.get("progress", {}).get("phase") == "training")
    (process,) = trainings(training_server)
    training_server.process.terminate()
    assert training_server.process.wait(60) == 0
    process.wait(60)
    with pytest.raises(requests.ConnectionError):
        training_server.get("/info/")


def test_after_a_restart_only_what_is_new_is_learnt_by_itself(
    training_server, place, start, serve_command, free_port
):
    """The outliner has learnt from all corrections already, the classifier from none."""
    port = free_port()
    command = [*serve_command, "--studies", str(training_server.studies), "--port", str(port)]
    command += ["--registry", str(place / "registry"), "--retrain-after", str(CORRECTIONS)]
    server = start(command, training_server.studies, port)
    until = time.monotonic() + 120
    while not (found := trainings(server)):
        assert time.monotonic() < until, server.get("/info/").json()["automatic_training"]
        time.sleep(0.1)
    (process,) = found
    arguments = process.cmdline()
    assert arguments[arguments.index("train") + 1] == "classification"
    assert f"by itself after {CORRECTIONS} new corrections" in arguments
    jobs = server.get("/train/", params={"all": "true"}).json()
    assert [job["request"]["model"] for job in jobs] == ["lesion_classification"]
    server.process.terminate()
    assert server.process.wait(60) == 0
    process.wait(60)
