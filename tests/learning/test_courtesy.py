"""Trainings wait while a server predicts, and never for one that is gone."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from dermcheck.label_app.training_pause import TrainingPause
from dermcheck.learning.courtesy import Courtesy, predicting_lock
from dermcheck.learning.job import carry_out
from dermcheck.learning.place import one_training
from dermcheck.training.classification import ClassificationLesson
from dermcheck.training.stopping import StopRequest

HOLD = """
import sys, time
from pathlib import Path
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "training").mkdir()
    return tmp_path


@pytest.fixture
def server(folder):
    """Another process that predicts without end."""
    path = str(folder / "training/predicting.lock")
    process = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def wait_until(condition) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def in_background(work) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_nobody_waits_for_nobody(folder):
    courtesy = Courtesy(folder)
    courtesy(StopRequest())
    assert courtesy.seconds == 0


def test_a_training_waits_as_long_as_a_server_predicts_and_goes_on_when_it_is_killed(folder, server):
    courtesy = Courtesy(folder)
    waiting = in_background(lambda: courtesy(StopRequest()))
    waiting.join(0.3)
    assert waiting.is_alive()
    os.kill(server.pid, signal.SIGKILL)
    waiting.join(30)
    assert not waiting.is_alive()
    assert courtesy.seconds > 0.2


def test_a_training_that_waits_can_be_stopped(folder, server):
    stop = StopRequest()
    waiting = in_background(lambda: Courtesy(folder)(stop))
    waiting.join(0.2)
    assert waiting.is_alive()
    stop.is_set = True
    waiting.join(30)
    assert not waiting.is_alive()


def test_the_server_holds_trainings_up_while_it_predicts_and_only_then(folder):
    predicting = threading.Event()
    pause = TrainingPause(folder, predicting.is_set)
    with one_training(folder, "classification"):
        pause.begin()
        time.sleep(0.1)
        assert not pause.is_held
        predicting.set()
        wait_until(lambda: pause.is_held)
        waiting = in_background(lambda: Courtesy(folder)(StopRequest()))
        waiting.join(0.2)
        assert waiting.is_alive()
        predicting.clear()
        waiting.join(30)
        assert not waiting.is_alive()
        wait_until(lambda: not pause.is_held)
        predicting.set()
        wait_until(lambda: pause.is_held)
        pause.close()
    with predicting_lock(folder):  # whoever closes holds nobody up
        pass


def test_a_real_training_makes_no_step_meanwhile(order, registry, monkeypatch):
    """From its fourth step on somebody predicts for half a second."""
    steps: list[float] = []
    original = ClassificationLesson.loss
    held: list[float] = []

    def hold() -> None:
        with predicting_lock(registry.folder):
            held.append(time.monotonic())
            began.set()
            time.sleep(0.5)
            held.append(time.monotonic())

    began = threading.Event()

    def loss(self, *arguments):
        steps.append(time.monotonic())
        if len(steps) == 4:
            in_background(hold)
            assert began.wait(30)
        return original(self, *arguments)

    monkeypatch.setattr(ClassificationLesson, "loss", loss)
    carry_out(order(epochs=2), registry, bar=False)
    assert len(steps) > 5
    start, end = held
    assert [step for step in steps if start < step < end] == []
