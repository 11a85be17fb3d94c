"""`dermcheck import` as a user types it."""

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermcheck.cli import main
from dermcheck.dicom import read_dataset, read_header


@pytest.fixture
def photo(tmp_path: Path):
    def draw(name: str = "a.jpg", grey: int = 128) -> Path:
        Image.fromarray(np.full((30, 40, 3), grey, np.uint8)).save(tmp_path / name)
        return tmp_path / name

    return draw


@pytest.fixture
def run(tmp_path: Path):
    def command(*arguments: object) -> int:
        return main(["import", *map(str, arguments), "--studies", str(tmp_path / "studies")])

    return command


@pytest.fixture
def only_header(tmp_path: Path):
    def read():
        [path] = (tmp_path / "studies").rglob("*.dcm")
        return read_header(read_dataset(path))

    return read


def test_photos_become_dicom_and_are_counted(tmp_path, run, photo, capsys):
    assert run(photo("a.jpg", 10), photo("b.png", 20)) == 0
    assert len(list((tmp_path / "studies").rglob("*.dcm"))) == 2
    assert capsys.readouterr().out == (
        f"2 imported, 0 already there, 0 failed. Studies: {tmp_path / 'studies'}\n"
    )


def test_a_photo_is_imported_once(tmp_path, run, photo, capsys):
    run(photo())
    assert run(photo()) == 0
    assert "0 imported, 1 already there, 0 failed" in capsys.readouterr().out
    assert len(list((tmp_path / "studies").rglob("*.dcm"))) == 1


def test_the_options_are_in_the_header(run, photo, only_header):
    options = ("--patient", "4711", "--site", "back", "--date", "2024-01-31 14:30", "--tracking-id", "back 3")
    assert run(photo(), *options, "--laterality", "left") == 0
    header = only_header()
    assert header.acquired == datetime(2024, 1, 31, 14, 30)
    assert header.laterality == "L"
    assert header.tracking_id == "back 3"
    assert "back" in header.anatomic_site.casefold()


@pytest.mark.parametrize(("options", "modality"), [((), "DMS"), (("--clinical",), "XC")])
def test_a_photo_is_dermoscopic_unless_it_is_said_to_be_clinical(run, photo, only_header, options, modality):
    run(photo(), *options)
    assert only_header().modality == modality


def test_a_table_describes_each_photo(tmp_path, run, photo, only_header):
    photo()
    (tmp_path / "photos.csv").write_text("file,patient,date,lesion\na.jpg,4711,31.01.2024,arm 1\n")
    assert run("--csv", tmp_path / "photos.csv") == 0
    assert only_header().tracking_id == "arm 1"


def test_a_photo_that_cannot_be_read_is_a_sentence_and_the_others_follow(tmp_path, run, photo, capsys):
    (tmp_path / "empty.jpg").touch()
    assert run(tmp_path / "empty.jpg", photo()) == 1
    printed = capsys.readouterr()
    assert f"dermcheck: {tmp_path / 'empty.jpg'}: the file is empty (0 bytes)" in printed.err
    assert "1 imported, 0 already there, 1 failed" in printed.out


def test_json_names_every_file(tmp_path, run, photo, capsys):
    (tmp_path / "empty.jpg").touch()
    assert run(photo(), tmp_path / "empty.jpg", "--json") == 1
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    [imported] = result["imported"]
    assert Path(imported).is_file()
    assert result["already_there"] == []
    [failure] = result["failures"]
    assert failure["photo"] == str(tmp_path / "empty.jpg")
    assert "the file is empty" in failure["reason"]
    assert printed.err == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Name either photos or a table"),
        (("a.jpg", "--csv", "photos.csv"), "Name either photos or a table"),
        (
            ("--csv", "photos.csv", "--patient", "4711"),
            "With --csv the details of each photo stand in the table",
        ),
        (("--csv", "photos.csv", "--clinical"), "With --csv the details of each photo stand in the table"),
        (("a.jpg", "--site", "the moon"), "the moon"),
        (("a.jpg", "--tracking-id", "back 3"), "tracking_id is given without patient_id"),
    ],
)
def test_contradictory_arguments_are_status_2_and_a_sentence(run, capsys, arguments, sentence):
    assert run(*arguments) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [("--laterality", "up"), ("--date", "yesterday"), ("--date", "2024-01-31T10:00+02:00")]
)
def test_an_option_that_is_not_understood_is_status_2(run, capsys, arguments):
    with pytest.raises(SystemExit) as exit_info:
        run("a.jpg", *arguments)
    assert exit_info.value.code == 2
    assert "expected" in capsys.readouterr().err


def test_an_archive_s_address_is_refused(photo, capsys):
    assert main(["import", str(photo()), "--studies", "https://pacs/dicom-web"]) == 2
    assert "Name a folder" in capsys.readouterr().err


def test_a_studies_folder_that_cannot_be_written_is_status_1_and_a_sentence(tmp_path, run, photo, capsys):
    (tmp_path / "studies").touch()
    assert run(photo()) == 1
    assert "this is not a folder" in capsys.readouterr().err
