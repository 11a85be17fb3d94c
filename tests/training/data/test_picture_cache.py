"""The picture cache: decoded once, shared, checked, and safe when killed, damaged or out of space."""

import dataclasses
import errno
import multiprocessing
import os
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dermcheck.errors import StorageError
from dermcheck.files import TEMPORARY_PREFIX
from dermcheck.inference.preprocessing import prepare
from dermcheck.networks.cards import InputSpec
from dermcheck.training.data import DataError, DataSet, LabelledPhotograph, decode, identify, open_data_set
from dermcheck.training.data import picture_cache as module
from dermcheck.training.data.blocks import open_blocks, write_block
from dermcheck.training.data.data_set import PictureFile

from .conftest import draw, save_mask, write_table

SIDE = 32


@dataclasses.dataclass(frozen=True)
class Counted:
    """A picture that counts how often it is decoded, and may end the program at one."""

    number: int
    reads: list[int]
    fatal: int | None = None

    def revision(self) -> str:
        return f"counted {self.number}"

    def read(self) -> np.ndarray:
        if self.number == self.fatal:
            raise KeyboardInterrupt
        self.reads.append(self.number)
        return draw(self.number)[0]


def counted(count: int, reads: list[int], fatal: int | None = None) -> DataSet:
    return DataSet(
        "counted",
        tuple(
            LabelledPhotograph(
                image_id=str(i), source="counted", picture=Counted(i, reads, fatal), diagnosis=0
            )
            for i in range(count)
        ),
    )


class Away:
    """A picture in an archive that can no longer be reached."""

    def revision(self) -> str:
        return "away"

    def read(self) -> np.ndarray:
        raise StorageError("the archive does not answer")


def squares(cache: Path) -> list[Path]:
    return sorted(cache.glob("squares-*/block-*"))


# ---- what is in it ----


def test_rows_are_the_photographs_with_all_that_is_known(drawn, cache):
    photographs = decode(open_data_set(drawn), SIDE, cache, progress=False)
    assert photographs.images.shape == (12, SIDE, SIDE, 3)
    assert photographs.masks.shape == (12, SIDE, SIDE)
    assert photographs.side == SIDE
    assert list(photographs.image_id) == [f"p{i:02}" for i in range(12)]
    assert photographs.has_mask.all()
    assert set(np.unique(photographs.masks[np.arange(12)])) == {0, 1}
    np.testing.assert_array_equal(photographs.lesion_id[::2], photographs.lesion_id[1::2])
    np.testing.assert_array_equal(photographs.fold[::2], photographs.fold[1::2])
    assert np.isnan(photographs.age).all()


def test_squares_are_what_the_classifier_sees(drawn, cache):
    data_set = open_data_set(drawn)
    photographs = decode(data_set, SIDE, cache, progress=False)
    spec = InputSpec(side=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3, geometry="centre_square")
    for row in range(len(photographs)):
        seen = prepare(data_set.read_picture(row), spec).pixels[0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(photographs.images[row] / 255, seen, atol=0.5 / 255 + 1e-6)


def test_masks_lie_on_their_lesions(drawn, cache):
    photographs = decode(open_data_set(drawn), SIDE, cache, progress=False)
    dark = photographs.images[:].astype(int).sum(3) < 450
    lesion = photographs.masks[:] > 0
    dark[:, :4, :4] = False  # the noise that makes pictures differ
    assert ((dark & lesion).sum((1, 2)) / (dark | lesion).sum((1, 2))).min() > 0.9


@pytest.mark.parametrize("rows", [slice(None), slice(3, 9, 2), [7, 0, 0, 11], np.arange(12) % 2 == 0])
def test_rows_are_read_like_those_of_an_array(drawn, cache, monkeypatch, rows):
    monkeypatch.setattr(module, "_PART", 5)  # three blocks
    photographs = decode(open_data_set(drawn), SIDE, cache, progress=False)
    assert len(squares(cache)) == 3
    whole = np.stack([photographs.images[row] for row in range(12)])
    np.testing.assert_array_equal(photographs.images[rows], whole[rows])


# ---- decoded once ----


def test_the_second_run_decodes_nothing(cache):
    reads: list[int] = []
    first = decode(counted(5, reads), SIDE, cache, progress=False)
    second = decode(counted(5, reads), SIDE, cache, progress=False)
    assert sorted(reads) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(first.images[:], second.images[:])
    assert first.fingerprint == second.fingerprint


def test_new_photographs_are_added_without_decoding_the_old_ones(cache):
    reads: list[int] = []
    decode(counted(3, reads), SIDE, cache, progress=False)
    reads.clear()
    assert len(decode(counted(5, reads), SIDE, cache, progress=False)) == 5
    assert sorted(reads) == [3, 4]


def test_a_copy_of_the_data_set_adds_no_squares(drawn, cache, tmp_path):
    decode(open_data_set(drawn), SIDE, cache, progress=False)
    before = squares(cache)
    copy = shutil.copytree(drawn, tmp_path / "copy")
    decode(open_data_set(copy), SIDE, cache, progress=False)
    assert squares(cache) == before


def test_a_changed_picture_is_decoded_again(drawn, cache):
    before = decode(open_data_set(drawn), SIDE, cache, progress=False)
    Image.fromarray(draw(123)[0]).save(drawn / "images" / "p03.png")
    after = decode(open_data_set(drawn), SIDE, cache, progress=False)
    changed = (before.images[:] != after.images[:]).any((1, 2, 3))
    assert list(np.flatnonzero(changed)) == [3]
    assert before.fingerprint != after.fingerprint


def test_another_side_is_another_cache(drawn, cache):
    small = decode(open_data_set(drawn), SIDE, cache, progress=False)
    large = decode(open_data_set(drawn), 48, cache, progress=False)
    assert (small.side, large.side) == (SIDE, 48)
    assert small.fingerprint == large.fingerprint


def test_identifying_alone_gives_the_same_folds_and_writes_no_squares(drawn, cache, tmp_path):
    identified = identify(open_data_set(drawn), tmp_path / "other", progress=False)
    decoded = decode(open_data_set(drawn), SIDE, cache, progress=False)
    assert [p.fold for p in identified.photographs] == decoded.fold.tolist()
    assert [p.content for p in identified.photographs] == decoded.content.tolist()
    assert identified.fingerprint() == decoded.fingerprint
    assert not squares(tmp_path / "other")


def test_an_identified_data_set_can_be_decoded_and_says_nothing_twice(drawn, cache):
    shutil.copy(drawn / "images" / "p00.png", drawn / "images" / "p01.png")
    identified = identify(open_data_set(drawn), cache, progress=False)
    assert decode(identified, SIDE, cache, progress=False).problems == identified.problems
    assert len(identified.problems) == len(set(identified.problems)) > 0


# ---- odd pictures and masks ----


def test_duplicates_and_their_disputed_diagnosis_are_reported(drawn, cache):
    shutil.copy(drawn / "images" / "p00.png", drawn / "images" / "p01.png")
    shutil.copy(drawn / "images" / "p00.png", drawn / "images" / "p02.png")
    photographs = decode(open_data_set(drawn), SIDE, cache, progress=False)
    assert (
        "Pictures that are there more than once, pixel by pixel (1): p00 = p01 = p02." in photographs.problems
    )
    disputed = "at least one of them wrong (1): p00 (akiec) = p01 (akiec) = p02 (bcc)."
    assert any(problem.endswith(disputed) for problem in photographs.problems)


@pytest.mark.parametrize(
    ("mask", "problem"),
    [
        (np.ones((48, 64)), "Masks that are all foreground, which is no outline, not used (1): p05 ("),
        (np.zeros((48, 64)), "Masks that outline nothing, not used (1): p05 ("),
        (np.eye(20), "Masks of another size than their photograph, not used (1): p05 (mask 20 × 20, "),
    ],
)
def test_masks_that_cannot_teach_are_taken_off_and_the_diagnosis_stays(drawn, cache, mask, problem):
    save_mask(mask, drawn / "masks" / "p05_segmentation.png")
    photographs = decode(open_data_set(drawn), SIDE, cache, progress=False)
    assert list(np.flatnonzero(~photographs.has_mask)) == [5]
    assert not photographs.masks[5].any()
    assert photographs.diagnosis[5] >= 0
    assert [found for found in photographs.problems if found.startswith(problem)]
    again = decode(open_data_set(drawn), SIDE, cache, progress=False)  # now from the index
    assert again.problems == photographs.problems
    assert again.fingerprint == photographs.fingerprint


def test_undecodable_pictures_and_masks_are_named(drawn, cache):
    (drawn / "images" / "p01.png").write_bytes(b"no picture")
    (drawn / "masks" / "p02_segmentation.png").write_bytes(b"")
    photographs = decode(open_data_set(drawn), SIDE, cache, progress=False)
    assert "p01" not in photographs.image_id
    assert not photographs.has_mask[photographs.image_id == "p02"].any()
    picture, mask = photographs.problems
    assert "p01.png: this is not a readable" in picture
    assert mask.endswith("Photograph p02 teaches no outline.")


def test_data_sets_without_a_single_picture_are_refused(cache, tmp_path):
    with pytest.raises(DataError, match="there are no photographs"):
        decode(DataSet("none", ()), SIDE, cache)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    broken = LabelledPhotograph(image_id="broken", source="x", picture=PictureFile(tmp_path / "broken.png"))
    with pytest.raises(DataError, match=r"none of its photographs can be decoded\. .*broken\.png: this is"):
        decode(DataSet("broken", (broken,)), SIDE, cache, progress=False)


def test_an_archive_that_goes_away_stops_the_run_and_keeps_what_was_decoded(cache, monkeypatch):
    """Otherwise the model would be trained, and judged, on an accidental rest."""
    monkeypatch.setattr(module, "_PART", 2)
    reads: list[int] = []
    away = DataSet(
        "away",
        tuple(
            dataclasses.replace(p, picture=Away()) if p.image_id == "3" else p
            for p in counted(4, reads).photographs
        ),
    )
    with pytest.raises(StorageError, match="the archive does not answer"):
        decode(away, SIDE, cache, progress=False)
    reads.clear()
    decode(counted(4, reads), SIDE, cache, progress=False)
    assert sorted(reads) == [2, 3]


def test_a_file_that_vanished_is_named(drawn, cache):
    data_set = open_data_set(drawn)
    (drawn / "images" / "p04.png").unlink()
    with pytest.raises(StorageError, match=r"p04\.png: the file can no longer be read"):
        decode(data_set, SIDE, cache, progress=False)


# ---- killed, damaged, full ----


def test_a_run_that_was_stopped_goes_on_where_it_was(cache, monkeypatch):
    monkeypatch.setattr(module, "_PART", 4)
    reads: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        decode(counted(12, reads, fatal=9), SIDE, cache, progress=False)
    kept = {int(i) for i in range(8)}
    reads.clear()
    photographs = decode(counted(12, reads), SIDE, cache, progress=False)
    assert len(photographs) == 12
    assert kept.isdisjoint(reads)


def decode_in_a_fork(root, cache):
    """Decode once this process has a thread pool of its own: torch makes it anew after a fork.

    It does so at the first use, and two threads at once would fail ("Invalid thread pool").
    """
    torch.set_num_threads(torch.get_num_threads())
    decode(open_data_set(root), SIDE, cache, progress=False)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_killed_run_leaves_a_sound_cache(draw_pictures, cache, monkeypatch):
    monkeypatch.setattr(module, "_PART", 2)
    root = draw_pictures([f"p{i:03}" for i in range(80)])
    fork = multiprocessing.get_context("fork")  # a new interpreter would import for long
    process = fork.Process(target=decode_in_a_fork, args=(root, cache))
    process.start()
    deadline = time.monotonic() + 60
    while len(squares(cache)) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    written = squares(cache)
    assert 3 <= len(written) < 40
    photographs = decode(open_data_set(root), SIDE, cache, progress=False)
    assert photographs.problems == open_data_set(root).problems
    assert len(photographs) == 80
    assert set(written) <= set(squares(cache))


def test_several_runs_fill_one_cache_at_once(cache):
    reads: list[int] = []
    with ThreadPoolExecutor(4) as threads:
        runs = list(threads.map(lambda _: decode(counted(20, reads), SIDE, cache, progress=False), range(4)))
    for run in runs:
        np.testing.assert_array_equal(run.images[:], runs[0].images[:])


@pytest.mark.parametrize("name", ["images.npy", "masks.npy", "index.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_part_is_noticed_and_decoded_again(drawn, cache, monkeypatch, name, damage):
    monkeypatch.setattr(module, "_PART", 5)
    before = decode(open_data_set(drawn), SIDE, cache, progress=False).images[:]
    path = squares(cache)[1] / name
    content = bytearray(path.read_bytes())
    content[-30 if name != "index.json" else 0] ^= 0xFF
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    photographs = decode(open_data_set(drawn), SIDE, cache, progress=False)
    np.testing.assert_array_equal(photographs.images[:], before)
    assert [problem for problem in photographs.problems if "part of the picture cache is damaged" in problem]
    assert decode(open_data_set(drawn), SIDE, cache, progress=False).problems == ()


def test_a_damaged_index_costs_decoding_only(cache):
    reads: list[int] = []
    decode(counted(3, reads), SIDE, cache, progress=False)
    (cache / "identities.sqlite").write_bytes(b"no database at all" * 100)
    assert len(decode(counted(3, reads), SIDE, cache, progress=False)) == 3
    reads.clear()
    decode(counted(3, reads), SIDE, cache, progress=False)
    assert reads == []


def test_too_little_disk_is_said_before_anything_is_decoded(cache, monkeypatch):
    usage = shutil.disk_usage(cache.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100 * 2**20))
    reads: list[int] = []
    words = r"squares-32-v1: decoding needs 0 MiB of disk and 256 MiB in reserve, but 100 MiB are free"
    with pytest.raises(StorageError, match=words) as caught:
        decode(counted(3, reads), SIDE, cache, progress=False)
    assert caught.value.errno == errno.ENOSPC
    assert not str(caught.value).startswith("[Errno")
    assert reads == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_disk_that_fills_up_leaves_what_was_written(tmp_path):
    import resource

    images, masks = np.zeros((4, SIDE, SIDE, 3), np.uint8), np.zeros((4, SIDE, SIDE), np.uint8)
    write_block(tmp_path, list("abcd"), images, masks)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, hard))
    try:
        with pytest.raises(StorageError, match="decoded pictures cannot be stored"):
            write_block(tmp_path, list("efgh"), images, masks)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    blocks, problems = open_blocks(tmp_path, SIDE)
    assert [block.keys for block in blocks] == [("a", "b", "c", "d")]
    assert problems == []
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_run_left_is_removed_after_an_hour(tmp_path):
    for name, age_s in (("old", 4000), ("new", 10)):
        (tmp_path / f"{TEMPORARY_PREFIX}{name}").mkdir()
        os.utime(tmp_path / f"{TEMPORARY_PREFIX}{name}", (time.time() - age_s,) * 2)
    assert open_blocks(tmp_path, SIDE) == ([], [])
    assert [path.name for path in tmp_path.iterdir()] == [f"{TEMPORARY_PREFIX}new"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps other permissions")
def test_only_the_owner_can_read_the_cache(drawn, cache):
    decode(open_data_set(drawn), SIDE, cache, progress=False)
    assert cache.stat().st_mode & 0o077 == 0


def test_a_cache_folder_that_cannot_be_made_is_named(drawn, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/cache: the folder of the picture cache cannot be made"):
        decode(open_data_set(drawn), SIDE, tmp_path / "file" / "cache", progress=False)


def test_a_progress_bar_is_shown_once(drawn, cache, capsys):
    decode(open_data_set(drawn), SIDE, cache)
    assert "decoding photographs: 100%" in capsys.readouterr().err
    decode(open_data_set(drawn), SIDE, cache)
    assert capsys.readouterr().err == ""


def test_lesions_known_by_a_table_only_group_within_their_source(draw_pictures, cache):
    root = draw_pictures(["a"], folder="one")
    other = draw_pictures(["b"], folder="two")
    for place, image in ((root, "a"), (other, "b")):
        write_table(place / "labels.csv", {"image_id": image, "lesion_id": "7", "dx": "nv"})
    photographs = decode(open_data_set(root) + open_data_set(other), SIDE, cache, progress=False)
    assert list(photographs.lesion_id) == ["one/7", "two/7"]
