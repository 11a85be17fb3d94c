"""Everything that an archive may hold beside good photographs: a clear sentence each, and nothing lost."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset, examples

from dermcheck.batch import BatchSettings, Tally, run_batch
from dermcheck.errors import NotFoundError


@pytest.fixture
def archive(tmp_path: Path, draw_photo) -> Path:
    """An input folder with one good photo, first in order, and one that comes last."""
    draw_photo(tmp_path / "in/0_good.jpg", seed=1)
    draw_photo(tmp_path / "in/z_good.jpg", seed=2)
    return tmp_path / "in"


@pytest.fixture
def failure(archive: Path, models: Path, read_table) -> Callable[[], dict[str, str]]:
    """Run the batch, check that the good photos were predicted, and give the only row of failures."""

    def run() -> dict[str, str]:
        output = archive.parent / "out"
        tally = run_batch(BatchSettings(archive, output, models, masks=True, dicom=True))
        assert (tally.predicted, tally.failed) == (2, 1)
        assert [row["image"] for row in read_table(output / "predictions.csv")] == ["0_good", "z_good"]
        assert len(list((output / "masks").iterdir())) == 2
        assert len(list((output / "dicom").iterdir())) == 6
        [row] = read_table(output / "failures.csv")
        return row

    return run


@pytest.mark.parametrize("name", ["empty.jpg", "empty.png", "empty.tif", "empty.dcm"])
def test_empty_file(archive, failure, name):
    (archive / name).touch()
    row = failure()
    assert row["image"] == "empty"
    assert row["reason"].startswith(f"{name}: the file is empty (0 bytes)")


def test_text_called_dcm(archive, failure):
    (archive / "text.dcm").write_text("Dear colleague, thank you for the referral. " * 10)
    assert failure()["reason"].startswith("text.dcm: this is not a DICOM file, it looks like text")


def test_text_called_jpg(archive, failure):
    (archive / "text.jpg").write_text("Dear colleague")
    assert failure()["reason"].startswith("text.jpg: this is not a readable JPEG, PNG or TIFF photo")


def test_picture_of_a_kind_that_is_not_read(archive, failure):
    (archive / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 100)
    assert failure()["reason"].startswith("phone.HEIC: this is not a readable JPEG, PNG or TIFF photo")


def test_thumbnail_of_a_camera_s_raw_file(archive, failure, draw_photo):
    draw_photo(archive / "raw.tif").rename(archive / "raw.NEF")  # raw files begin as TIFF files do
    assert failure()["reason"].startswith("raw.NEF: this is a camera's raw file, expected a JPEG")


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_truncated_photo(archive, failure, draw_photo, suffix, share):
    whole = draw_photo(archive / f"cut.{suffix}", seed=5, rows=300, columns=400)
    content = whole.read_bytes()
    whole.write_bytes(content[: int(len(content) * share)])
    row = failure()
    assert row["image"] == "cut"
    assert row["reason"].startswith(f"cut.{suffix}: ")


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_truncated_dicom(archive, failure, draw_dicom, share):
    draw_dicom(archive / "cut.dcm", seed=5, rows=300, columns=400)
    content = (archive / "cut.dcm").read_bytes()
    (archive / "cut.dcm").write_bytes(content[: int(len(content) * share)])
    assert failure()["reason"].startswith("cut.dcm: ")


def test_pixel_data_shorter_than_rows_and_columns(archive, failure, draw_dicom):
    def shorten(dataset: Dataset) -> None:
        dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]

    uid = draw_dicom(archive / "short.dcm", change=shorten).SOPInstanceUID
    row = failure()
    assert row["image"] == uid
    assert row["reason"].startswith("short.dcm: ")


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (65535, 65535)])
def test_a_header_of_an_absurd_size(archive, failure, draw_dicom, rows, columns):
    def lie(dataset: Dataset) -> None:
        dataset.Rows, dataset.Columns = rows, columns

    draw_dicom(archive / "absurd.dcm", change=lie)
    reason = failure()["reason"]
    assert reason.startswith("absurd.dcm: ")
    assert f"the size is {rows} × {columns} pixels" in reason


def test_a_photo_of_an_absurd_size(archive, failure):
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xff\xff\0\0\xff\xff\x08\x02\0\0\0"
    import zlib

    content = header + zlib.crc32(header[12:]).to_bytes(4, "big") + b"\0\0\0\0IEND\xaeB`\x82"
    (archive / "bomb.png").write_bytes(content)
    reason = failure()["reason"]
    assert reason.startswith("bomb.png: ")
    assert "pixels" in reason


def test_ct_passed_as_photograph(archive, failure):
    examples.ct.save_as(archive / "ct.dcm")
    row = failure()
    assert row["image"] == examples.ct.SOPInstanceUID
    assert row["reason"].startswith("ct.dcm: ")
    assert "SOPClassUID is CT Image Storage, expected a photograph" in row["reason"]


@pytest.mark.parametrize(
    "keyword", ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"]
)
def test_missing_uid(archive, failure, draw_dicom, keyword):
    draw_dicom(archive / "anonymous.dcm", change=lambda dataset: delattr(dataset, keyword))
    reason = failure()["reason"]
    assert reason.startswith("anonymous.dcm: ")
    assert keyword in reason


def test_no_message_holds_the_patient_s_name(archive, failure, draw_dicom):
    def spoil(dataset: Dataset) -> None:
        dataset.PatientName = "Mustermann^Erika"
        dataset.BitsAllocated = 7
        dataset.PhotometricInterpretation = "XYZ"

    draw_dicom(archive / "spoilt.dcm", change=spoil)
    assert "Mustermann" not in failure()["reason"]


def test_link_to_nowhere(archive, failure):
    (archive / "link.jpg").symlink_to(archive / "nowhere.jpg")
    row = failure()
    assert row["image"] == "link.jpg"
    assert row["reason"].startswith("link.jpg: this file cannot be opened (No such file or directory)")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_file_without_permission(archive, failure):
    shutil.copy(archive / "0_good.jpg", archive / "closed.jpg")
    (archive / "closed.jpg").chmod(0)
    assert failure()["reason"].startswith("closed.jpg: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_folder_without_permission(archive, failure):
    (archive / "closed").mkdir(mode=0)
    assert failure()["reason"].startswith("closed: this folder cannot be opened")


def skipped(archive: Path, models: Path) -> Tally:
    tally = run_batch(BatchSettings(archive, archive.parent / "out", models))
    assert (tally.predicted, tally.failed) == (2, 0)
    return tally


def test_symlink_loop(archive, models):
    (archive / "loop").symlink_to(archive)
    assert skipped(archive, models).skipped == {"folder already seen by another path": 1}


def test_files_of_other_kinds_are_skipped_and_counted(archive, models):
    for name in ("notes.txt", "labels.csv", "Thumbs.db", "report.pdf"):
        (archive / name).write_bytes(b"whatever")
    assert skipped(archive, models).skipped == {"no image file": 4}


def test_the_masks_and_reports_of_an_earlier_batch_are_skipped_and_counted(
    archive, models, draw_dicom, tmp_path
):
    draw_dicom(tmp_path / "photographs/a.dcm")
    run_batch(BatchSettings(tmp_path / "photographs", tmp_path / "results", models, dicom=True))
    for result in (tmp_path / "results/dicom").iterdir():
        shutil.copy(result, archive)
    assert skipped(archive, models).skipped == {
        "Segmentation Storage": 1,
        "Comprehensive SR Storage": 1,
    }


def test_one_file_that_is_no_photograph(tmp_path, models):
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(NotFoundError, match=r"notes\.txt: this is no photograph \(no image file\)"):
        run_batch(BatchSettings(tmp_path / "notes.txt", tmp_path / "out", models))


def test_an_archive_of_nothing_but_skipped_objects_gives_empty_tables(tmp_path, models):
    (tmp_path / "in").mkdir()
    examples.rt_plan.save_as(tmp_path / "in/plan.dcm")
    assert run_batch(BatchSettings(tmp_path / "in", tmp_path / "out", models)).skipped.total() == 1
    assert (tmp_path / "out/predictions.csv").read_text() == "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
