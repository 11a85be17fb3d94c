"""Trainings that start by themselves, on real studies and a real registry; what trains is a stand-in."""

import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from dermcheck.datastore import StudyStore
from dermcheck.label_app import training_jobs
from dermcheck.label_app.automatic_training import AutomaticTraining
from dermcheck.label_app.train_tasks import Trainers, make_train_tasks
from dermcheck.learning.learnt import FROM_CORRECTIONS, corrections, note_learnt
from dermcheck.learning.place import one_training
from dermcheck.learning.schedule import Schedule
from dermcheck.registry import Registry
from dermcheck.registry.events import Event, EventLog, now

CLASSIFIER, OUTLINER = "lesion_classification", "lesion_segmentation"


@pytest.fixture(scope="module")
def corrected(make_corrections, tmp_path_factory) -> Path:
    return make_corrections(tmp_path_factory.mktemp("studies") / "corrected", 22)


@pytest.fixture
def place(corrected, tmp_path):
    """Studies with 22 corrections, an empty registry, and the arguments of each training that was started."""
    with StudyStore.open(corrected, tmp_path / "cache", watch=False) as store:
        yield store, Registry(tmp_path / "registry")


@pytest.fixture
def program(monkeypatch):
    """What a training does instead of training; its arguments are noted in `program.started`."""

    class Program:
        text = "print('the disk is full'); raise SystemExit(1)"
        started: list[list[str]]

    chosen = Program()
    chosen.started = []
    popen = subprocess.Popen

    def start(command, **options):
        chosen.started.append(command[4:])
        return popen([sys.executable, "-c", chosen.text], **options)

    monkeypatch.setattr(training_jobs.subprocess, "Popen", start)
    return chosen


@pytest.fixture
def make(place, request):
    """Make the server's part, as a start of the server does."""

    def automatic(*, after=None, night=None, clock=datetime.now) -> AutomaticTraining:
        store, registry = place
        trainers = Trainers(make_train_tasks("studies", registry.folder), registry.folder, "studies")
        request.addfinalizer(trainers.close)
        made = AutomaticTraining(Schedule.parse(after, night), trainers, store, registry, clock)
        made.trainers = trainers
        return made

    return automatic


def wait_for_end(automatic) -> None:
    until = time.monotonic() + 60
    while automatic.trainers.unfinished():
        assert time.monotonic() < until
        time.sleep(0.01)


def tell_version(registry: Registry, task: str, fingerprint: str = "f" * 64) -> None:
    """Put a version into the log, as a training does."""
    with EventLog(registry.folder).exclusive() as append:
        append(
            Event(
                at=now(), kind="submitted", task=task, version=f"{task}-0001", who="tester",
                reason=FROM_CORRECTIONS, details={"entry": {"data_fingerprint": fingerprint}},
            )
        )  # fmt: skip


def why(automatic) -> dict[str, str]:
    automatic._plans = None
    return {plan.trainer: plan.plan.why for plan in automatic.plans()}


def test_it_is_off_unless_somebody_wants_it(make, program):
    automatic = make()
    automatic.begin()
    automatic.look()
    assert program.started == []
    told = automatic.to_json()
    assert (told["after_corrections"], told["at_night"]) == (None, None)
    assert told["trainers"][CLASSIFIER]["new_corrections"] == 22
    assert told["trainers"][CLASSIFIER]["next"]["why"] == "off"


def test_enough_corrections_start_both_models_one_after_the_other_and_only_once(make, program):
    automatic = make(after=22)
    automatic.look()
    wait_for_end(automatic)
    assert [arguments[0] for arguments in program.started] == ["classification", "segmentation"]
    assert program.started[0][1] == "--from-corrections"
    assert program.started[0][-2:] == ["--occasion", "by itself after 22 new corrections"]
    for _ in range(3):
        automatic.look()
    assert len(program.started) == 2
    told = automatic.to_json()["trainers"][OUTLINER]
    assert told["latest_attempt"]["end"] == "failed"
    assert told["latest_attempt"]["answer"] == "the disk is full"
    assert told["next"]["missing_corrections"] == 22


def test_what_a_version_has_learnt_is_not_learnt_again_after_a_restart(make, program, place):
    store, registry = place
    labels = {label.sop_instance_uid for label in corrections(store).values()}
    known = sorted(labels)[:-2]
    note_learnt(registry.folder, "classification", "f" * 64, known)
    tell_version(registry, "classification")
    automatic = make(after=3)
    assert {p.trainer: p.standing.new for p in automatic.plans()} == {CLASSIFIER: 2, OUTLINER: 22}
    automatic.look()
    wait_for_end(automatic)
    assert [arguments[0] for arguments in program.started] == ["segmentation"]


def test_without_a_list_what_is_older_than_the_version_counts_as_learnt(make, program, place):
    tell_version(place[1], "classification")
    automatic = make(after=1)
    assert why(automatic) == {CLASSIFIER: "nothing_new", OUTLINER: "due"}


def test_a_damaged_list_does_not_keep_the_server_from_counting(make, program, place, caplog):
    note_learnt(place[1].folder, "classification", "f" * 64, ["1.2"])
    next((place[1].folder / "training/learnt").iterdir()).write_text("{")
    tell_version(place[1], "classification")
    assert why(make(after=1))[CLASSIFIER] == "nothing_new"
    assert "cannot be read" in caplog.text


def test_a_training_that_the_end_of_the_server_stopped_goes_on_at_the_next_start(make, program):
    program.text = "import time; print('trains', flush=True); time.sleep(60)"
    first = make(after=22)
    first.look()
    first.trainers.close()
    first.look()
    program.text = "raise SystemExit(1)"
    second = make(after=22)
    second.look()
    wait_for_end(second)
    occasions = {arguments[-1] for arguments in program.started[-2:]}
    assert occasions == {"going on where the server was ended"}
    count = len(program.started)
    second.look()
    second.look()
    assert len(program.started) == count


def test_one_that_a_person_stops_is_not_simply_started_again(make, program):
    program.text = "import time; print('trains', flush=True); time.sleep(60)"
    automatic = make(after=22)
    automatic.look()
    automatic.trainers.stop()
    automatic.look()
    assert why(automatic) == {CLASSIFIER: "collecting", OUTLINER: "collecting"}
    assert not automatic.trainers.unfinished()


def test_nothing_starts_beside_a_training_by_command(make, program, place):
    automatic = make(after=1)
    with one_training(place[1].folder, "classification"):
        assert all(plan.running for plan in automatic.look())
        assert program.started == []
    automatic.look()
    wait_for_end(automatic)
    assert len(program.started) == 2


def test_once_a_night_and_not_by_day(make, program):
    moment = [datetime(2026, 5, 2, 12)]
    automatic = make(night="22:00-06:00", clock=lambda: moment[0])
    automatic.look()
    assert program.started == []
    for hours, started in ((11, 2), (14, 2), (24, 2), (35, 4)):
        moment[0] = datetime(2026, 5, 2, 12) + timedelta(hours=hours)
        automatic.look()
        wait_for_end(automatic)
        automatic.look()
        assert len(program.started) == started, hours


def test_nobody_corrected(tmp_path, program, place):
    (tmp_path / "empty").mkdir()
    registry = place[1]
    trainers = Trainers(make_train_tasks("x", registry.folder), registry.folder, "x")
    with StudyStore.open(tmp_path / "empty", tmp_path / "other cache", watch=False) as store:
        automatic = AutomaticTraining(Schedule(after=1), trainers, store, registry)
        automatic.look()
        assert why(automatic) == {CLASSIFIER: "too_few", OUTLINER: "too_few"}
    assert program.started == []
