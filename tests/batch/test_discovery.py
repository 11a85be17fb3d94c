import inspect
import os
import sys
from pathlib import Path

import pytest

from dermcheck.batch.discovery import InputFile, Skipped, Unopened, path_key, walk
from dermcheck.batch.names import JOURNAL_NAME


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def files(folder: Path, output: Path | None = None) -> list[str]:
    return [str(found.relative) for found in walk(folder, output) if isinstance(found, InputFile)]


def test_files_come_in_the_order_of_their_names_folder_by_folder(tmp_path):
    make(tmp_path, "b.jpg", "a/2.jpg", "a/10.jpg", "a.jpg", "B.jpg", "ä.jpg", "皮.jpg")
    assert files(tmp_path) == ["B.jpg", "a/10.jpg", "a/2.jpg", "a.jpg", "b.jpg", "ä.jpg", "皮.jpg"]


def test_the_journal_sorts_as_the_walk_goes(tmp_path):
    make(tmp_path, "a/b", "a!", "a/c/d", "a-b/c", "a0", "A", "ä/x", "b/a", "b.a/a")
    positions = [path_key(found.relative) for found in walk(tmp_path)]
    assert positions == sorted(positions)


def test_a_file_is_its_own_input(tmp_path):
    make(tmp_path, "a/photo.jpg")
    [found] = walk(tmp_path / "a/photo.jpg")
    assert found.relative == Path("photo.jpg")
    assert found.size == 1


def test_a_loop_of_links_ends(tmp_path):
    make(tmp_path, "a/photo.jpg")
    (tmp_path / "a/again").symlink_to(tmp_path, target_is_directory=True)
    found = list(walk(tmp_path))
    assert [str(entry.relative) for entry in found] == ["a/again", "a/photo.jpg"]
    assert found[0] == Skipped(Path("a/again"), "folder already seen by another path")


def test_a_link_to_a_folder_elsewhere_is_followed(tmp_path):
    make(tmp_path, "elsewhere/photo.jpg")
    (tmp_path / "input").mkdir()
    (tmp_path / "input/link").symlink_to(tmp_path / "elsewhere")
    assert files(tmp_path / "input") == ["link/photo.jpg"]


@pytest.mark.parametrize("target", ["nowhere", "photo.jpg"])
def test_a_link_to_nowhere_or_to_itself_is_reported(tmp_path, target):
    (tmp_path / "photo.jpg").symlink_to(tmp_path / target)
    [found] = walk(tmp_path)
    assert isinstance(found, Unopened)
    assert found.reason.startswith("photo.jpg: this file cannot be opened (")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_without_permission_is_reported(tmp_path):
    make(tmp_path, "closed/photo.jpg", "open/photo.jpg")
    (tmp_path / "closed").chmod(0)
    closed, readable = walk(tmp_path)
    (tmp_path / "closed").chmod(0o700)
    assert isinstance(closed, Unopened)
    assert isinstance(readable, InputFile)


def test_the_output_folder_is_not_read(tmp_path):
    make(tmp_path, "photo.jpg", "results/masks/photo_segmentation.png")
    assert files(tmp_path, output=tmp_path / "results") == ["photo.jpg"]


def test_the_results_of_another_batch_are_not_read(tmp_path):
    make(tmp_path, "photo.jpg", f"earlier/{JOURNAL_NAME}", "earlier/masks/photo_segmentation.png")
    assert files(tmp_path) == ["photo.jpg"]


def test_hidden_names_are_skipped_and_counted(tmp_path):
    make(tmp_path, "._photo.jpg", ".thumbnails/photo.jpg", "photo.jpg")
    assert files(tmp_path) == ["photo.jpg"]
    assert sum(isinstance(found, Skipped) for found in walk(tmp_path)) == 2


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "photo.jpg")
    assert list(walk(tmp_path)) == [Skipped(Path("photo.jpg"), "not a regular file")]


def test_folders_may_be_nested_deeper_than_python_recurses(tmp_path):
    make(tmp_path, "d/" * 100 + "photo.jpg")
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 60)
    try:
        assert files(tmp_path) == ["d/" * 100 + "photo.jpg"]
    finally:
        sys.setrecursionlimit(usual)
