import errno
import os
import resource
import signal
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from dermcheck.dicom.new_file import write_new_file
from dermcheck.errors import StorageError


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse to make a file grow beyond a size, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=False, capture_output=True
    )
    if mount.returncode:
        pytest.skip("only an administrator may mount a tiny disk; largest_file tests the same without")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_the_content_is_written(tmp_path):
    write_new_file(tmp_path / "new.dcm", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["new.dcm"]
    assert (tmp_path / "new.dcm").read_bytes() == b"content"


def test_an_existing_file_is_never_replaced(tmp_path):
    (tmp_path / "old.dcm").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        write_new_file(tmp_path / "old.dcm", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"old.dcm": b"old"}


def test_of_many_writers_of_one_name_exactly_one_wins(tmp_path):
    def claim(number: int) -> bool:
        try:
            write_new_file(tmp_path / "name.dcm", b"%d" % number * 10_000)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        winners = [number for number, won in enumerate(threads.map(claim, range(8))) if won]
    assert len(winners) == 1
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"%d" % winners[0] * 10_000]


def test_a_file_system_without_hard_links_works_too(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_new_file(tmp_path / "new.dcm", b"content")
    with pytest.raises(FileExistsError):
        write_new_file(tmp_path / "new.dcm", b"other")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"new.dcm": b"content"}


def test_colleagues_can_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o027)
    try:
        write_new_file(tmp_path / "new.dcm", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new.dcm").stat().st_mode) == 0o640


def test_a_file_that_cannot_grow_leaves_nothing(tmp_path):
    with largest_file(1000), pytest.raises(StorageError, match=r"new.dcm: not saved, the disk is full.*Free"):
        write_new_file(tmp_path / "new.dcm", bytes(5000))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tiny_disk):
    write_new_file(tiny_disk / "first.dcm", bytes(40_000))
    with pytest.raises(StorageError, match=r"second.dcm: not saved, the disk is full \(No space"):
        write_new_file(tiny_disk / "second.dcm", bytes(40_000))
    assert [path.name for path in tiny_disk.iterdir()] == ["first.dcm"]


def test_a_read_only_folder_is_a_sentence(without_rights):
    with without_rights() as folder:
        folder.chmod(0o555)
        with pytest.raises(StorageError, match=r"new.dcm: not saved, the folder is read-only.*writable"):
            write_new_file(folder / "new.dcm", b"")


def test_a_folder_that_is_gone_is_a_sentence(tmp_path):
    with pytest.raises(StorageError, match=r"not saved \(No such file or directory\)"):
        write_new_file(tmp_path / "gone" / "new.dcm", b"")
