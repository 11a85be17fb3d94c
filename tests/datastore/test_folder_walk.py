import os
from pathlib import Path

import pytest

from dermcheck.datastore.folder_walk import walk
from dermcheck.errors import StorageError


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_files_are_found_at_any_depth(tmp_path):
    for name in ("a.dcm", "p/b", "p/q/r/s/c.dcm"):
        put(tmp_path / name)
    assert set(walk(tmp_path).stamps) == {"a.dcm", "p/b", "p/q/r/s/c.dcm"}


@pytest.mark.parametrize(
    "name",
    [
        "mit Leerzeichen.dcm",
        "Rücken é.dcm",
        "皮膚.dcm",
        "дерма/صورة.dcm",
        "a#b?c%20.dcm",
        "new\nline.dcm",
        "x" * 255,
    ],
)
def test_names_of_any_script_are_found(tmp_path, name):
    put(tmp_path / name)
    assert set(walk(tmp_path).stamps) == {name}


def test_a_name_that_is_not_utf8_is_found(tmp_path):
    name = b"caf\xe9.dcm"  # Latin-1, from an old system
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"x")
    (key,) = walk(tmp_path).stamps
    assert os.fsencode(key) == name


def test_hidden_files_and_those_of_the_system_are_passed_over(tmp_path):
    for name in (".hidden.dcm", ".git/a.dcm", "DICOMDIR", "Thumbs.db", "p/desktop.ini"):
        put(tmp_path / name)
    found = walk(tmp_path)
    assert (found.stamps, found.unreadable) == ({}, {})


def test_loops_of_links_end(tmp_path):
    put(tmp_path / "p" / "a.dcm")
    (tmp_path / "p" / "up").symlink_to(tmp_path)
    (tmp_path / "p" / "here").symlink_to(".")
    assert set(walk(tmp_path).stamps) == {"p/a.dcm"}


def test_a_folder_reached_by_a_link_too_keeps_its_own_place(tmp_path):
    put(tmp_path / "z" / "a.dcm")
    (tmp_path / "a-link").symlink_to("z")
    assert set(walk(tmp_path).stamps) == {"z/a.dcm"}


def test_a_link_to_a_folder_elsewhere_is_followed(tmp_path):
    put(tmp_path / "archive" / "a.dcm")
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "linked").symlink_to(tmp_path / "archive")
    assert set(walk(tmp_path / "studies").stamps) == {"linked/a.dcm"}


def test_links_to_nothing_and_to_themselves_are_reported(tmp_path):
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "self").symlink_to("self")
    found = walk(tmp_path)
    assert found.stamps == {}
    assert "leads nowhere" in found.unreadable["gone"]
    assert "symbolic links" in found.unreadable["self"]


def test_pipes_are_passed_over(tmp_path):
    os.mkfifo(tmp_path / "pipe.dcm")
    assert walk(tmp_path).stamps == {}


def test_a_folder_that_may_not_be_read_is_reported_and_the_others_are_found(without_rights):
    with without_rights() as folder:
        put(folder / "open" / "a.dcm")
        put(folder / "closed" / "b.dcm")
        (folder / "closed").chmod(0)
        found = walk(folder)
        assert set(found.stamps) == {"open/a.dcm"}
        assert "closed: the folder cannot be read (Permission denied)" in found.unreadable["closed"]


def test_the_studies_folder_itself_must_be_readable(tmp_path):
    with pytest.raises(StorageError, match="away: the folder cannot be read"):
        walk(tmp_path / "away")


def test_the_stamp_changes_though_size_and_time_of_change_are_kept(tmp_path):
    path = put(tmp_path / "a.dcm", b"one")
    status, before = path.stat(), walk(tmp_path).stamps
    path.write_bytes(b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert walk(tmp_path).stamps != before
