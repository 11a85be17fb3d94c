"""Photographs and labels as the rest of DermCheck sees them."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, DermoscopicPhotographyImageStorage, generate_uid

from dermcheck.datastore import StudyStore
from dermcheck.dicom.author import Algorithm, Clinician
from dermcheck.dicom.header import read_header
from dermcheck.dicom.report import DiagnosisFinding, write_report
from dermcheck.dicom.segmentation import read_segmentation
from dermcheck.errors import ArgumentError, MaskError, NotFoundError, StorageError, UnreadableImageError
from dermcheck.lesions import CLASSES, lesion_class

MODEL = Algorithm("outliner", "1", "0" * 64)


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


# ---- photographs ----


def test_only_photographs_are_images(studies, open_studies, make_photograph, make_label):
    photograph = make_photograph(studies / "a.dcm")
    dermoscopic = make_photograph(
        studies / "b.dcm", sop_class=DermoscopicPhotographyImageStorage, Modality="DMS"
    )
    make_photograph(studies / "ct.dcm", sop_class=CTImageStorage, Modality="CT")
    make_label(photograph, studies / "label.dcm")
    assert open_studies().image_ids() == [photograph.SOPInstanceUID, dermoscopic.SOPInstanceUID]


def test_the_image_id_is_the_instance_so_photographs_of_one_series_stay_apart(
    studies, open_studies, make_photograph
):
    series = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    photographs = [make_photograph(studies / f"{number}.dcm", seed=number, **series) for number in range(3)]
    store = open_studies()
    assert store.image_ids() == [photograph.SOPInstanceUID for photograph in photographs]
    for photograph in photographs:
        assert store.retrieve(photograph.SOPInstanceUID).PixelData == photograph.PixelData


def test_a_photograph_has_header_dataset_and_path(studies, open_studies, make_photograph):
    photograph = make_photograph(studies / "Rücken 1.dcm", PixelSpacing=[0.1, 0.1])
    store, image_id = open_studies(), photograph.SOPInstanceUID
    assert store.has_image(image_id)
    assert store.header(image_id) == read_header(photograph)
    assert store.retrieve(image_id) == photograph
    assert store.path(image_id) == studies / "Rücken 1.dcm"


@pytest.mark.parametrize("method", ["header", "retrieve", "path", "revision", "label", "retrieve_label"])
@pytest.mark.parametrize("unknown", ["1.2.3", "../a.dcm", "/etc/passwd", ""])
def test_an_unknown_id_is_a_sentence(studies, open_studies, make_photograph, method, unknown):
    make_photograph(studies / "a.dcm")
    with pytest.raises(NotFoundError, match=r"there is no such (photograph|label) in the studies"):
        getattr(open_studies(), method)(unknown)


def test_a_label_is_no_image_and_an_image_no_label(studies, open_studies, make_photograph, make_label):
    photograph = make_photograph(studies / "a.dcm")
    label = make_label(photograph, studies / "b.dcm")
    store = open_studies()
    assert not store.has_image(label.SOPInstanceUID)
    with pytest.raises(NotFoundError):
        store.retrieve(label.SOPInstanceUID)
    with pytest.raises(NotFoundError):
        store.retrieve_label(photograph.SOPInstanceUID)


def test_the_revision_changes_with_the_file(studies, open_studies, make_photograph):
    photograph = make_photograph(studies / "a.dcm")
    store = open_studies()
    before = store.revision(photograph.SOPInstanceUID)
    store.refresh()
    assert store.revision(photograph.SOPInstanceUID) == before
    make_photograph(studies / "a.dcm", seed=1, size=(5, 5), SOPInstanceUID=photograph.SOPInstanceUID)
    store.refresh()
    assert store.revision(photograph.SOPInstanceUID) != before
    assert store.header(photograph.SOPInstanceUID).rows == 5


# ---- labels ----


def test_labels_belong_to_the_photograph_they_refer_to_wherever_they_lie(
    studies, open_studies, make_photograph, make_label
):
    first, second = (make_photograph(studies / f"{number}.dcm") for number in range(2))
    (studies / "elsewhere").mkdir()
    label = make_label(first, studies / "elsewhere" / "unrelated name")
    store = open_studies()
    (found,) = store.labels(first.SOPInstanceUID)
    assert (found.sop_instance_uid, found.image_id) == (label.SOPInstanceUID, first.SOPInstanceUID)
    assert store.labels(second.SOPInstanceUID) == []
    assert store.labels("1.2.3") == []


def test_predictions_are_automatic_and_what_humans_draw_is_not(
    studies, open_studies, make_photograph, make_label
):
    photograph = make_photograph(studies / "a.dcm")
    store = open_studies()
    store.store(make_label(photograph, author=MODEL))
    assert store.latest_final(photograph.SOPInstanceUID) is None
    assert store.finished_ids() == frozenset()
    human = make_label(photograph, author=Clinician("Roe^Max"))
    store.store(human)
    prediction, correction = store.labels(photograph.SOPInstanceUID)
    assert (prediction.automatic, correction.automatic) == (True, False)
    assert correction.creator == "Roe^Max"
    assert isinstance(correction.created, datetime)
    assert store.latest_final(photograph.SOPInstanceUID) == correction == store.label(human.SOPInstanceUID)
    assert store.finished_ids() == {photograph.SOPInstanceUID}


def test_the_newest_final_label_counts_and_nothing_is_overwritten(
    studies, open_studies, make_photograph, make_label
):
    photograph = make_photograph(studies / "a.dcm")
    store = open_studies()
    labels = [make_label(photograph, name=name) for name in ("nv", "mel", "bcc")]
    for label in labels:
        store.store(label)
    store.store(make_label(photograph, author=MODEL))  # newer, but only a prediction
    uids = [label.SOPInstanceUID for label in labels]
    for opened in (store, open_studies()):
        assert [found.sop_instance_uid for found in opened.labels(photograph.SOPInstanceUID)][:3] == uids
        assert opened.latest_final(photograph.SOPInstanceUID).sop_instance_uid == uids[-1]
    header = read_header(photograph)
    diagnoses = [read_segmentation(store.retrieve_label(uid), header)[0].lesion_class.name for uid in uids]
    assert diagnoses == ["nv", "mel", "bcc"]


def test_a_stored_mask_comes_back_pixel_for_pixel(studies, open_studies, make_photograph, make_label):
    photograph = make_photograph(studies / "a.dcm", size=(7, 5))
    label = make_label(photograph)
    open_studies().store(label)
    store = open_studies()
    (segment,) = read_segmentation(
        store.retrieve_label(label.SOPInstanceUID), store.header(photograph.SOPInstanceUID)
    )
    expected = np.zeros((7, 5), bool)
    expected[0, 0] = True
    np.testing.assert_array_equal(segment.mask, expected)


def test_a_report_is_stored_beside_its_photograph_and_is_no_label(studies, open_studies, make_photograph):
    photograph = make_photograph(studies / "a.dcm")
    finding = DiagnosisFinding(dict.fromkeys(CLASSES, 1 / 7), lesion_class("nv"), 1.0, MODEL, 1)
    report = write_report(photograph, finding)
    store = open_studies()
    store.store(report)
    (path,) = studies.glob("a.sr-*.dcm")
    assert dcmread(path).SOPInstanceUID == report.SOPInstanceUID
    assert store.labels(photograph.SOPInstanceUID) == []
    with pytest.raises(StorageError, match="stored already"):
        store.store(report)


# ---- what is refused ----


def test_a_label_of_an_unknown_photograph_is_refused(studies, open_studies, make_photograph, make_label):
    stranger = make_photograph()
    label = make_label(stranger)
    with pytest.raises(
        NotFoundError,
        match=f"label {label.SOPInstanceUID}: it belongs to photograph {stranger.SOPInstanceUID}",
    ):
        open_studies().store(label)
    assert list(studies.iterdir()) == []


def test_a_label_that_refers_to_nothing_is_refused(studies, open_studies, make_photograph, make_label):
    label = make_label(make_photograph(studies / "a.dcm"))
    for keyword in (
        "SourceImageSequence",
        "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
        "ReferencedSeriesSequence",
    ):
        if keyword in label:
            del label[keyword]
    with pytest.raises(MaskError, match="refers to no image"):
        open_studies().store(label)


def test_an_instance_is_stored_once(studies, open_studies, make_photograph):
    photograph = make_photograph(studies / "a.dcm")
    store = open_studies()
    with pytest.raises(StorageError, match=f"instance {photograph.SOPInstanceUID}: it is stored already"):
        store.store(photograph)
    assert [path.name for path in studies.iterdir()] == ["a.dcm"]


def test_an_instance_without_uids_is_refused(studies, open_studies, make_photograph):
    photograph = make_photograph()
    del photograph.SeriesInstanceUID
    with pytest.raises(UnreadableImageError, match="SeriesInstanceUID is missing"):
        open_studies().store(photograph)
    assert list(studies.iterdir()) == []


def test_a_missing_studies_folder_is_a_sentence(tmp_path, cache):
    with pytest.raises(ArgumentError, match=r"gone: the studies folder is missing.*spelling"):
        StudyStore.open(tmp_path / "gone", cache)
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match=r"file: the studies folder is a file, expected a folder"):
        StudyStore.open(tmp_path / "file", cache)


def test_an_unreadable_studies_folder_is_a_sentence(without_rights, cache):
    with without_rights() as folder:
        (folder / "studies").mkdir(mode=0)
        with pytest.raises(StorageError, match=r"studies: the folder cannot be read \(Permission denied\)"):
            StudyStore.open(folder / "studies", folder / "cache")


def test_read_only_studies_can_be_used_and_saving_into_them_is_a_sentence(
    without_rights, make_photograph, make_label
):
    photograph = make_photograph()
    with without_rights() as folder:
        studies = folder / "studies"
        studies.mkdir()
        photograph.save_as(studies / "a.dcm", enforce_file_format=True)
        studies.chmod(0o555)
        with StudyStore.open(studies, folder / "cache", watch=False) as store:
            assert store.retrieve(photograph.SOPInstanceUID).PixelData == photograph.PixelData
            with pytest.raises(StorageError, match="not saved, the folder is read-only"):
                store.store(make_label(photograph))
            assert store.labels(photograph.SOPInstanceUID) == []
        assert [path.name for path in studies.iterdir()] == ["a.dcm"]


def test_nothing_is_written_into_the_studies_folder_by_opening_it(studies, open_studies, make_photograph):
    photograph = make_photograph(studies / "a.dcm")
    store = open_studies()
    store.retrieve(photograph.SOPInstanceUID)
    store.refresh()
    assert [path.name for path in studies.iterdir()] == ["a.dcm"]


# ---- problems ----


def test_duplicates_of_one_uid_are_reported_and_the_first_is_used(studies, open_studies, make_photograph):
    photograph = make_photograph(studies / "b.dcm")
    (studies / "copy").mkdir()
    shutil.copy(studies / "b.dcm", studies / "copy" / "c.dcm")
    store, image_id = open_studies(), photograph.SOPInstanceUID
    assert store.image_ids() == [image_id]
    assert store.path(image_id) == studies / "b.dcm"
    (problem,) = store.problems()
    assert problem == (
        f"{studies / 'b.dcm'}: its SOPInstanceUID {image_id} is also in {studies / 'copy' / 'c.dcm'}. "
        "Only the first is used: remove or re-export the others."
    )
    (studies / "b.dcm").unlink()
    store.refresh()
    assert store.problems() == []
    assert store.path(image_id) == studies / "copy" / "c.dcm"


def test_a_label_whose_photograph_is_missing_is_reported_until_it_arrives(
    studies, open_studies, make_photograph, make_label
):
    photograph = make_photograph()
    label = make_label(photograph, studies / "label.dcm")
    store = open_studies()
    (problem,) = store.problems()
    assert problem.startswith(
        f"{studies / 'label.dcm'}: it is a label of photograph {photograph.SOPInstanceUID}"
    )
    photograph.save_as(studies / "late.dcm", enforce_file_format=True)
    store.refresh()
    assert store.problems() == []
    assert store.latest_final(photograph.SOPInstanceUID).sop_instance_uid == label.SOPInstanceUID


def test_a_studies_folder_that_goes_away_is_reported_until_it_returns(studies, open_studies, make_photograph):
    make_photograph(studies / "a.dcm")
    store = open_studies()
    away = studies.rename(studies.with_name("unplugged"))
    with pytest.raises(StorageError):
        store.refresh()
    assert "the folder cannot be read" in store.problems()[0]
    assert len(store.image_ids()) == 1
    away.rename(studies)
    store.refresh()
    assert store.problems() == []


def test_no_problem_names_a_patient(studies, open_studies, make_photograph, monkeypatch):
    monkeypatch.setattr("dermcheck.datastore.folder_archive._SETTLED_S", 0.0)
    photograph = make_photograph(studies / "a.dcm", PatientName="Secret^Person")
    shutil.copy(studies / "a.dcm", studies / "b.dcm")
    (studies / "c.dcm").write_bytes((studies / "a.dcm").read_bytes()[:-1])
    photograph.Rows = 0
    photograph.save_as(studies / "d.dcm", enforce_file_format=True)
    problems = open_studies().problems()
    assert len(problems) == 3
    assert not any("Secret" in problem or "Person" in problem for problem in problems)


# ---- at the same time ----


def test_files_dropped_in_and_taken_out_are_noticed_by_a_running_store(
    studies, open_studies, make_photograph, tmp_path
):
    store = open_studies(watch=True)
    photograph = make_photograph(tmp_path / "new.dcm")
    shutil.copy(tmp_path / "new.dcm", studies / "new.dcm")
    assert eventually(lambda: store.image_ids() == [photograph.SOPInstanceUID])
    (studies / "new.dcm").unlink()
    assert eventually(lambda: store.image_ids() == [])


def test_watching_survives_a_folder_that_goes_away_for_a_while(studies, open_studies, make_photograph):
    photograph = make_photograph(studies / "a.dcm")
    store = open_studies(watch=True)
    away = studies.rename(studies.with_name("unplugged"))
    assert eventually(lambda: len(store.problems()) == 1)
    second = make_photograph(away / "b.dcm")
    away.rename(studies)
    assert eventually(lambda: store.image_ids() == [photograph.SOPInstanceUID, second.SOPInstanceUID])


def test_a_closed_store_no_longer_looks_but_still_reads(studies, open_studies, make_photograph):
    photograph = make_photograph(studies / "a.dcm")
    store = open_studies(watch=True)
    store.close()
    make_photograph(studies / "b.dcm")
    assert not eventually(lambda: len(store.image_ids()) > 1, seconds=3.0)
    assert store.retrieve(photograph.SOPInstanceUID).PixelData == photograph.PixelData


def test_threads_read_store_and_refresh_at_the_same_time(studies, open_studies, make_photograph, make_label):
    photographs = [make_photograph(studies / f"{number}.dcm", seed=number) for number in range(8)]
    store = open_studies()

    def work(number: int) -> None:
        photograph = photographs[number % 8]
        assert store.retrieve(photograph.SOPInstanceUID).PixelData == photograph.PixelData
        label = make_label(photograph)
        store.store(label)
        assert label.SOPInstanceUID in {
            found.sop_instance_uid for found in store.labels(photograph.SOPInstanceUID)
        }
        store.refresh()
        assert len(store.image_ids()) == 8

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(48)))
    for opened in (store, open_studies()):
        assert sum(len(opened.labels(image_id)) for image_id in opened.image_ids()) == 48
        assert opened.problems() == []


_STORE_LABELS = """
import sys
from pathlib import Path
import numpy as np
from dermcheck.datastore import StudyStore
from dermcheck.dicom.author import Clinician
from dermcheck.dicom.segmentation import LesionSegment, write_segmentation
studies, cache, name = sys.argv[1:]
with StudyStore.open(studies, Path(cache)) as store:
    (image_id,) = store.image_ids()
    photograph = store.retrieve(image_id)
    for _ in range(8):
        mask = np.ones((photograph.Rows, photograph.Columns), bool)
        label = write_segmentation(photograph, [LesionSegment(mask, None)], Clinician(name))
        store.store(label)
        print(label.SOPInstanceUID)
"""


def test_processes_that_write_at_the_same_time_lose_nothing(studies, cache, open_studies, make_photograph):
    photograph = make_photograph(studies / "a.dcm")
    store = open_studies(watch=True)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _STORE_LABELS, studies, cache, f"Writer {number}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    outputs = [writer.communicate(timeout=120)[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    written = {uid for output in outputs for uid in output.split()}
    assert len(written) == 24
    assert eventually(lambda: len(store.labels(photograph.SOPInstanceUID)) == 24)
    for opened in (store, open_studies()):
        found = opened.labels(photograph.SOPInstanceUID)
        assert {label.sop_instance_uid for label in found} == written
        assert {label.creator for label in found} == {"Writer 0", "Writer 1", "Writer 2"}
        assert opened.problems() == []
    assert all(dcmread(path).Rows == 6 for path in Path(studies).iterdir())


def test_a_process_killed_while_saving_leaves_whole_files_only(studies, cache, open_studies, make_photograph):
    make_photograph(studies / "a.dcm")
    program = _STORE_LABELS.replace("range(8)", "range(10_000)")
    writer = subprocess.Popen(
        [sys.executable, "-c", program, studies, cache, "Writer"], stdout=subprocess.PIPE, text=True
    )
    acknowledged = [writer.stdout.readline().strip() for _ in range(10)]
    writer.kill()
    acknowledged += writer.communicate()[0].split()[:-1]  # the last line may be cut off
    store = open_studies()
    (image_id,) = store.image_ids()
    found = {label.sop_instance_uid for label in store.labels(image_id)}
    assert set(acknowledged) <= found
    assert len(found) <= len(acknowledged) + 2  # those stored, but not printed before the end
    for uid in found:
        assert len(store.retrieve_label(uid).PixelData) > 0
