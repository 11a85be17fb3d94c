"""A real process that predicts for a server: its answers, its priority, its death and its end."""

import errno
import io
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import psutil
import pytest
from PIL import Image

from dermcheck.dicomweb.statuses import http_status
from dermcheck.errors import ModelError, UnreadableImageError
from dermcheck.label_app import answering_process
from dermcheck.label_app.answering import LocalAnswering
from dermcheck.label_app.answering_process import AnsweringProcess, PredictionsEndedError
from dermcheck.label_app.answers import Question

LIMIT_S = 120


@pytest.fixture(scope="module")
def process(models: Path) -> Iterator[AnsweringProcess]:
    made = AnsweringProcess(models)
    made.wait()
    yield made
    made.close()


@pytest.fixture
def question() -> Question:
    """Ask about a drawn photograph."""
    content = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    return Question("photo.png", content.getvalue(), "dermcheck", ".nrrd", is_study=False)


def wait_until(reached: Callable[[], object]) -> None:
    until = time.monotonic() + LIMIT_S
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_it_answers_as_this_process_would(process, question, models):
    here = LocalAnswering(models)
    for asked in (
        question,
        replace(question, form="browser"),
        replace(question, model="lesion_segmentation"),
    ):
        there, expected = process.answer(asked), here.answer(asked)
        assert there.content == expected.content
        assert there.params.pop("latencies", None) is not None or asked.form == "browser"
        for reply in (there, expected):
            for params in (reply.params, reply.params.get("params", {})):
                params.pop("latencies", None)
        assert there.params.pop("probabilities", {}) == pytest.approx(
            expected.params.pop("probabilities", {}), abs=1e-6
        )
        assert there.params.keys() == expected.params.keys()
    assert process.situation() == here.situation()


def test_its_errors_are_those_of_the_sentences(process, question):
    with pytest.raises(UnreadableImageError, match=r"photo\.png: this is not a readable JPEG, PNG or TIFF"):
        process.answer(replace(question, content=b"no picture"))


def test_it_lets_the_server_go_first(process):
    assert psutil.Process(process.process_id).nice() > psutil.Process().nice()


def test_ctrl_c_and_the_end_of_the_group_are_left_to_the_server(process, question):
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(process.process_id, number)
    assert process.answer(question).content


def test_where_it_is_killed_who_waits_is_told_and_the_next_is_answered(process, question, caplog):
    killed = process.process_id
    os.kill(killed, signal.SIGSTOP)  # so that it cannot answer before it dies
    waiting = process._ask("answer", question)
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(PredictionsEndedError, match="SIGKILL: the system does this where memory") as caught:
        waiting.result(LIMIT_S)
    assert http_status(caught.value) == 503
    assert process.answer(question).content
    assert process.process_id != killed
    assert "is started again" in caplog.text


def test_a_system_that_cannot_start_it_at_once_is_asked_again(process, question, monkeypatch, caplog):
    start, refused = answering_process.start_process, []

    def start_later() -> subprocess.Popen[bytes]:
        if not refused:
            refused.append(True)
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return start()

    monkeypatch.setattr(answering_process, "start_process", start_later)
    killed = process.process_id
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: process.process_id not in (None, killed))
    assert process.answer(question).content
    assert "cannot be started: Cannot allocate memory" in caplog.text


def test_what_is_not_understood_ends_it_and_the_next_answers(process, question, monkeypatch, caplog):
    understand, failed = pickle.load, []

    def fail_once(file: BinaryIO) -> object:
        said = understand(file)
        if not failed:
            failed.append(said)
            raise AttributeError("no such class")
        return said

    misunderstood = process.process_id
    monkeypatch.setattr(pickle, "load", fail_once)
    asked = [process._ask("answer", question) for _ in range(2)]  # what reads now may still take one answer
    with pytest.raises(PredictionsEndedError):
        _ = [each.result(LIMIT_S) for each in asked]
    wait_until(lambda: process.process_id not in (None, misunderstood))
    assert process.answer(question).content
    assert "is not understood" in caplog.text


def test_closed_it_ends_and_is_not_started_again(process, question):
    ended = psutil.Process(process.process_id)
    process.close()
    wait_until(lambda: not ended.is_running())
    wait_until(lambda: process.process_id is None)
    with pytest.raises(PredictionsEndedError):
        process.answer(question)


def test_it_does_not_outlive_a_server_that_is_killed(models):
    program = (
        "import pathlib, sys, time\n"
        "from dermcheck.label_app.answering_process import AnsweringProcess\n"
        "print(AnsweringProcess(pathlib.Path(sys.argv[1])).process_id, flush=True)\n"
        "time.sleep(600)"
    )
    server = subprocess.Popen([sys.executable, "-c", program, str(models)], stdout=subprocess.PIPE)
    child = psutil.Process(int(server.stdout.readline()))
    server.kill()
    server.wait()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_one_that_cannot_start_is_told_instead_of_waited_for(models, monkeypatch):
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    monkeypatch.setattr("dermcheck.label_app.answering_process._COMMAND", command)
    process = AnsweringProcess(models)
    with pytest.raises(ModelError, match="cannot be started"):
        process.wait()
    process.close()


def test_a_mistake_of_ours_while_loading_is_told_instead_of_waited_for(models, monkeypatch):
    program = (
        "from dermcheck.inference.predictor import Predictor\n"
        "from dermcheck.label_app.answering_child import main\n"
        "Predictor.load = lambda *_, **__: 1 / 0\n"
        "main()"
    )
    command = [sys.executable, "-c", program]
    monkeypatch.setattr("dermcheck.label_app.answering_process._COMMAND", command)
    process = AnsweringProcess(models)
    assert process._settled.wait(LIMIT_S)
    with pytest.raises(ModelError, match=r"could not be loaded \(ZeroDivisionError"):
        process.wait()
    process.close()


def test_models_that_cannot_be_used_are_told_as_they_are_here(tmp_path):
    process = AnsweringProcess(tmp_path)
    with pytest.raises(ModelError, match="card is missing"):
        process.wait()
    process.close()
