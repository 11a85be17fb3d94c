"""A batch that is killed, stopped, doubled or out of room. Each is a process of its own.

Results are compared to the byte, numbers in tables to their last decimals: torch, with which tests run,
computes a photograph together with others, which changes its rounding on some processors. Masks it reaches
only on an edge.
"""

import csv
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dermcheck.batch.names import JOURNAL_NAME, LOCK_NAME
from dermcheck.batch.status import read_status

COUNT = 160  # more than a quick machine predicts between two commits of the journal (`FORK_SERVER`)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, draw_photo) -> Path:
    """Many photos in two folders, with names that repeat, and two broken files among them."""
    folder = tmp_path_factory.mktemp("archive") / "in"
    for seed in range(COUNT):
        draw_photo(folder / f"{'ab'[seed % 2]}/IMG_{seed // 2:03}.jpg", seed, rows=300, columns=400)
    (folder / "a/IMG_0029.jpg").touch()
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
        if path.is_file() and path.name not in (JOURNAL_NAME, LOCK_NAME)
    }


def assert_undisturbed(output: Path, uninterrupted: dict[str, bytes]) -> None:
    found = results(output)
    assert found.keys() == uninterrupted.keys()
    for path, content in found.items():
        if path.endswith(".csv"):
            for row, expected in zip(rows(content), rows(uninterrupted[path]), strict=True):
                assert row == pytest.approx(expected, abs=1e-5), path
        else:
            assert content == uninterrupted[path], path


def rows(table: bytes) -> list[list[float | str]]:
    """Read a table; what is a number becomes one."""
    return [[number(cell) for cell in row] for row in csv.reader(table.decode().splitlines())]


def number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def run_until(output: Path, process, masks: int) -> None:
    """Let a batch run in short steps until it has so many masks and a committed row; it is then halted.

    So it cannot end before it is interrupted, however busy the computer is.
    """
    deadline = time.monotonic() + 200
    while True:
        process.send_signal(signal.SIGSTOP)
        if len(list(output.glob("masks/**/*.png"))) >= masks and read_status(output).predicted:
            return
        assert process.is_running(), "the batch ended before it could be interrupted"
        assert time.monotonic() < deadline
        process.send_signal(signal.SIGCONT)
        time.sleep(0.02)


def test_a_killed_batch_goes_on_and_ends_as_if_nothing_had_happened(
    archive, uninterrupted, start_batch, tmp_path
):
    output = tmp_path / "out"
    for _ in range(2):
        earlier = len(list(output.glob("masks/**/*.png")))
        process = start_batch(archive, output, "--masks", "png")
        run_until(output, process, earlier + 5)
        process.send_signal(signal.SIGKILL)
        assert process.finish()[0] == -signal.SIGKILL
        assert not (output / "predictions.csv").exists()
    status, summary, _ = start_batch(archive, output, "--masks", "png", "--json").finish()
    assert status == 1
    summary = json.loads(summary)
    assert summary["already_predicted"] > 0
    assert summary["predicted"] + summary["already_predicted"] == COUNT
    assert_undisturbed(output, uninterrupted)


def test_control_c_stops_with_a_sentence_and_the_batch_can_go_on(
    archive, uninterrupted, start_batch, tmp_path
):
    output = tmp_path / "out"
    process = start_batch(archive, output, "--masks", "png")
    run_until(output, process, 5)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    status, _, errors = process.finish()
    assert status == 130
    assert "dermcheck: stopped after " in errors
    assert "Run the same command again: it goes on where it stopped." in errors
    assert start_batch(archive, output, "--masks", "png").finish()[0] == 1
    assert_undisturbed(output, uninterrupted)


def test_a_second_batch_on_the_same_output_is_refused(archive, uninterrupted, start_batch, tmp_path):
    output = tmp_path / "out"
    first = start_batch(archive, output, "--masks", "png")
    run_until(output, first, 1)
    status, _, errors = start_batch(archive, output, "--masks", "png").finish()
    assert status == 2
    assert "another batch is writing into this folder" in errors
    first.send_signal(signal.SIGCONT)
    assert first.finish()[0] == 1
    assert_undisturbed(output, uninterrupted)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system with room for about half of the archive's results."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=340k", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_fills_up_is_a_sentence_and_nothing_is_lost(
    archive, uninterrupted, start_batch, small_disk
):
    output = small_disk / "out"
    status, _, errors = start_batch(archive, output, "--masks", "png").finish()
    assert status == 1
    assert "No space left on device" in errors or "disk is full" in errors
    assert "run the same command again: it goes on where it stopped" in errors
    assert not (output / "predictions.csv").exists()
    done = read_status(output).predicted
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    status, summary, _ = start_batch(archive, output, "--masks", "png", "--json").finish()
    assert status == 1
    assert json.loads(summary)["already_predicted"] == done
    assert_undisturbed(output, uninterrupted)


def test_a_journal_that_may_not_grow_is_a_sentence_and_nothing_is_lost(
    archive, uninterrupted, start_batch, tmp_path
):
    output = tmp_path / "out"
    status, _, errors = start_batch(archive, output, "--masks", "png", file_size_limit=64 * 1024).finish()
    assert status == 1
    assert JOURNAL_NAME in errors
    assert "the progress cannot be saved" in errors
    assert "run the same command again: it goes on where it stopped" in errors
    assert start_batch(archive, output, "--masks", "png").finish()[0] == 1
    assert_undisturbed(output, uninterrupted)


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
    first = draw_photo(tmp_path / "photo.jpg", rows=rows, columns=columns).read_bytes()
    (tmp_path / "in").mkdir()
    for number in range(400):
        copy = tmp_path / f"in/{number}.jpg"  # of another content, behind the picture's end
        copy.write_bytes(first + str(number).encode())
    process = start_batch(tmp_path / "in", tmp_path / "out", "--masks", "png")
    run_until(tmp_path / "out", process, 200)  # all queues, of 144 together, have been full
    peak = process.peak_so_far_bytes()
    process.send_signal(signal.SIGCONT)
    assert process.finish()[0] == 0
    assert process.peak_memory_bytes - peak < 10 * rows * columns * 3  # of 200 photographs more
