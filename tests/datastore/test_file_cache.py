import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dermcheck.datastore.file_cache import FileCache
from dermcheck.errors import MaskError, StorageError


def write(size: int):
    return lambda path: path.write_bytes(bytes(size))


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_a_file_is_made_once_and_found_again(tmp_path):
    made = []
    cache = FileCache(tmp_path / "cache")
    for _ in range(3):
        path = cache.get("a.nrrd", lambda path: made.append(path.name) or path.write_bytes(b"content"))
        assert path.read_bytes() == b"content"
    assert made == ["a.nrrd"]


def test_threads_that_ask_at_once_make_it_once(tmp_path):
    made = []

    def slowly(path: Path) -> None:
        made.append(threading.get_ident())
        time.sleep(0.05)
        path.write_bytes(b"content")

    cache = FileCache(tmp_path / "cache")
    with ThreadPoolExecutor(8) as threads:
        paths = set(threads.map(lambda _: cache.get("a.nrrd", slowly), range(8)))
    assert len(made) == 1
    assert [path.read_bytes() for path in paths] == [b"content"]


def test_the_files_not_asked_for_longest_go_first(tmp_path):
    cache = FileCache(tmp_path / "cache", limit_bytes=1000)
    for position, name in enumerate(("old", "asked again", "young")):
        age(cache.get(name, write(300)), 5000 - position)
    cache.get("asked again", write(300))
    cache.get("new", write(300))
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["asked again", "new", "young"]


def test_it_stays_bounded_over_many_files(tmp_path):
    cache = FileCache(tmp_path / "cache", limit_bytes=1000)
    for number in range(50):
        age(cache.get(f"{number}", write(300)), 5000)
        assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) <= 1000


def test_a_file_handed_out_a_moment_ago_stays_whatever_the_limit(tmp_path):
    cache = FileCache(tmp_path / "cache", limit_bytes=100)
    paths = [cache.get(f"{number}", write(300)) for number in range(5)]
    assert all(path.exists() for path in paths)


def test_what_earlier_runs_left_is_counted(tmp_path):
    FileCache(tmp_path / "cache").get("old", write(500))
    age(tmp_path / "cache" / "old", 5000)
    FileCache(tmp_path / "cache", limit_bytes=100)
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_a_killed_writer_left_is_removed(tmp_path):
    (tmp_path / "cache" / ".dermcheck-1").mkdir(parents=True)
    (tmp_path / "cache" / ".dermcheck-1" / "half.nrrd").write_bytes(bytes(500))
    age(tmp_path / "cache" / ".dermcheck-1", 5000)
    FileCache(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_failure_to_make_it_leaves_nothing_and_is_tried_again(tmp_path):
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise MaskError("no such mask")

    cache = FileCache(tmp_path / "cache")
    with pytest.raises(MaskError):
        cache.get("a", fail)
    assert list((tmp_path / "cache").iterdir()) == []
    assert cache.get("a", write(1)).stat().st_size == 1


def test_a_full_disk_is_a_sentence(tmp_path):
    def fill(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    cache = FileCache(tmp_path / "cache")
    with pytest.raises(StorageError, match=r"cannot be written \(No space left on device\).*cache folder"):
        cache.get("a", fill)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cache folder cannot be made"):
        FileCache(tmp_path / "file" / "cache")
