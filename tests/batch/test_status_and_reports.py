"""What can be read of a batch from outside, and the whole report in both formats."""

import json
import subprocess
import sys

import pyarrow.parquet
import pytest

from dermcheck.batch import BatchSettings, run_batch
from dermcheck.batch.report import REPORT_COLUMNS, check_formats
from dermcheck.batch.status import read_status
from dermcheck.cli import main
from dermcheck.errors import ArgumentError, NotFoundError
from dermcheck.lesions import CLASSES


@pytest.fixture(scope="module")
def finished(tmp_path_factory, draw_photo, draw_dicom, models):
    """A folder with the results of two photographs, a failure and a note."""
    folder = tmp_path_factory.mktemp("batch")
    draw_photo(folder / "in/a.jpg", 1)
    draw_dicom(folder / "in/b.dcm", 2)
    (folder / "in/broken.jpg").touch()
    (folder / "in/notes.txt").write_text("notes")
    run_batch(BatchSettings(folder / "in", folder / "out", models, reports=("jsonl", "parquet")))
    return folder / "out"


def test_the_status_says_what_was_done_with_what(finished):
    status = read_status(finished)
    assert (status.found, status.predicted, status.failed, status.waiting) == (4, 2, 1, 0)
    assert status.skipped == {"no image file": 1}
    assert status.made_with["classifier"].startswith("Test classifier 1.0")
    assert not status.is_running
    assert status.is_finished
    assert status.first_failures[0].startswith("broken.jpg: the file is empty")


def test_the_status_needs_neither_torch_nor_models(finished):
    program = (
        "import sys; from dermcheck.cli import main\n"
        f"status = main(['batch', '--output', {str(finished)!r}, '--status', '--json'])\n"
        "assert not {'torch', 'monai', 'openvino'} & sys.modules.keys()\nsys.exit(status)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout)["predicted"] == 2


def test_the_status_is_sentences_for_people(finished, capsys):
    assert main(["batch", "--output", str(finished), "--status"]) == 0
    words = capsys.readouterr().out
    assert "is finished: 2 predicted, 1 failed, 0 to do, 1 skipped, of 4 found." in words


def test_the_status_is_told_of_a_folder_that_may_only_be_read(finished, tmp_path):
    mounted = subprocess.run(["mount", "--bind", finished, tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", tmp_path], check=True)
        assert read_status(tmp_path).predicted == 2
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_no_batch_no_status(tmp_path):
    with pytest.raises(NotFoundError, match="no batch was begun in this folder"):
        read_status(tmp_path)


def test_both_reports_hold_the_same_rows_with_all_columns(finished, read_table):
    lines = [json.loads(line) for line in (finished / "report.jsonl").read_text().splitlines()]
    table = pyarrow.parquet.read_table(finished / "report.parquet")
    assert table.column_names == list(REPORT_COLUMNS)
    assert table.to_pylist() == lines
    photo, instance = lines
    assert (photo["image"], photo["file"], photo["sop_instance_uid"]) == ("a", "a.jpg", None)
    assert instance["sop_instance_uid"] == instance["image"]
    assert photo["lesion_share"] == pytest.approx(
        photo["lesion_pixels"] / photo["rows"] / photo["columns"], abs=1e-6
    )
    rows = read_table(finished / "predictions.csv")
    for line, row in zip(lines, rows, strict=True):
        for name in CLASSES:
            assert line[f"probability_{name}"] == pytest.approx(float(row[name.upper()]), abs=1e-6)


def test_a_missing_pyarrow_is_a_sentence_before_any_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    with pytest.raises(ArgumentError, match=r"cannot be imported .* ask for --report jsonl"):
        check_formats(["parquet"])
    check_formats(["jsonl"])


def test_without_input_only_the_status_works(tmp_path, capsys):
    assert main(["batch", "--output", str(tmp_path / "out")]) == 2
    assert "What is to be predicted?" in capsys.readouterr().err
