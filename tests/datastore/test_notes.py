import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from dermcheck.datastore.notes import Notes


def test_a_note_grows_and_survives_a_restart(tmp_path):
    notes = Notes(tmp_path / "notes.sqlite")
    assert notes.get("1.2.3") == {}
    notes.update("1.2.3", {"strategy": {"random": 1}, "score": 0.5})
    notes.update("1.2.3", {"score": 0.7})
    expected = {"strategy": {"random": 1}, "score": 0.7}
    assert notes.get("1.2.3") == Notes(tmp_path / "notes.sqlite").get("1.2.3") == expected


def test_what_json_cannot_hold_is_refused_and_changes_nothing(tmp_path):
    notes = Notes(tmp_path / "notes.sqlite")
    with pytest.raises(TypeError):
        notes.update("1", {"bytes": b""})
    assert notes.get("1") == {}


def test_damaged_notes_are_begun_anew(tmp_path):
    (tmp_path / "notes.sqlite").write_bytes(b"no database at all")
    notes = Notes(tmp_path / "notes.sqlite")
    notes.update("1", {"a": 1})
    assert Notes(tmp_path / "notes.sqlite").get("1") == {"a": 1}


def test_notes_that_cannot_be_written_are_kept_in_memory(tmp_path):
    notes = Notes(tmp_path / "missing" / "notes.sqlite")
    notes.update("1", {"a": 1})
    assert notes.get("1") == {"a": 1}


def test_threads_and_processes_add_to_one_note(tmp_path):
    path = tmp_path / "notes.sqlite"
    notes = Notes(path)
    program = (
        "import sys, pathlib\n"
        "from dermcheck.datastore.notes import Notes\n"
        "notes = Notes(pathlib.Path(sys.argv[1]))\n"
        "for number in range(30): notes.update('1', {f'other {number}': number})\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(path)])
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: notes.update("1", {f"own {number}": number}), range(30)))
    assert child.wait(60) == 0
    assert len(Notes(path).get("1")) == 60
