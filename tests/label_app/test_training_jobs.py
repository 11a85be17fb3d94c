"""The queue of trainings, with real processes that do nothing or a little."""

import sys
import time

import psutil
import pytest

from dermcheck.label_app import training_jobs
from dermcheck.label_app.training_jobs import TrainingJobs

SLOW = "import time; print('started', flush=True); time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLOW


@pytest.fixture
def jobs(monkeypatch):
    """Jobs whose argument is a program for Python instead of arguments of `dermcheck train`."""
    popen = training_jobs.subprocess.Popen

    def start(command, **options):
        return popen([sys.executable, "-c", command[-1]], **options)

    monkeypatch.setattr(training_jobs.subprocess, "Popen", start)
    made = TrainingJobs({"SOMETHING": "of its own"})
    yield made
    made.stop(seconds=1)


def wait(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize(("status", "word"), [(0, "DONE"), (1, "ERROR"), (130, "STOPPED")])
def test_the_exit_status_decides(jobs, status, word):
    job = jobs.start("some", [f"import sys; print('a sentence'); sys.exit({status})"])
    wait(lambda: not job.is_open)
    assert (
        job.to_json().items()
        >= {"status": word, "request": {"model": "some"}, "details": ["a sentence"]}.items()
    )
    assert job.ended


def test_one_runs_at_a_time_in_the_order_of_the_requests(jobs):
    first, second = jobs.start("a", [SLOW]), jobs.start("b", ["print('second')"])
    wait(lambda: first.lines)
    assert (first.status, second.status) == ("RUNNING", "SUBMITTED")
    assert jobs.unfinished() == [first, second]
    first.process.kill()
    wait(lambda: second.status == "DONE")
    assert first.status == "ERROR"


def test_stop_ends_what_runs_and_what_waits(jobs):
    first, second = jobs.start("a", [SLOW]), jobs.start("b", ["print('second')"])
    wait(lambda: first.lines)
    process = psutil.Process(first.process.pid)
    assert jobs.stop() is first
    assert not process.is_running()
    assert (first.status, second.status) == ("STOPPED", "STOPPED")
    assert jobs.stop() is None
    third = jobs.start("c", ["print('third')"])
    wait(lambda: third.status == "DONE")
    assert list(second.lines) == []


def test_one_that_does_not_listen_is_killed(jobs):
    job = jobs.start("a", [STUBBORN])
    wait(lambda: job.lines)
    process = psutil.Process(job.process.pid)
    jobs.stop(seconds=0.2)
    assert not process.is_running()


def test_it_gets_its_variables_no_input_and_a_lower_priority(jobs):
    job = jobs.start("a", ["import os, sys; print(os.environ['SOMETHING'], repr(sys.stdin.read()))"])
    wait(lambda: not job.is_open)
    assert list(job.lines) == ["of its own ''"]
    job = jobs.start("a", [SLOW])
    wait(lambda: job.lines)
    assert psutil.Process(job.process.pid).nice() > psutil.Process().nice()


def test_a_process_that_cannot_start_is_an_error_in_words(jobs, monkeypatch):
    def refuse(*_, **__):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(training_jobs.subprocess, "Popen", refuse)
    job = jobs.start("a", [""])
    wait(lambda: not job.is_open)
    assert (job.status, list(job.lines)) == (
        "ERROR",
        ["The training cannot be started (Cannot allocate memory)."],
    )
