"""Lists, DICOMDIRs and archives as input, and files that change while a batch reads them."""

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.fileset import FileSet

from dermcheck.batch import BatchSettings, Tally, run_batch
from dermcheck.batch.discovery import InputFile, Skipped, Unopened
from dermcheck.batch.inputs import ArchiveQuery, ensure_steady, open_source, restat
from dermcheck.errors import ArgumentError, NotFoundError, UnreadableImageError


def findings(path: Path) -> list:
    return list(open_source(path, path.parent / "out").findings())


def write_list(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    (folder / "list.csv").write_text(text, encoding=encoding)
    return folder / "list.csv"


# --- lists ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "path\nz.jpg\nsub/a.jpg\n",
        "age,image\n3,z.jpg\n4,sub/a.jpg\n",
        "\ufeffFile;age\nz.jpg;3\nsub/a.jpg;4\n",
        "photo\tage\nz.jpg\t3\n\nsub/a.jpg\t4\n",
        "z.jpg\nsub/a.jpg\n",
    ],
)
def test_a_list_gives_its_files_in_its_own_order(tmp_path, text):
    (tmp_path / "sub").mkdir()
    for name in ("z.jpg", "sub/a.jpg"):
        (tmp_path / name).write_bytes(b"x")
    found = findings(write_list(tmp_path, text))
    assert [one.relative for one in found] == [Path("z.jpg"), Path("sub/a.jpg")]
    assert found[0].place < found[1].place
    assert all(isinstance(one, InputFile) and one.path.is_file() for one in found)


def test_a_missing_file_of_a_list_is_told_with_its_row(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    listed, missing, folder = findings(write_list(tmp_path, "path\na.jpg\ngone.jpg\nfolder\n"))
    assert isinstance(listed, InputFile)
    assert isinstance(missing, Unopened)
    assert missing.reason.startswith("gone.jpg: this file cannot be opened (No such file or directory)")
    assert "row 3 of list.csv" in missing.reason
    assert folder.reason.startswith("folder: this is no file")


def test_an_absolute_path_in_a_list_is_taken_as_it_is(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "lists").mkdir()
    [found] = findings(write_list(tmp_path / "lists", f"path\n{tmp_path / 'a.jpg'}\n"))
    assert found.path == tmp_path / "a.jpg"


def test_a_list_in_an_old_encoding_is_refused_with_its_row_and_what_to_do(tmp_path):
    with pytest.raises(ArgumentError, match=r"row 2 of this list is not in UTF-8.* Save it as CSV UTF-8"):
        findings(write_list(tmp_path, "path\nL\xe4sion.jpg\n", "cp1252"))


def test_a_list_in_utf_16_is_read(tmp_path):  # "Unicode text" of spreadsheets
    (tmp_path / "L\xe4sion.jpg").write_bytes(b"x")
    [found] = findings(write_list(tmp_path, "path\tage\nL\xe4sion.jpg\t3\n", "utf-16"))
    assert isinstance(found, InputFile)


def test_paths_as_windows_writes_them_are_found(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.jpg").write_bytes(b"x")
    found, missing = findings(write_list(tmp_path, "path\nsub\\a.jpg\nsub\\b.jpg\n"))
    assert found.relative == Path("sub/a.jpg")
    assert isinstance(missing, Unopened)


def test_each_row_without_a_path_is_told(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    found = findings(write_list(tmp_path, "age,path\n3,a.jpg\n4,\n5\n"))
    assert [one.reason for one in found[1:]] == [
        f"list.csv, row {row}: there is no path in this row. Add it, or delete the row." for row in (3, 4)
    ]
    assert len({one.relative for one in found}) == 3


@pytest.mark.parametrize("text", ["sub\0a.jpg", "a" * 5000 + ".jpg"])
def test_a_path_that_no_file_can_have_is_told(tmp_path, text):
    [found] = findings(write_list(tmp_path, f"path\n{text}\n"))
    assert isinstance(found, Unopened)
    assert "\0" not in str(found.relative)


def test_an_empty_list_is_refused_in_words(tmp_path):
    with pytest.raises(NotFoundError, match="this list is empty"):
        findings(write_list(tmp_path, "path\n"))


# --- DICOMDIR ---------------------------------------------------------------------------------------


@pytest.fixture
def make_medium(tmp_path, draw_dicom):
    """Write photographs as a CD holds them."""

    def make(count: int) -> None:
        medium = FileSet()
        for seed in range(count):
            path = tmp_path / f"made/{seed}.dcm"
            dataset = draw_dicom(path, seed)
            dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20250101", "120000", "1"
            dataset.SeriesNumber = dataset.InstanceNumber = 1
            dataset.save_as(path, enforce_file_format=True)
            medium.add(path)
        medium.write(tmp_path / "cd")

    return make


def test_a_dicomdir_gives_its_images_wherever_they_lie(tmp_path, make_medium):
    make_medium(3)
    found = findings(tmp_path / "cd/DICOMDIR")
    assert len(found) == 3
    assert all(isinstance(one, InputFile) and one.path.is_file() for one in found)
    found[1].path.unlink()
    missing = findings(tmp_path / "cd/DICOMDIR")[1]
    assert isinstance(missing, Unopened)
    assert "of DICOMDIR" in missing.reason


def test_a_medium_whose_names_are_shown_in_lower_case_is_read(tmp_path, make_medium):
    make_medium(1)
    [file] = findings(tmp_path / "cd/DICOMDIR")
    lower = tmp_path / "cd" / str(file.relative).lower()
    lower.parent.mkdir(parents=True, exist_ok=True)
    file.path.rename(lower)
    [found] = findings(tmp_path / "cd/DICOMDIR")
    assert found.path == lower


def test_other_records_of_a_dicomdir_are_skipped_by_their_type(tmp_path, make_medium):
    make_medium(1)
    directory = dcmread(tmp_path / "cd/DICOMDIR")
    directory.DirectoryRecordSequence[-1].DirectoryRecordType = "SR DOCUMENT"
    directory.save_as(tmp_path / "cd/DICOMDIR")
    [found] = findings(tmp_path / "cd/DICOMDIR")
    assert isinstance(found, Skipped)
    assert found.reason == "DICOMDIR record SR DOCUMENT"


# --- queries ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("date", "searched"),
    [
        ("20250101-20251231", "20250101-20251231"),
        ("2025-01-01-2025-12-31", "20250101-20251231"),
        ("20250101-", "20250101-"),
        ("-20251231", "-20251231"),
        ("2025-03-01", "20250301"),
        (None, None),
    ],
)
def test_dates_are_searched_for_as_dicom_writes_them(date, searched):
    assert ArchiveQuery.from_options(None, date).study_date == searched


@pytest.mark.parametrize(
    ("modality", "date"),
    [
        ("", None),
        ("D*", None),
        (None, "yesterday"),
        (None, "20251301-20251302"),
        (None, "20251231-20250101"),
        (None, "-"),
    ],
)
def test_a_malformed_query_is_refused_with_what_is_expected(modality, date):
    with pytest.raises(ArgumentError, match=r"--(modality|date) is"):
        ArchiveQuery.from_options(modality, date)


def test_a_query_for_a_folder_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(ArgumentError, match="this is no address"):
        open_source(tmp_path / "in", tmp_path / "out", ArchiveQuery(("DMS",)))


# --- an input that changes while it is read -----------------------------------------------------------


def test_a_file_that_vanished_since_it_was_found_is_a_sentence(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(b"x")
    [file] = open_source(tmp_path / "in", tmp_path / "out").findings()
    file.path.unlink()
    with pytest.raises(UnreadableImageError, match=r"a\.jpg: this file was there when the batch began"):
        restat(file)


def test_a_file_that_grows_while_it_is_read_is_not_predicted(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(b"half")
    [file] = open_source(tmp_path / "in", tmp_path / "out").findings()
    ensure_steady(restat(file))
    (tmp_path / "in/a.jpg").write_bytes(b"half and half")
    with pytest.raises(UnreadableImageError, match="this file changed while it was read"):
        ensure_steady(file)
    assert restat(file).size == 13


def test_a_folder_that_changes_while_a_batch_reads_it(tmp_path, draw_photo, models, read_table):
    for seed in range(3):
        draw_photo(tmp_path / f"in/{seed}.jpg", seed)
    whole = (tmp_path / "in/1.jpg").read_bytes()

    def change_once(tally: Tally) -> None:
        if tally.predicted + tally.failed == 0:  # after the inventory, before the first file is opened
            draw_photo(tmp_path / "in/new.jpg", 9)
            (tmp_path / "in/1.jpg").write_bytes(whole[: len(whole) // 2])
            (tmp_path / "in/2.jpg").unlink(missing_ok=True)

    settings = BatchSettings(tmp_path / "in", tmp_path / "out", models)
    tally = run_batch(settings, change_once)
    assert (tally.predicted, tally.failed) == (1, 2)
    half, gone = read_table(tmp_path / "out/failures.csv")
    assert half["image"] == "1"
    assert gone["reason"].startswith("2.jpg: this file was there when the batch began and is gone now")
    (tmp_path / "in/1.jpg").write_bytes(whole)
    assert run_batch(settings) == Tally(found=3, predicted=2, already=1)
    assert [row["image"] for row in read_table(tmp_path / "out/predictions.csv")] == ["0", "1", "new"]
