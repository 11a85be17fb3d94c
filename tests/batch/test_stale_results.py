"""Masks and DICOM objects in the output folder always belong to the predictions in its tables."""

import os
import shutil

import pytest

from dermcheck.batch import BatchSettings, run_batch


@pytest.fixture
def batch(tmp_path, models):
    def run(**options):
        return run_batch(BatchSettings(tmp_path / "in", tmp_path / "out", **{"models": models, **options}))

    return run


@pytest.fixture
def names(tmp_path):
    """Names of all masks and DICOM objects that are there."""
    return lambda: sorted(path.name for path in tmp_path.glob("out/*/*"))


def test_the_mask_of_a_changed_photograph_does_not_outlive_its_prediction(tmp_path, batch, draw_photo, names):
    draw_photo(tmp_path / "in/a.jpg", seed=1)
    draw_photo(tmp_path / "in/b.jpg", seed=2)
    batch(masks=True)
    before = (tmp_path / "out/masks/a_segmentation.png").read_bytes()
    draw_photo(tmp_path / "in/a.jpg", seed=3, rows=90)
    batch(redo="changed")  # without masks
    assert names() == ["b_segmentation.png"]
    assert batch(masks=True).predicted == 1
    assert (tmp_path / "out/masks/a_segmentation.png").read_bytes() != before


def test_masks_of_other_models_do_not_stay_beside_new_predictions(
    tmp_path, batch, draw_photo, names, other_models
):
    draw_photo(tmp_path / "in/a.jpg")
    batch(masks=True, dicom=True)
    batch(models=other_models, redo="changed")
    assert names() == []


def test_everything_done_anew_leaves_nothing_old(tmp_path, batch, draw_photo, names):
    draw_photo(tmp_path / "in/a.jpg")
    batch(masks=True, dicom=True)
    batch(redo="all", masks=True)
    assert names() == ["a_segmentation.png"]


def test_a_photograph_that_fails_now_keeps_no_results(tmp_path, batch, draw_photo, draw_dicom, names):
    draw_photo(tmp_path / "in/a.jpg")
    draw_dicom(tmp_path / "in/b.dcm")
    batch(masks=True, dicom=True)
    assert len(names()) == 7
    for name in ("a.jpg", "b.dcm"):
        content = (tmp_path / "in" / name).read_bytes()
        (tmp_path / "in" / name).write_bytes(content[: len(content) // 2])
    assert batch(masks=True, dicom=True, redo="changed").failed == 2
    assert names() == []


def test_a_name_that_passes_to_another_photograph_takes_no_results_along(tmp_path, batch, draw_photo, names):
    draw_photo(tmp_path / "in/1/a.jpg", seed=1)
    draw_photo(tmp_path / "in/z.jpg")
    batch(masks=True)
    shutil.rmtree(tmp_path / "in/1")
    draw_photo(tmp_path / "in/2/a.jpg", seed=2)
    batch()
    assert names() == ["z_segmentation.png"]


def test_options_added_later_keep_what_is_there(tmp_path, batch, draw_photo, names):
    draw_photo(tmp_path / "in/a.jpg")
    batch(masks=True)
    batch(dicom=True)
    assert names() == ["a.photo.dcm", "a.seg.dcm", "a.sr.dcm", "a_segmentation.png"]


def test_options_added_later_keep_nothing_of_a_file_that_changed_meanwhile(
    tmp_path, batch, draw_photo, names
):
    photo = draw_photo(tmp_path / "in/a.jpg")
    batch(masks=True)
    draw_photo(photo, seed=5)
    os.utime(photo, ns=(0, 0))
    batch(dicom=True)  # predicted again, as its SEG is not there
    assert names() == ["a.photo.dcm", "a.seg.dcm", "a.sr.dcm"]
