import os
import stat
import time

import pytest

from dermcheck.files import TEMPORARY_PREFIX, remove_abandoned, replace_file, write_folder


@pytest.mark.parametrize(
    "content", [b"\xc3\xa4\n", "ä\n", memoryview(b"\xc3\xa4\n"), lambda file: file.write(b"\xc3\xa4\n")]
)
def test_bytes_text_and_functions_are_written(tmp_path, content):
    replace_file(tmp_path / "file", content)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"\xc3\xa4\n"}


def test_the_file_has_its_old_content_until_the_new_one_is_whole(tmp_path):
    (tmp_path / "file").write_text("old")

    def write(file):
        file.write(b"ne")
        assert (tmp_path / "file").read_text() == "old"
        file.write(b"w")

    replace_file(tmp_path / "file", write)
    assert (tmp_path / "file").read_text() == "new"


@pytest.mark.parametrize("durable", [True, False])
def test_content_is_flushed_before_it_gets_its_name_and_the_name_after(tmp_path, monkeypatch, durable):
    flushed, flush = [], os.fsync

    def note(descriptor):
        flush(descriptor)
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        flushed.append((kind, (tmp_path / "file").exists()))

    monkeypatch.setattr(os, "fsync", note)
    replace_file(tmp_path / "file", b"content", durable=durable)
    assert flushed == ([("file", False), ("folder", True)] if durable else [])


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, fill_disk):
    (tmp_path / "file").write_text("old")
    fill_disk("file")
    with pytest.raises(OSError, match="No space left"):
        replace_file(tmp_path / "file", b"new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "old"}


def test_names_may_be_as_long_as_the_system_allows(tmp_path):
    replace_file(tmp_path / ("ä" * 127), b"content")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("private", "modes"), [(True, (0o700, 0o600)), (False, (0o750, 0o640))])
def test_a_folder_has_the_permissions_that_were_asked_for(tmp_path, private, modes):
    before = os.umask(0o027)
    try:
        write_folder(tmp_path / "folder", {"name": "text"}, private=private)
    finally:
        os.umask(before)
    written = tmp_path / "folder", tmp_path / "folder" / "name"
    assert tuple(stat.S_IMODE(path.stat().st_mode) for path in written) == modes
    assert written[1].read_text() == "text"


def test_a_folder_replaces_an_empty_one_only(tmp_path):
    (tmp_path / "folder").mkdir()
    write_folder(tmp_path / "folder", {"name": "first"})
    with pytest.raises(OSError, match="not empty"):
        write_folder(tmp_path / "folder", {"name": "second"})
    assert (tmp_path / "folder" / "name").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_killed_processes_left_goes_after_a_day(tmp_path):
    (tmp_path / f"{TEMPORARY_PREFIX}folder").mkdir()
    (tmp_path / f"{TEMPORARY_PREFIX}folder" / "half").touch()
    for name in (f"{TEMPORARY_PREFIX}file", "old file", f"{TEMPORARY_PREFIX}new"):
        (tmp_path / name).touch()
    for path in tmp_path.iterdir():
        age_s = 80_000 if path.name.endswith("new") else 90_000
        os.utime(path, (time.time() - age_s,) * 2)
    remove_abandoned(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{TEMPORARY_PREFIX}new", "old file"]
    remove_abandoned(tmp_path / "no folder")
