"""The log is only ever added to: kills, full disks and other writers cost no event that counts."""

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dermcheck.errors import StorageError
from dermcheck.registry.events import Event, EventLog, now

WRITER = """
import sys
from pathlib import Path
from dermcheck.registry.events import Event, EventLog, now

log = EventLog(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    with log.exclusive() as append:
        append(Event(at=now(), kind="submitted", task="classification", version=f"{sys.argv[2]} {number}",
                     who="test", reason="x" * 2000))
    print(number, flush=True)
"""


def event(version: str = "classification-0001", **others: object) -> Event:
    values = {
        "at": now(),
        "kind": "promoted",
        "task": "classification",
        "who": "anna",
        "reason": "besser – 好",
    }
    return Event(version=version, **(values | others))


def add(log: EventLog, *events: Event) -> None:
    for each in events:
        with log.exclusive() as append:
            append(each)


def start_writer(folder: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_what_was_added_is_read_again_in_order(tmp_path):
    log = EventLog(tmp_path)
    events = [event(str(number), details={"figures": {"jaccard": 0.5}}) for number in range(3)]
    add(log, *events)
    assert log.read().events == tuple(events)
    assert log.read().problems == ()


def test_no_log_is_an_empty_one(tmp_path):
    assert EventLog(tmp_path / "none").read().events == ()


def test_processes_and_threads_write_at_the_same_time_without_losing_a_line(tmp_path):
    process = start_writer(tmp_path, "process", 40)
    assert process.stdout
    process.stdout.readline()  # it has begun

    def write(name: str) -> None:
        add(EventLog(tmp_path), *(event(f"{name} {number}") for number in range(40)))

    with ThreadPoolExecutor(2) as threads:
        for _ in threads.map(write, ["first", "second"]):
            pass
    process.communicate(timeout=120)
    assert process.returncode == 0
    content = EventLog(tmp_path).read()
    assert content.problems == ()
    assert len(content.events) == 3 * 40
    for name in ("process", "first", "second"):
        own = [each.version for each in content.events if each.version.startswith(name)]
        assert own == [f"{name} {number}" for number in range(40)]


def test_after_a_kill_every_event_that_was_confirmed_is_there_and_others_can_write(tmp_path):
    writer = start_writer(tmp_path, "killed", 100_000)
    assert writer.stdout
    for _ in range(30):
        writer.stdout.readline()
    time.sleep(random.Random(0).random() / 100)
    os.kill(writer.pid, signal.SIGKILL)
    confirmed = 30 + len(writer.stdout.read().splitlines())
    writer.wait()
    add(EventLog(tmp_path), event("afterwards"))
    versions = [each.version for each in EventLog(tmp_path).read().events]
    assert versions[-1] == "afterwards"
    assert len(versions) - 1 >= confirmed
    assert versions[:-1] == [f"killed {number}" for number in range(len(versions) - 1)]


@pytest.mark.parametrize("kept", ["all but the line feed", "half"])
def test_a_line_that_a_power_cut_shortened_does_not_count_and_harms_no_other(tmp_path, kept):
    log = EventLog(tmp_path)
    add(log, event("first"), event("shortened"))
    content = log.path.read_bytes()
    log.path.write_bytes(content[:-1] if kept != "half" else content[:-80])
    assert [each.version for each in log.read().events] == ["first"]
    assert "has no end" in log.read().problems[0]
    add(log, event("third"))
    assert [each.version for each in log.read().events] == ["first", "third"]
    assert "line 2 was cut off" in log.read().problems[0]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\xff\xfe", "decode"),
        (b"[]", "not a JSON object"),
        (b'{"at": "", "kind": "promoted"}', "without reason, task, version, who"),
        (
            b'{"at": "", "kind": "deleted", "task": "segmentation", "version": "", "who": "", "reason": ""}',
            "of the unknown kind 'deleted'",
        ),
        (
            b'{"at": 5, "kind": "promoted", "task": "segmentation", "version": "", "who": "", "reason": ""}',
            "a value of another type",
        ),
    ],
)
def test_a_line_that_is_no_event_is_told_and_passed_over(tmp_path, line, reason):
    log = EventLog(tmp_path)
    add(log, event("first"))
    with log.path.open("ab") as file:
        file.write(line + b"\n")
    add(log, event("third"))
    assert [each.version for each in log.read().events] == ["first", "third"]
    (problem,) = log.read().problems
    assert "line 2 is no event" in problem
    assert reason in problem


def test_fields_of_a_newer_dermcheck_are_passed_over():
    line = event("x").to_line().replace('"at"', '"signature": "…", "at"', 1)
    assert Event.from_line(line).version == "x"


@pytest.mark.skipif(os.name != "posix", reason="rights are another matter there")
def test_only_the_owner_can_read_the_log(tmp_path):
    log = EventLog(tmp_path / "registry")
    add(log, event())
    assert log.path.stat().st_mode & 0o777 == 0o600
    assert log.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_full_disk_is_a_sentence_and_nothing_has_changed(tmp_path, monkeypatch):
    log = EventLog(tmp_path)
    add(log, event("first"))

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match="No space left on device"):
        add(log, event("second"))


def test_a_folder_where_no_lock_can_be_made_is_a_sentence(tmp_path):
    (tmp_path / "events.lock").mkdir()
    with pytest.raises(StorageError, match=r"events\.lock: this cannot be written .* nothing has changed"):
        add(EventLog(tmp_path), event())


def test_what_fails_inside_the_block_is_told_as_it_is_and_others_may_write_then(tmp_path):
    log = EventLog(tmp_path)
    with pytest.raises(PermissionError, match="of another file"), log.exclusive():
        raise PermissionError("of another file")
    add(log, event("afterwards"))
    assert [each.version for each in log.read().events] == ["afterwards"]
