import logging
import os
import stat
import time

import pytest

from dermcheck.files import TEMPORARY_PREFIX
from dermcheck.inference.backends import ExportCache
from dermcheck.inference.backends.cache import _ENTRIES_KEPT

FILES = {"network.xml": b"<net/>", "network.bin": bytes(range(256))}


def refuse():
    raise AssertionError("the entry was made again")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "networks"


def test_an_entry_is_made_once(folder):
    assert ExportCache(folder).get("one", lambda: FILES) == FILES
    assert ExportCache(folder).get("one", refuse) == FILES
    assert [each.name for each in folder.iterdir()] == ["one"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX rights")
def test_other_accounts_may_read_an_entry(folder):
    ExportCache(folder).keep("one", FILES)
    assert stat.S_IMODE((folder / "one").stat().st_mode) == 0o755


def damage_content(entry):
    (entry / "network.bin").write_bytes(b"\0" * 256)


def cut_off(entry):
    (entry / "network.bin").write_bytes(b"")


def remove_file(entry):
    (entry / "network.xml").unlink()


def remove_hashes(entry):
    (entry / "sha256.json").unlink()


def empty_hashes(entry):
    (entry / "sha256.json").write_bytes(b"\xff")


@pytest.mark.parametrize(
    "damage", [damage_content, cut_off, remove_file, remove_hashes, empty_hashes], ids=lambda f: f.__name__
)
def test_a_damaged_entry_is_made_anew_and_told(folder, caplog, damage):
    cache = ExportCache(folder)
    cache.keep("one", FILES)
    damage(folder / "one")
    with caplog.at_level(logging.WARNING):
        assert cache.get("one", lambda: FILES) == FILES
    assert "is damaged" in caplog.text
    assert cache.get("one", refuse) == FILES


def test_what_was_not_made_is_not_found(folder):
    assert ExportCache(folder).find("one") is None


def test_a_failed_making_leaves_nothing(folder):
    with pytest.raises(AssertionError):
        ExportCache(folder).get("one", refuse)
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_costs_a_sentence_only(tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    with caplog.at_level(logging.WARNING):
        assert ExportCache(tmp_path / "file" / "networks").get("one", lambda: FILES) == FILES
    assert "are not kept" in caplog.text


def test_a_full_disk_leaves_no_half_entry(folder, caplog, fill_disk):
    fill_disk("one")
    assert ExportCache(folder).get("one", lambda: FILES) == FILES
    assert "not kept" in caplog.text
    assert list(folder.iterdir()) == []


def test_what_a_killed_process_left_is_removed_after_a_day(folder):
    for name, age_s in (("old", 90_000), ("new", 80_000)):
        (folder / f"{TEMPORARY_PREFIX}{name}").mkdir(parents=True)
        os.utime(folder / f"{TEMPORARY_PREFIX}{name}", (time.time() - age_s,) * 2)
    ExportCache(folder)
    assert [path.name for path in folder.iterdir()] == [f"{TEMPORARY_PREFIX}new"]


def test_the_entries_unused_for_longest_are_removed(folder):
    cache = ExportCache(folder)
    for number in range(_ENTRIES_KEPT):
        cache.keep(f"{number}", FILES)
        os.utime(folder / f"{number}", (number, number))
    assert cache.find("0") == FILES  # used again
    cache.keep("new", FILES)
    assert not (folder / "1").exists()
    assert (folder / "0").exists()
    assert len(list(folder.iterdir())) == _ENTRIES_KEPT
