import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from dermcheck.datastore.folder_walk import Stamp
from dermcheck.datastore.index_cache import IndexCache, IndexedFile
from dermcheck.datastore.instances import Instance, describe

STAMP = Stamp(10, 20, 30)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "index.sqlite"


@pytest.fixture
def files(make_photograph, make_label) -> dict[str, IndexedFile]:
    photograph = make_photograph(PixelSpacing=[0.1, 0.2], TrackingID="mole", Laterality="L")
    files = {
        dataset.SOPInstanceUID: IndexedFile(STAMP, describe(dataset, dataset.SOPInstanceUID, "rev", 20), None)
        for dataset in (photograph, make_label(photograph))
    }
    other = Instance("sr.dcm", "rev", 20, "other", "1.2.3", "1", "2", "3", "SR")
    return files | {"sr.dcm": IndexedFile(STAMP, other, None), "text": IndexedFile(STAMP, None, "not DICOM")}


def test_what_is_saved_is_loaded_equal(path, files):
    IndexCache(path, 1).save(files, ())
    loaded = IndexCache(path, 1).load()
    assert loaded == files
    photograph = next(file.instance for file in loaded.values() if file.instance and file.instance.header)
    assert photograph.header.acquired == datetime(2024, 1, 2, 10, 11, 12)
    assert photograph.header.pixel_spacing_mm == (0.1, 0.2)


def test_a_file_name_that_is_not_text_is_kept(path):
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    instance = Instance(name, "rev", 20, "other", "1.2.3", "1", "2", "3", "SR")
    files = {name: IndexedFile(STAMP, instance, None)}
    IndexCache(path, 1).save(files, ())
    assert IndexCache(path, 1).load() == files


def test_removed_files_are_forgotten_and_changed_ones_replaced(path, files):
    cache = IndexCache(path, 1)
    cache.save(files, ())
    changed = {"sr.dcm": IndexedFile(Stamp(1, 1, 1), None, "damaged")}
    cache.save(changed, ["text"])
    assert cache.load() == {**{key: file for key, file in files.items() if key != "text"}, **changed}


def test_what_another_version_kept_is_forgotten(path, files):
    IndexCache(path, 1).save(files, ())
    newer = IndexCache(path, 2)
    assert newer.load() == {}
    newer.save(files, ())
    assert newer.load() == files


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + bytes(5000), b""])
def test_a_damaged_file_is_made_anew(path, files, content):
    path.write_bytes(content)
    cache = IndexCache(path, 1)
    assert cache.load() == {}
    cache.save(files, ())
    assert cache.load() == files


def test_a_row_that_means_nothing_makes_the_file_anew(path, files, caplog):
    cache = IndexCache(path, 1)
    cache.save(files, ())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE files SET content = '{}' WHERE key = ?", (b"text",))
    with caplog.at_level(logging.WARNING):
        assert cache.load() == {}
    assert "index.sqlite is damaged and begun anew" in caplog.text
    assert not path.exists()


def test_without_a_writable_place_it_keeps_nothing_and_says_so(tmp_path, files, caplog):
    cache = IndexCache(tmp_path / "missing" / "index.sqlite", 1)
    with caplog.at_level(logging.WARNING):
        cache.save(files, ())
        assert cache.load() == {}
    assert "not used this time" in caplog.text


def test_threads_that_make_the_cache_at_the_same_time_do_not_forget_each_other_s_files(tmp_path, files):
    # Two found no cache; the slower one emptied what the quicker one had kept meanwhile.
    for attempt in range(20):
        cache = IndexCache(tmp_path / f"{attempt}.sqlite", 1)
        with ThreadPoolExecutor(8) as threads:
            list(
                threads.map(
                    lambda number, cache=cache: cache.save({f"{number}.dcm": files["text"]}, ()), range(16)
                )
            )
        assert len(cache.load()) == 16


def test_many_threads_lose_nothing(path, files):
    cache = IndexCache(path, 1)
    ((_, file),) = [item for item in files.items() if item[0] == "text"]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: cache.save({f"{number}.dcm": file}, ()), range(40)))
    assert len(cache.load()) == 40
