"""Answers of earlier runs: found again, bounded, and never wrong, whatever happens to their file."""

import logging
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dermcheck.inference import answer_store
from dermcheck.inference.answer_store import AnswerStore

FILE = "answers-1.sqlite"


def keep(folder: Path, **values: bytes) -> None:
    with AnswerStore(folder) as store:
        for key, value in values.items():
            store.put(key.encode(), value)


def found(folder: Path, key: str) -> bytes | None:
    with AnswerStore(folder) as store:
        return store.get(key.encode())


def test_what_was_kept_is_found_before_and_after_the_store_was_closed(tmp_path):
    with AnswerStore(tmp_path / "answers") as store:
        assert store.get(b"a") is None
        store.put(b"a", b"first")
        assert store.get(b"a") == b"first"
        store.put(b"a", b"second")
    assert found(tmp_path / "answers", "a") == b"second"
    assert found(tmp_path / "answers", "b") is None


def test_only_its_owner_can_look_into_the_folder(tmp_path):
    keep(tmp_path / "answers", a=b"1")
    assert stat.S_IMODE((tmp_path / "answers").stat().st_mode) == 0o700


def test_it_stays_below_its_bound_and_forgets_what_was_not_asked_for(tmp_path):
    value = os.urandom(4000)
    with AnswerStore(tmp_path, most_bytes=1 << 20) as store:
        for number in range(1000):
            store.put(f"{number}".encode(), value)
    with AnswerStore(tmp_path, most_bytes=1 << 20) as store:
        kept = [number for number in range(1000) if store.get(f"{number}".encode())]
    assert (tmp_path / FILE).stat().st_size < 2 << 20
    assert 50 < len(kept) < 262
    assert kept == list(range(kept[0], 1000))


def test_what_is_asked_for_again_stays_longer(tmp_path):
    keep(tmp_path, old=b"1", asked=b"2")
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("UPDATE answers SET used = 100")
    database.close()
    assert found(tmp_path, "asked") == b"2"
    with sqlite3.connect(tmp_path / FILE) as database:
        days = dict(database.execute("SELECT key, used FROM answers"))
    database.close()
    assert days[b"old"] == 100 < days[b"asked"]


def test_a_damaged_value_or_one_in_another_ones_place_is_not_given(tmp_path, caplog):
    keep(tmp_path, a=b"one answer", b=b"another one")
    with sqlite3.connect(tmp_path / FILE) as database:
        values = dict(database.execute("SELECT key, value FROM answers"))
        database.execute("UPDATE answers SET value = ? WHERE key = ?", (values[b"b"], b"a"))
        database.execute("UPDATE answers SET value = ? WHERE key = ?", (values[b"b"][:-1] + b"!", b"b"))
    database.close()
    assert found(tmp_path, "a") is found(tmp_path, "b") is None
    assert caplog.text.count("computed anew") == 2


@pytest.mark.parametrize("content", [b"no database at all" * 300, b"SQLite format 3\0" + bytes(5000)])
def test_a_damaged_file_is_begun_anew(tmp_path, content, caplog):
    (tmp_path / FILE).write_bytes(content)
    with AnswerStore(tmp_path) as store:
        assert store.get(b"a") is None
        store.put(b"a", b"1")
    assert "begun anew" in caplog.text
    assert found(tmp_path, "a") == b"1"


def test_a_file_that_is_damaged_in_the_middle_is_begun_anew(tmp_path, caplog):
    keep(tmp_path, **{f"key{number}": os.urandom(900) for number in range(300)})
    path = tmp_path / FILE
    content = bytearray(path.read_bytes())
    content[4096:-4096] = os.urandom(len(content) - 8192)
    path.write_bytes(content)
    with AnswerStore(tmp_path) as store:
        assert [store.get(f"key{number}".encode()) for number in range(300)] == [None] * 300
        store.put(b"new", b"1")
    assert "begun anew" in caplog.text
    assert found(tmp_path, "new") == b"1"


def test_without_a_place_to_write_nothing_is_kept_and_nothing_fails(tmp_path, caplog):
    (tmp_path / "answers").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING), AnswerStore(tmp_path / "answers") as store:
        for number in range(200):
            store.put(b"%d" % number, b"1")
            assert store.get(b"%d" % number) in (b"1", None)
    assert caplog.text.count("cannot be used") == 1


def test_several_processes_share_one(tmp_path):
    program = """
import importlib.util, pathlib, sys
# By itself: its room imports torch.
spec = importlib.util.spec_from_file_location("answer_store", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
with module.AnswerStore(pathlib.Path(sys.argv[2])) as store:
    for number in range(500):
        store.put(f"{sys.argv[3]} {number}".encode(), sys.argv[3].encode() * 99)
"""
    running = [
        subprocess.Popen([sys.executable, "-c", program, answer_store.__file__, tmp_path, name])
        for name in "ab"
    ]
    assert [process.wait(60) for process in running] == [0, 0]
    with AnswerStore(tmp_path) as store:
        kept = [store.get(f"{name} {number}".encode()) for name in "ab" for number in range(500)]
    assert kept == [b"a" * 99] * 500 + [b"b" * 99] * 500
