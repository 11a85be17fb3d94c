"""One folder of real files behind the DICOMweb client protocol."""

import os
import time
from contextlib import nullcontext as _nothing
from pathlib import Path

import pytest
from dicomweb_client.api import DICOMfileClient
from pydicom import Dataset, dcmread
from pydicom.pixels import compress
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from dermcheck.datastore.catalogue import Catalogue
from dermcheck.datastore.folder_archive import FolderArchive
from dermcheck.dicom.header import read_header
from dermcheck.errors import ArgumentError, NotFoundError, StorageError, UnreadableImageError

SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
)
LEVELS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def open_archive(studies: Path, cache_file: Path | None = None) -> FolderArchive:
    archive = FolderArchive(studies, cache_file or studies.parent / "index.sqlite", Catalogue())
    archive.update()
    return archive


def place(dataset: Dataset) -> list[str]:
    return [str(dataset[level].value) for level in LEVELS]


def listed(archive: FolderArchive) -> set[str]:
    return {found["00080018"]["Value"][0] for found in archive.search_for_instances()}


def settle(*paths: Path) -> None:
    """Let files look as if they had not been touched for a while."""
    before = time.time() - 3600
    for path in paths:
        os.utime(path, (before, before))


@pytest.fixture
def settled_at_once(monkeypatch):
    """The system's own change time cannot be set back: wait for nothing instead."""
    monkeypatch.setattr("dermcheck.datastore.folder_archive._SETTLED_S", 0.0)


# ---- the protocol ----


def test_it_answers_as_dicomfileclient_does_where_that_works(studies, make_photograph, make_label):
    photographs = [make_photograph(studies / f"{number}.dcm", seed=number) for number in range(3)]
    make_label(photographs[0], studies / "label.dcm")
    (studies / "deep").mkdir()
    same_study = make_photograph(studies / "deep" / "a.dcm", StudyInstanceUID=photographs[0].StudyInstanceUID)
    ours = open_archive(studies)
    theirs = DICOMfileClient(f"file://{studies}", update_db=True, in_memory=True)
    study, series, instance = place(same_study)
    for question in (
        {},
        {"study_instance_uid": study},
        {"study_instance_uid": study, "series_instance_uid": series},
        {"search_filters": {"Modality": "SEG"}},
        {"search_filters": {"00080060": "XC", "SOPClassUID": photographs[1].SOPClassUID}},
        {"search_filters": {"SOPInstanceUID": instance}},
        {"search_filters": {"Modality": "CT"}},
    ):
        answers = [client.search_for_instances(**question) for client in (ours, theirs)]
        own, other = ({answer["00080018"]["Value"][0]: answer for answer in found} for found in answers)
        assert own.keys() == other.keys()
        for uid, answer in own.items():
            shared = answer.keys() & other[uid].keys()
            assert {"00080016", "00080018"} <= shared
            assert {tag: answer[tag] for tag in shared} == {tag: other[uid][tag] for tag in shared}
    assert ours.retrieve_instance(study, series, instance) == theirs.retrieve_instance(
        study, series, instance
    )
    metadata = [client.retrieve_instance_metadata(study, series, instance) for client in (ours, theirs)]
    assert metadata[0] == metadata[1]


def test_its_answer_to_storing_names_the_instance_as_dicomfileclient_does(studies, tmp_path, make_photograph):
    dataset = make_photograph()
    (tmp_path / "other").mkdir()
    theirs = DICOMfileClient(f"file://{tmp_path / 'other'}", update_db=True, in_memory=True)
    ours, others = open_archive(studies).store_instances([dataset]), theirs.store_instances([dataset])
    for keyword in ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID"):
        assert ours.ReferencedSOPSequence[0][keyword] == others.ReferencedSOPSequence[0][keyword]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_photographs_of_every_transfer_syntax_are_found_and_retrieved(studies, make_photograph, syntax):
    dataset = make_photograph(size=(40, 50))
    expected = dataset.pixel_array
    if syntax.is_compressed and syntax != DeflatedExplicitVRLittleEndian:
        compress(dataset, syntax, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset["PixelData"].VR = "OW" if syntax == ImplicitVRLittleEndian else "OB"
    dataset.save_as(studies / "a.dcm", enforce_file_format=True)
    found = open_archive(studies).retrieve_instance(*place(dataset))
    assert found.file_meta.TransferSyntaxUID == syntax
    assert (found.pixel_array == expected).all()


def test_limit_and_offset_cut_the_answer_out(studies, make_photograph):
    for number in range(5):
        make_photograph(studies / f"{number}.dcm")
    archive = open_archive(studies)
    everything = archive.search_for_instances()
    assert archive.search_for_instances(limit=2, offset=1) == everything[1:3]
    assert archive.search_for_instances(offset=3) == everything[3:]
    assert archive.search_for_instances(limit=0) == []


@pytest.mark.parametrize("key", ["PatientName", "00100010", "nonsense"])
def test_a_search_by_something_else_is_refused_in_words(studies, make_photograph, key):
    make_photograph(studies / "a.dcm")
    with pytest.raises(ArgumentError, match=f"cannot be searched by {key}, expected one of SOPClassUID"):
        open_archive(studies).search_for_instances(search_filters={key: "x"})


def test_an_instance_is_found_only_in_its_own_study_and_series(studies, make_photograph):
    dataset = make_photograph(studies / "a.dcm")
    archive = open_archive(studies)
    study, series, instance = place(dataset)
    for wrong in (("1.2", series, instance), (study, "1.2", instance), (study, series, "1.2")):
        with pytest.raises(NotFoundError, match=f"instance {wrong[2]} .*not in the studies"):
            archive.retrieve_instance(*wrong)


def test_an_instance_whose_file_was_exchanged_since_is_not_mistaken_for_another(studies, make_photograph):
    dataset = make_photograph(studies / "a.dcm")
    archive = open_archive(studies)
    make_photograph(studies / "a.dcm")
    with pytest.raises(NotFoundError, match=f"instance {dataset.SOPInstanceUID} was replaced by another one"):
        archive.retrieve_instance(*place(dataset))


# ---- what is in the folder ----


def test_objects_of_other_kinds_are_listed_and_are_no_problem(studies, make_photograph, settled_at_once):
    dataset = make_photograph(studies / "ct.dcm", sop_class=CTImageStorage, Modality="CT")
    archive = open_archive(studies)
    assert listed(archive) == {dataset.SOPInstanceUID}
    assert archive.problems() == []


def test_files_without_a_suffix_and_without_a_preamble_are_read(studies, make_photograph):
    dataset = make_photograph(studies / "IM0001")
    content = (studies / "IM0001").read_bytes()
    (studies / "IM0001").write_bytes(content[132:])
    archive = open_archive(studies)
    assert archive.retrieve_instance(*place(dataset)).PixelData == dataset.PixelData


BROKEN = {
    "empty.dcm": (lambda content: b"", "is empty"),
    "text.dcm": (lambda content: b"hello, this is no DICOM at all" * 9, "not a DICOM file"),
    "photo.jpg": (lambda content: b"\xff\xd8\xff\xe0" + bytes(300), "JPEG photo"),
    "header only.dcm": (lambda content: content[:400], "header only.dcm"),
    "cut.dcm": (lambda content: content[:-1], "ends inside its pixel data"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_a_sentence_and_stops_nothing(studies, make_photograph, settled_at_once, name):
    good = make_photograph(studies / "good.dcm")
    change, expected = BROKEN[name]
    (studies / name).write_bytes(change((studies / "good.dcm").read_bytes()))
    archive = open_archive(studies)
    assert listed(archive) == {good.SOPInstanceUID}
    (problem,) = archive.problems()
    assert problem.startswith(f"{studies / name}: ")
    assert expected in problem


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"Rows": 0}, "size is 0 × 8"),
        ({"Rows": 65535, "Columns": 65535}, "65535 × 65535"),
        ({"StudyInstanceUID": ""}, "StudyInstanceUID is missing"),
        ({"SOPInstanceUID": "../../escape"}, "SOPInstanceUID is"),
    ],
)
def test_a_photograph_with_an_impossible_header_is_a_sentence(
    studies, make_photograph, settled_at_once, attributes, expected
):
    dataset = make_photograph()
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.save_as(studies / "a.dcm", enforce_file_format=True)
    with pytest.warns(UserWarning, match="UI") if "SOPInstanceUID" in attributes else _nothing():
        for keyword, value in attributes.items():
            dataset[keyword].value = value
    dataset.save_as(studies / "a.dcm")
    archive = open_archive(studies)
    assert listed(archive) == set()
    (problem,) = archive.problems()
    assert problem.startswith(f"{studies / 'a.dcm'}: ")
    assert expected in problem


def test_a_file_that_may_not_be_read_is_a_sentence_and_is_read_once_it_may(
    without_rights, tmp_path, make_photograph
):
    dataset, other = make_photograph(), make_photograph()
    with without_rights() as folder:
        for name, photograph in (("open.dcm", dataset), ("closed.dcm", other)):
            photograph.save_as(folder / name, enforce_file_format=True)
        (folder / "closed.dcm").chmod(0)
        archive = FolderArchive(folder, folder.parent / "missing" / "index.sqlite", Catalogue())
        archive.update()
        assert listed(archive) == {dataset.SOPInstanceUID}
        (problem,) = archive.problems()
        assert "closed.dcm: the file cannot be read (Permission denied)" in problem
        (folder / "closed.dcm").chmod(0o400)
        archive.update()
        assert archive.problems() == []
        assert listed(archive) == {dataset.SOPInstanceUID, other.SOPInstanceUID}


def test_a_folder_that_becomes_unreadable_does_not_look_emptied(without_rights, make_photograph):
    dataset = make_photograph()
    with without_rights() as folder:
        (folder / "p").mkdir()
        dataset.save_as(folder / "p" / "a.dcm", enforce_file_format=True)
        archive = FolderArchive(folder, folder.parent / "missing" / "index.sqlite", Catalogue())
        archive.update()
        (folder / "p").chmod(0)
        archive.update()
        assert listed(archive) == {dataset.SOPInstanceUID}
        assert "p: the folder cannot be read" in archive.problems()[0]


def test_a_studies_folder_that_goes_away_does_not_look_emptied(studies, make_photograph):
    dataset = make_photograph(studies / "a.dcm")
    archive = open_archive(studies)
    studies.rename(studies.with_name("unplugged"))
    with pytest.raises(StorageError, match="the folder cannot be read"):
        archive.update()
    assert listed(archive) == {dataset.SOPInstanceUID}


# ---- changes ----


def test_new_changed_and_removed_files_are_noticed(studies, make_photograph):
    first = make_photograph(studies / "a.dcm")
    archive = open_archive(studies)
    second = make_photograph(studies / "b.dcm")
    archive.update()
    assert listed(archive) == {first.SOPInstanceUID, second.SOPInstanceUID}
    replaced = make_photograph(studies / "a.dcm")
    archive.update()
    assert listed(archive) == {replaced.SOPInstanceUID, second.SOPInstanceUID}
    (studies / "b.dcm").unlink()
    archive.update()
    assert listed(archive) == {replaced.SOPInstanceUID}


def test_a_file_being_copied_is_no_problem_and_appears_when_it_is_whole(studies, make_photograph):
    dataset = make_photograph(studies / "whole.dcm")
    content = (studies / "whole.dcm").read_bytes()
    (studies / "whole.dcm").unlink()
    archive = open_archive(studies)
    with (studies / "copied.dcm").open("wb") as copy:
        for part in (content[:100], content[100:700], content[700:-10]):
            copy.write(part)
            copy.flush()
            archive.update()
            assert listed(archive) == set()
            assert archive.problems() == []
        copy.write(content[-10:])
    archive.update()
    assert listed(archive) == {dataset.SOPInstanceUID}


def test_a_file_that_stays_half_is_reported_until_it_is_completed(studies, make_photograph, settled_at_once):
    dataset = make_photograph(studies / "a.dcm")
    content = (studies / "a.dcm").read_bytes()
    (studies / "a.dcm").write_bytes(content[:-10])
    archive = open_archive(studies)
    assert len(archive.problems()) == 1
    (studies / "a.dcm").write_bytes(content)
    archive.update()
    assert archive.problems() == []
    assert listed(archive) == {dataset.SOPInstanceUID}


def test_a_restart_reads_no_file_again_that_did_not_change(studies, make_photograph, monkeypatch):
    kept, changed = (make_photograph(studies / name) for name in ("kept.dcm", "changed.dcm"))
    open_archive(studies)
    newer = make_photograph(studies / "changed.dcm")
    read = []
    original = dcmread

    def spy(stream, **options):
        read.append(Path(stream.name).name)
        return original(stream, **options)

    monkeypatch.setattr("dermcheck.dicom.photograph.dcmread", spy)
    archive = open_archive(studies)
    assert listed(archive) == {kept.SOPInstanceUID, newer.SOPInstanceUID}
    assert read == ["changed.dcm"]
    assert changed.SOPInstanceUID not in listed(archive)


def test_what_vanished_while_nobody_looked_is_gone_after_a_restart(studies, make_photograph):
    kept = make_photograph(studies / "kept.dcm")
    make_photograph(studies / "gone.dcm")
    open_archive(studies)
    (studies / "gone.dcm").unlink()
    assert listed(open_archive(studies)) == {kept.SOPInstanceUID}
    assert listed(open_archive(studies)) == {kept.SOPInstanceUID}


@pytest.mark.parametrize("content", [b"", b"damaged", b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_index_is_made_anew(studies, tmp_path, make_photograph, content):
    dataset = make_photograph(studies / "a.dcm")
    open_archive(studies)
    (tmp_path / "index.sqlite").write_bytes(content)
    assert listed(open_archive(studies)) == {dataset.SOPInstanceUID}
    assert listed(open_archive(studies)) == {dataset.SOPInstanceUID}


# ---- storing ----


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_photograph_is_stored_where_importing_would_put_it(studies, make_photograph):
    dataset = make_photograph()
    open_archive(studies).store_instances([dataset])
    (path,) = files(studies)
    place = studies / read_header(dataset).patient_key / "2024-01-02" / f"{dataset.SOPInstanceUID}.dcm"
    assert path == place
    stored = dcmread(path)
    assert stored == dataset
    assert stored.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID


@pytest.mark.parametrize("name", ["lesion 1.dcm", "IM0001", "p/q/皮膚.v2.dcm", "é" * 120 + ".dcm"])
def test_a_label_is_stored_beside_its_photograph(studies, make_photograph, make_label, name):
    (studies / name).parent.mkdir(parents=True, exist_ok=True)
    photograph = make_photograph(studies / name)
    archive = open_archive(studies)
    label = make_label(photograph)
    archive.store_instances([label])
    (path,) = set((studies / name).parent.iterdir()) - {studies / name}
    assert path.name.startswith((studies / name).name.removesuffix(".dcm")[:90])
    assert path.match("*.seg-????????.dcm")
    assert dcmread(path).SOPInstanceUID == label.SOPInstanceUID
    assert listed(archive) == {photograph.SOPInstanceUID, label.SOPInstanceUID}


def test_what_is_stored_is_listed_at_once_and_after_a_restart(studies, make_photograph):
    archive = open_archive(studies)
    dataset = make_photograph()
    archive.store_instances([dataset])
    assert listed(archive) == {dataset.SOPInstanceUID} == listed(open_archive(studies))


def test_an_instance_that_another_process_stored_meanwhile_is_not_replaced(studies, make_photograph):
    archive, other = open_archive(studies), open_archive(studies)
    dataset = make_photograph()
    other.store_instances([dataset])
    before = files(studies)[0].read_bytes()
    dataset.PatientSex = "O"
    with pytest.raises(StorageError, match=f"instance {dataset.SOPInstanceUID}: it is stored already"):
        archive.store_instances([dataset])
    (path,) = files(studies)
    assert path.read_bytes() == before


def test_a_label_whose_short_name_is_taken_gets_a_longer_one(studies, make_photograph, make_label):
    photograph = make_photograph(studies / "a.dcm")
    label = make_label(photograph)
    archive = open_archive(studies)
    archive.store_instances([label])
    (path,) = set(studies.iterdir()) - {studies / "a.dcm"}
    path.write_bytes((studies / "a.dcm").read_bytes())  # another object under the label's name
    archive = open_archive(studies)
    archive.store_instances([label])
    (longer,) = set(studies.iterdir()) - {studies / "a.dcm", path}
    assert len(longer.name) == len(path.name) + 8


def test_an_object_that_lacks_a_uid_is_refused_before_anything_is_written(studies, make_photograph):
    dataset = make_photograph()
    del dataset.SOPInstanceUID
    with pytest.raises((UnreadableImageError, AttributeError, ValueError)):
        open_archive(studies).store_instances([dataset])
    assert list(studies.iterdir()) == []


def test_what_a_killed_writer_left_is_never_listed_and_removed_after_a_day(studies, make_photograph):
    dataset = make_photograph(studies / "a.dcm")
    half = studies / ".dermcheck-half"
    half.write_bytes((studies / "a.dcm").read_bytes())
    archive = open_archive(studies)
    assert half.exists()
    os.utime(half, (0, 0))
    archive.update()
    assert listed(archive) == {dataset.SOPInstanceUID}
    assert not half.exists()
