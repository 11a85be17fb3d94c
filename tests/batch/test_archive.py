import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from dermcheck.batch import BatchSettings, Tally, run_batch
from dermcheck.dicom.header import read_header
from dermcheck.dicom.photograph import read_photograph, read_picture
from dermcheck.dicom.report import read_report
from dermcheck.dicom.segmentation import read_segmentation
from dermcheck.errors import ArgumentError, ModelError, NotFoundError
from dermcheck.lesions import lesion_class

HEADER = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"


@pytest.fixture
def batch(tmp_path: Path, models: Path) -> Callable[..., Tally]:
    """Run a batch from `in` to `out`."""

    def run(source: str = "in", output: str = "out", **options) -> Tally:
        options = {"models": models, **options}
        return run_batch(BatchSettings(tmp_path / source, tmp_path / output, **options))

    return run


@pytest.fixture
def images(tmp_path: Path, read_table) -> Callable[[str], list[str]]:
    """Names of the images in a table of `out`, in its order."""
    return lambda table="predictions.csv": [row["image"] for row in read_table(tmp_path / "out" / table)]


def probabilities(row: dict[str, str]) -> dict[str, float]:
    return {lesion_class(column).name: float(value) for column, value in row.items() if column != "image"}


def test_every_row_is_what_the_predictor_says_in_input_order(
    tmp_path, batch, read_table, draw_photo, draw_dicom, predictor
):
    pixels = {}
    for seed, name in enumerate(("a/2.jpg", "a/3.png", "b.tif")):
        path = draw_photo(tmp_path / "in" / name, seed, rows=60 + 7 * seed, columns=80)
        pixels[Path(name).stem] = read_picture(path)
    dataset = draw_dicom(tmp_path / "in/c.dcm", seed=9)
    pixels[dataset.SOPInstanceUID] = read_photograph(dataset).pixels
    assert batch() == Tally(found=4, predicted=4)
    rows = read_table(tmp_path / "out/predictions.csv")
    assert [row["image"] for row in rows] == list(pixels)
    for row, photograph in zip(rows, pixels.values(), strict=True):
        assert probabilities(row) == pytest.approx(
            dict(predictor.predict(photograph).probabilities), abs=1e-6
        )


def test_the_tables_have_the_isic_header_and_lines_that_unix_tools_read(tmp_path, batch, draw_photo):
    draw_photo(tmp_path / "in/a.jpg")
    batch()
    lines = (tmp_path / "out/predictions.csv").read_bytes().split(b"\n")
    assert lines[0].decode() == HEADER
    assert len(lines) == 3
    assert lines[2] == b""
    assert (tmp_path / "out/failures.csv").read_bytes() == b"image,reason\n"


def test_masks_are_those_of_the_predictor_in_the_image_s_own_size(tmp_path, batch, draw_photo, predictor):
    path = draw_photo(tmp_path / "in/a.jpg", seed=3, rows=75, columns=131)
    batch(masks=True)
    with Image.open(tmp_path / "out/masks/a_segmentation.png") as picture:
        assert picture.mode == "L"
        mask = np.asarray(picture)
    expected = predictor.predict(read_picture(path)).mask
    assert 0 < expected.mean() < 1
    assert np.array_equal(mask, expected * np.uint8(255))


def test_dicom_results_say_what_the_predictor_says_of_the_instance(tmp_path, batch, draw_dicom, predictor):
    source = draw_dicom(tmp_path / "in/a.dcm", seed=3, rows=75, columns=131)
    batch(dicom=True)
    report, header = predictor.predict(read_photograph(source).pixels), read_header(source)
    results = tmp_path / "out/dicom"
    [segment] = read_segmentation(dcmread(results / f"{source.SOPInstanceUID}.seg.dcm"), header)
    finding = read_report(dcmread(results / f"{source.SOPInstanceUID}.sr.dcm"))
    assert np.array_equal(segment.mask, report.mask)
    assert segment.lesion_class == report.decision == finding.decision
    assert finding.probabilities == pytest.approx(report.probabilities, abs=1e-6)
    assert finding.algorithm == report.classifier
    assert sorted(path.name for path in results.iterdir()) == sorted(
        f"{source.SOPInstanceUID}.{kind}.dcm" for kind in ("seg", "sr")
    )


def test_dicom_results_of_a_photo_come_with_the_instance_they_refer_to(tmp_path, batch, draw_photo):
    draw_photo(tmp_path / "in/a.jpg", seed=3)
    batch(dicom=True)
    photograph = read_photograph(tmp_path / "out/dicom/a.photo.dcm")
    segmentation = dcmread(tmp_path / "out/dicom/a.seg.dcm")
    assert len(read_segmentation(segmentation, photograph.header)) == 1
    report = dcmread(tmp_path / "out/dicom/a.sr.dcm")
    assert report.StudyInstanceUID == photograph.header.study_instance_uid


def test_segmentation_and_report_of_a_photo_follow_the_same_lesion(tmp_path, batch, draw_photo):
    draw_photo(tmp_path / "in/a.jpg", seed=3)
    batch(dicom=True)
    [segment] = dcmread(tmp_path / "out/dicom/a.seg.dcm").SegmentSequence
    report = str(dcmread(tmp_path / "out/dicom/a.sr.dcm"))
    assert segment.TrackingUID in report
    assert segment.TrackingID in report


def test_one_file_may_be_the_input(tmp_path, batch, draw_photo, images):
    draw_photo(tmp_path / "in/a.jpg")
    assert batch("in/a.jpg").predicted == 1
    assert images() == ["a"]


# --- names ------------------------------------------------------------------------------------------


def test_a_stem_that_occurs_again_is_replaced_by_the_path(tmp_path, batch, draw_photo, images):
    for seed, name in enumerate(("a.jpg", "a.png", "ben/a.jpg", "ben/A.jpg")):
        draw_photo(tmp_path / "in" / name, seed)
    batch(masks=True)
    assert images() == ["a", "a.png", "ben/A.jpg", "ben/a.jpg~2"]
    for image in images():
        assert (tmp_path / f"out/masks/{image}_segmentation.png").is_file()


def test_the_second_file_of_an_instance_is_a_failure_that_names_both(tmp_path, batch, draw_dicom, read_table):
    uid = draw_dicom(tmp_path / "in/a.dcm").SOPInstanceUID
    shutil.copy(tmp_path / "in/a.dcm", tmp_path / "in/b.dcm")
    assert batch() == Tally(found=2, predicted=1, failed=1)
    [row] = read_table(tmp_path / "out/failures.csv")
    assert row["image"] == uid
    assert row["reason"].startswith(f"b.dcm: SOPInstanceUID is {uid}, which is already the name of a.dcm.")


@pytest.mark.parametrize(
    "name",
    [
        "Läsion 3",
        "皮肤病变",
        "آفة",
        "मेलेनोमा",
        "a, b",
        'the "big" one',
        "two\nlines",
        "-rf",
        "a" * 240,
        "=1+1",
    ],
)
def test_a_name_of_any_script_and_punctuation_survives(tmp_path, batch, draw_photo, images, name):
    draw_photo(tmp_path / "in" / f"{name}.jpg")
    batch(masks=True)
    assert images() == [name]
    assert len(list((tmp_path / "out/masks").iterdir())) == 1


def test_a_name_that_is_not_utf8_is_written_with_escapes(tmp_path, batch, draw_photo, images):
    draw_photo(tmp_path / "in/x.jpg").rename(os.fsdecode(os.fsencode(tmp_path / "in") + b"/l\xe4sion.jpg"))
    batch(masks=True)
    [name] = images()
    assert name.startswith("l\\")
    assert name.endswith("sion")


# --- run again --------------------------------------------------------------------------------------


def test_a_finished_batch_run_again_computes_nothing(tmp_path, batch, draw_photo, models):
    for seed in range(3):
        draw_photo(tmp_path / f"in/{seed}.jpg", seed)
    batch(masks=True)
    before = (tmp_path / "out/predictions.csv").read_bytes()
    cards_only = shutil.copytree(models, tmp_path / "cards", ignore=shutil.ignore_patterns("*.safetensors"))
    assert batch(masks=True, models=cards_only) == Tally(found=3, already=3)
    assert (tmp_path / "out/predictions.csv").read_bytes() == before


def test_a_new_file_finds_its_place_among_the_old_rows(tmp_path, batch, draw_photo, images):
    draw_photo(tmp_path / "in/a.jpg")
    draw_photo(tmp_path / "in/c.jpg")
    batch()
    draw_photo(tmp_path / "in/b.jpg")
    assert batch() == Tally(found=3, predicted=1, already=2)
    assert images() == ["a", "b", "c"]


def test_a_changed_file_is_predicted_again_on_wish(tmp_path, batch, draw_photo, read_table):
    draw_photo(tmp_path / "in/a.jpg", seed=1)
    batch()
    [before] = read_table(tmp_path / "out/predictions.csv")
    draw_photo(tmp_path / "in/a.jpg", seed=2, rows=90)
    assert batch(redo="changed").predicted == 1
    [after] = read_table(tmp_path / "out/predictions.csv")
    assert before["image"] == after["image"] == "a"
    assert before != after


def test_a_file_that_is_gone_has_no_row_any_more(tmp_path, batch, draw_photo, images):
    draw_photo(tmp_path / "in/a.jpg")
    draw_photo(tmp_path / "in/b.jpg").unlink()
    (tmp_path / "in/b.jpg").write_bytes(b"")
    batch()
    (tmp_path / "in/b.jpg").unlink()
    draw_photo(tmp_path / "in/c.jpg")
    (tmp_path / "in/a.jpg").unlink()
    batch()
    assert images() == ["c"]
    assert images("failures.csv") == []


def test_a_failure_is_tried_again(tmp_path, batch, draw_photo, images):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").touch()
    assert batch().failed == 1
    draw_photo(tmp_path / "in/a.jpg")
    assert batch() == Tally(found=1, predicted=1)
    assert images("failures.csv") == []


def test_masks_wanted_later_are_made_later(tmp_path, batch, draw_photo):
    draw_photo(tmp_path / "in/a.jpg")
    batch()
    assert batch(masks=True).predicted == 1
    assert (tmp_path / "out/masks/a_segmentation.png").is_file()
    assert batch(masks=True).already == 1


def test_the_output_folder_of_other_models_is_refused(tmp_path, batch, draw_photo, other_models):
    draw_photo(tmp_path / "in/a.jpg")
    batch()
    before = (tmp_path / "out/predictions.csv").read_bytes()
    with pytest.raises(
        ArgumentError, match=r"made with classifier Test classifier 1.0 .* not Test classifier 2.0"
    ):
        batch(models=other_models)
    assert (tmp_path / "out/predictions.csv").read_bytes() == before


def test_the_output_folder_of_another_input_is_refused(tmp_path, batch, draw_photo):
    draw_photo(tmp_path / "in/a.jpg")
    draw_photo(tmp_path / "other/a.jpg")
    batch()
    with pytest.raises(
        ArgumentError, match=r"made with INPUT .*/in, not .*/other. Choose another --output folder"
    ):
        batch("other")


def test_the_same_input_by_another_path_is_the_same(tmp_path, batch, draw_photo):
    draw_photo(tmp_path / "in/a.jpg")
    batch()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert batch("link").already == 1


def test_somebody_else_s_table_is_not_overwritten(tmp_path, batch, draw_photo):
    draw_photo(tmp_path / "in/a.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/predictions.csv").write_text("precious")
    with pytest.raises(ArgumentError, match=r"predictions\.csv: this table was not made by a batch"):
        batch()
    assert (tmp_path / "out/predictions.csv").read_text() == "precious"


# --- where the folders are --------------------------------------------------------------------------


def test_output_inside_the_input_is_not_read(tmp_path, batch, draw_photo):
    draw_photo(tmp_path / "in/a.jpg")
    assert batch(output="in/results", masks=True).predicted == 1
    assert batch(output="in/results", masks=True) == Tally(found=1, already=1)
    assert batch(output="in/other", masks=True) == Tally(
        found=2, predicted=1, skipped={"results of a batch": 1}
    )


def test_input_inside_the_output_is_read(tmp_path, batch, draw_photo):
    draw_photo(tmp_path / "all/in/a.jpg")
    assert batch("all/in", "all", masks=True).predicted == 1
    assert batch("all/in", "all", masks=True).already == 1


@pytest.mark.parametrize(("source", "output"), [("in", "in"), ("out/masks", "out"), ("out/dicom/in", "out")])
def test_results_among_the_photographs_are_refused(tmp_path, batch, draw_photo, source, output):
    draw_photo(tmp_path / source / "a.jpg")
    with pytest.raises(ArgumentError, match="the results would be taken for photographs"):
        batch(source, output)
    assert not list(tmp_path.rglob("*.sqlite"))


def test_a_missing_input_is_refused_and_makes_no_output(tmp_path, batch):
    with pytest.raises(ArgumentError, match="there is no such file or folder"):
        batch()
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_is_refused_and_makes_no_output(tmp_path, batch):
    (tmp_path / "in").mkdir()
    with pytest.raises(NotFoundError, match="this folder is empty"):
        batch()
    assert not (tmp_path / "out").exists()


def test_an_unplugged_archive_costs_no_results(tmp_path, batch, draw_photo, images):
    draw_photo(tmp_path / "in/a.jpg").rename(tmp_path / "a.jpg")
    shutil.move(tmp_path / "a.jpg", tmp_path / "in/a.jpg")
    batch()
    (tmp_path / "in/a.jpg").rename(tmp_path / "a.jpg")
    with pytest.raises(NotFoundError):
        batch()
    assert images() == ["a"]


def test_a_file_as_output_is_refused(tmp_path, batch, draw_photo):
    draw_photo(tmp_path / "in/a.jpg")
    (tmp_path / "out").touch()
    with pytest.raises(ArgumentError, match="this is a file, expected a folder"):
        batch()


def test_missing_models_are_refused_before_anything_is_made(tmp_path, batch, draw_photo):
    draw_photo(tmp_path / "in/a.jpg")
    with pytest.raises(ModelError, match=r"card\.json"):
        batch(models=tmp_path / "nowhere")
    assert not (tmp_path / "out").exists()


def test_models_without_weights_end_the_batch_instead_of_failing_each_image(
    tmp_path, batch, draw_photo, models
):
    draw_photo(tmp_path / "in/a.jpg")
    cards_only = shutil.copytree(models, tmp_path / "cards", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(ModelError, match=r"weights\.safetensors"):
        batch(models=cards_only)
    assert not (tmp_path / "out/predictions.csv").exists()


def test_progress_is_told_at_the_start_and_after_every_file(tmp_path, models, draw_photo):
    for seed in range(3):
        draw_photo(tmp_path / f"in/{seed}.jpg", seed)
    (tmp_path / "in/notes.txt").touch()
    seen = []
    run_batch(
        BatchSettings(tmp_path / "in", tmp_path / "out", models),
        lambda tally: seen.append((tally.found, tally.predicted, tally.skipped.total())),
    )
    assert seen == [(4, 0, 0), (4, 1, 0), (4, 2, 0), (4, 3, 0), (4, 3, 1)]
