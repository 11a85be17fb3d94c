"""`dermcheck batch` as a user types it."""

import json
from pathlib import Path

import pytest

from dermcheck.cli import main


@pytest.fixture
def batch(tmp_path: Path, models: Path):
    """Run the command on `in`, and give its status."""

    def run(*options: str, source: str = "in") -> int:
        source = source if "://" in source else str(tmp_path / source)
        return main(["batch", source, "--output", str(tmp_path / "out"), "--models", str(models), *options])

    return run


def test_success_is_status_0_and_a_sentence_on_stdout(tmp_path, batch, draw_photo, capsys):
    draw_photo(tmp_path / "in/a.jpg")
    assert batch() == 0
    assert capsys.readouterr().out == f"1 image predicted, 0 failures. Results: {tmp_path / 'out'}\n"


def test_a_failure_is_status_1_and_where_to_read_why(tmp_path, batch, draw_photo, capsys):
    draw_photo(tmp_path / "in/a.jpg")
    (tmp_path / "in/b.jpg").touch()
    (tmp_path / "in/notes.txt").touch()
    assert batch() == 1
    assert capsys.readouterr().out == (
        "1 image predicted, 1 failure, 1 skipped (1 × no image file). "
        f"Results: {tmp_path / 'out'}\nWhat failed, and why: {tmp_path / 'out/failures.csv'}\n"
    )


def test_what_an_earlier_run_did_is_told_apart(tmp_path, batch, draw_photo, capsys):
    draw_photo(tmp_path / "in/a.jpg")
    batch()
    draw_photo(tmp_path / "in/b.jpg")
    batch()
    assert "2 images predicted (1 of them by an earlier run)" in capsys.readouterr().out


def test_the_bar_shows_images_a_second_and_failures_on_stderr(tmp_path, batch, draw_photo, capsys):
    draw_photo(tmp_path / "in/a.jpg")
    (tmp_path / "in/b.jpg").touch()
    batch()
    bar = capsys.readouterr().err
    assert "2/2" in bar
    assert "image/s" in bar
    assert "failures=1" in bar


def test_photographs_that_are_gone_are_told(tmp_path, batch, draw_photo, capsys):
    for name in ("a", "b"):
        draw_photo(tmp_path / f"in/{name}.jpg")
    batch()
    (tmp_path / "in/a.jpg").unlink()
    assert batch() == 0
    assert "1 image of an earlier run is gone from INPUT and left out" in capsys.readouterr().out


def test_what_takes_long_before_and_after_the_predictions_is_told_too(
    tmp_path, batch, draw_dicom, capsys, monkeypatch
):
    monkeypatch.setattr("dermcheck.commands.batch._SECONDS_BEFORE_A_BAR", 0.0)
    draw_dicom(tmp_path / "in/a.dcm").save_as(tmp_path / "in/a.dcm", enforce_file_format=True)
    assert batch("--store") == 0
    bars = capsys.readouterr().err
    assert "looking at the input: 1" in bars
    assert "predicting: 100%" in bars
    assert "storing: 100%" in bars
    assert batch("--store", "--json") == 0
    assert capsys.readouterr().err == ""


def test_json_is_one_object_and_no_bar(tmp_path, batch, draw_photo, capsys):
    draw_photo(tmp_path / "in/a.jpg")
    (tmp_path / "in/b.jpg").touch()
    (tmp_path / "in/notes.txt").touch()
    assert batch("--json") == 1
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert summary.pop("seconds") > 0
    assert summary.pop("images_per_second") > 0
    assert summary == {
        "input": str(tmp_path / "in"),
        "output": str(tmp_path / "out"),
        "images": 1,
        "predicted": 1,
        "already_predicted": 0,
        "failures": 1,
        "skipped": {"no image file": 1},
        "changed": 0,
        "gone": 0,
        "stored": None,
    }
    assert printed.err == ""


def test_masks_and_dicom_are_written_where_asked_for(tmp_path, batch, draw_photo):
    draw_photo(tmp_path / "in/a.jpg")
    assert batch("--masks", "png", "--dicom") == 0
    names = sorted(path.name for path in (tmp_path / "out").glob("*/*"))
    assert names == ["a.photo.dcm", "a.seg.dcm", "a.sr.dcm", "a_segmentation.png"]


def test_without_options_only_the_tables_are_written(tmp_path, batch, draw_photo):
    draw_photo(tmp_path / "in/a.jpg")
    batch()
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [
        ".dermcheck_batch.lock",
        "cautions.csv",
        "dermcheck_batch.sqlite",
        "failures.csv",
        "predictions.csv",
    ]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("nowhere", "there is no such file or folder"),
    ],
)
def test_a_wrong_input_is_status_2_and_a_sentence(batch, capsys, source, sentence):
    assert batch(source=source) == 2
    assert sentence in capsys.readouterr().err


def test_an_empty_folder_is_status_1_and_a_sentence(tmp_path, batch, capsys):
    (tmp_path / "in").mkdir()
    assert batch() == 1
    assert "this folder is empty" in capsys.readouterr().err
