"""A batch that is killed, stopped, doubled or out of room. Each is a process of its own."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from dermcheck.batch.names import JOURNAL_NAME

COUNT = 120


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, draw_photo) -> Path:
    """Many small photos in two folders, with names that repeat, and two broken files among them."""
    folder = tmp_path_factory.mktemp("archive") / "in"
    for seed in range(COUNT):
        draw_photo(folder / f"{'ab'[seed % 2]}/IMG_{seed // 2:03}.jpg", seed)
    (folder / "a/IMG_0055.jpg").touch()
    (folder / "b/broken.dcm").write_text("no DICOM")
    return folder


@pytest.fixture(scope="module")
def uninterrupted(archive: Path, start_batch) -> dict[str, bytes]:
    """What one undisturbed run writes, by path."""
    output = archive.parent / "undisturbed"
    status, _, _ = start_batch(archive, output, "--masks", "png").finish()
    assert status == 1  # there are failures
    return results(output)


def results(output: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file() and path.name != JOURNAL_NAME
    }


def wait_for_masks(output: Path, process, count: int) -> None:
    """Wait until a running batch has written so many masks and saved its journal."""
    deadline = time.monotonic() + 200
    while len(list(output.glob("masks/**/*.png"))) < count:
        assert process.is_running(), "the batch ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(1.1)


def test_a_killed_batch_goes_on_and_ends_as_if_nothing_had_happened(
    archive, uninterrupted, start_batch, tmp_path
):
    output = tmp_path / "out"
    for masks in (5, 30):
        process = start_batch(archive, output, "--masks", "png")
        wait_for_masks(output, process, masks)
        process.send_signal(signal.SIGKILL)
        assert process.finish()[0] == -signal.SIGKILL
        assert not (output / "predictions.csv").exists()
    status, summary, _ = start_batch(archive, output, "--masks", "png", "--json").finish()
    assert status == 1
    summary = json.loads(summary)
    assert summary["already_predicted"] > 0
    assert summary["predicted"] + summary["already_predicted"] == COUNT
    assert results(output) == uninterrupted


def test_control_c_stops_with_a_sentence_and_the_batch_can_go_on(
    archive, uninterrupted, start_batch, tmp_path
):
    output = tmp_path / "out"
    process = start_batch(archive, output, "--masks", "png")
    wait_for_masks(output, process, 5)
    process.send_signal(signal.SIGINT)
    status, _, errors = process.finish()
    assert status == 130
    assert "dermcheck: stopped after " in errors
    assert "Run the same command again: it goes on where it stopped." in errors
    assert start_batch(archive, output, "--masks", "png").finish()[0] == 1
    assert results(output) == uninterrupted


def test_a_second_batch_on_the_same_output_is_refused(archive, uninterrupted, start_batch, tmp_path):
    output = tmp_path / "out"
    first = start_batch(archive, output, "--masks", "png")
    wait_for_masks(output, first, 1)
    status, _, errors = start_batch(archive, output, "--masks", "png").finish()
    assert status == 2
    assert "another batch is writing into this folder" in errors
    assert first.finish()[0] == 1
    assert results(output) == uninterrupted


def test_a_disk_that_fills_up_is_a_sentence_and_nothing_is_lost(
    archive, uninterrupted, start_batch, tmp_path
):
    output = tmp_path / "out"
    status, _, errors = start_batch(archive, output, "--masks", "png", file_size_limit=24 * 1024).finish()
    assert status == 1
    assert JOURNAL_NAME in errors
    assert "the progress cannot be saved" in errors
    assert "run the same command again: it goes on where it stopped" in errors
    assert start_batch(archive, output, "--masks", "png").finish()[0] == 1
    assert results(output) == uninterrupted


def test_a_result_for_which_there_is_no_room_is_not_there_at_all(start_batch, draw_photo, tmp_path):
    draw_photo(tmp_path / "in/large.png", rows=1500, columns=1500)
    output = tmp_path / "out"
    status, _, errors = start_batch(tmp_path / "in", output, "--dicom", file_size_limit=100 * 1024).finish()
    assert status == 1
    assert "this result cannot be saved (File too large)" in errors
    assert not list(output.glob("dicom/*.seg.dcm"))
    assert not (output / "predictions.csv").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_without_permission_is_a_sentence(start_batch, draw_photo, tmp_path):
    draw_photo(tmp_path / "in/a.jpg")
    (tmp_path / "closed").mkdir(mode=0o500)
    status, _, errors = start_batch(tmp_path / "in", tmp_path / "closed/out").finish()
    assert status == 1
    assert "cannot be saved (Permission denied)" in errors


def test_an_output_folder_that_cannot_be_made_is_a_sentence(start_batch, draw_photo, tmp_path):
    draw_photo(tmp_path / "in/a.jpg")
    (tmp_path / "file").touch()
    status, _, errors = start_batch(tmp_path / "in", tmp_path / "file/out").finish()
    assert status == 1
    assert "cannot be saved (Not a directory)" in errors


def test_memory_does_not_grow_with_the_number_of_photographs(start_batch, draw_photo, tmp_path):
    rows, columns = 1000, 1000
    first = draw_photo(tmp_path / "photo.jpg", rows=rows, columns=columns)
    peaks = {}
    for count in (10, 100):
        (tmp_path / f"in{count}").mkdir()
        for number in range(count):
            (tmp_path / f"in{count}/{number}.jpg").hardlink_to(first)
        process = start_batch(tmp_path / f"in{count}", tmp_path / f"out{count}", "--masks", "png", "--json")
        assert process.finish()[0] == 0
        peaks[count] = process.peak_memory_bytes
    assert peaks[100] - peaks[10] < 10 * rows * columns * 3  # of 90 photographs more
