"""Storing (STOW-RS)."""

import copy
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from dermcheck.datastore import StudyStore
from dermcheck.dicom.header import read_header
from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
from dermcheck.dicom.segmentation import read_segmentation
from dermcheck.dicomweb.cleaning import is_clean
from dermcheck.dicomweb.storing import Receiver, Stored
from dermcheck.errors import StorageError

ROOT = "http://127.0.0.1/dicom-web"
FOREIGN = Path(__file__).parents[1] / "dicom/foreign"


@pytest.fixture
def receive(store, part_10):
    receiver = Receiver(store, store.originals)

    def receive(*objects: Dataset | bytes, study: str | None = None) -> Stored:
        contents = [one if isinstance(one, bytes) else part_10(one) for one in objects]
        return receiver.receive(contents, ROOT, study)

    return receive


def renewed(dataset: Dataset) -> Dataset:
    copied = copy.deepcopy(dataset)
    copied.SOPInstanceUID = copied.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    return copied


def test_an_own_outline_is_kept_as_it_is(receive, store, studies, photographs, outline, part_10):
    label = outline(photographs[0])
    stored = receive(label)
    assert (stored.http_status, stored.sentences) == (200, [])
    assert stored.labels == [(photographs[0].SOPInstanceUID, label.SOPInstanceUID)]
    (path,) = studies.glob("0.seg-*.dcm")
    kept = dcmread(path)
    assert part_10(kept) == part_10(label)
    assert not store.originals.exists()


def test_sent_again_it_is_answered_alike_and_stored_once(receive, studies, photographs, outline):
    label = outline(photographs[0])
    first, again = receive(label), receive(label)
    assert again.http_status == 200
    assert again.to_json() == first.to_json()
    assert again.labels == []
    assert len(list(studies.glob("*.seg-*.dcm"))) == 1


@pytest.mark.parametrize("name", ["ohif_binary", "ohif_labelmap", "ohif_labelmap_rle"])
def test_what_ohif_stores_is_rebuilt_and_the_original_kept(name, receive, store, tmp_path):
    sent = dcmread(FOREIGN / f"{name}.dcm")
    photograph = photograph_of(sent, tmp_path)
    assert receive(photograph).http_status == 200
    stored = receive((FOREIGN / f"{name}.dcm").read_bytes())
    assert stored.http_status == 202, stored.sentences
    assert [item["00081196"]["Value"] for item in stored.kept] == [[0xB000]]
    header = read_header(photograph)
    kept = store.retrieve_label(sent.SOPInstanceUID)
    assert kept.SeriesInstanceUID == sent.SeriesInstanceUID
    assert is_clean(kept, header.rows, header.columns)
    before, after = (
        [segment for segment in read_segmentation(one, header) if segment.mask.any()] for one in (sent, kept)
    )
    assert len(before) == len(after) > 0
    for old, new in zip(before, after, strict=True):
        assert np.array_equal(old.mask, new.mask)
        assert old.lesion_class == new.lesion_class
    original = store.originals / f"{sent.SOPInstanceUID}.dcm"
    assert original.read_bytes() == (FOREIGN / f"{name}.dcm").read_bytes()
    assert receive(original.read_bytes()).http_status == 200
    assert len(store.labels(photograph.SOPInstanceUID)) == 1


def photograph_of(segmentation: Dataset, folder: Path) -> Dataset:
    """A photograph that has the UIDs a Segmentation refers to."""
    from PIL import Image

    Image.fromarray(np.full((45, 62, 3), 180, np.uint8)).save(folder / "photo.png")
    details = PhotoDetails(patient_id=str(segmentation.get("PatientID") or "X"))
    photograph = photo_to_dicom(folder / "photo.png", details)
    series = segmentation.ReferencedSeriesSequence[0]
    uid = series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID
    photograph.SOPInstanceUID = photograph.file_meta.MediaStorageSOPInstanceUID = uid
    photograph.StudyInstanceUID = segmentation.StudyInstanceUID
    photograph.SeriesInstanceUID = series.SeriesInstanceUID
    return photograph


def test_the_original_is_no_study(receive, store, tmp_path):
    sent = dcmread(FOREIGN / "ohif_binary.dcm")
    receive(photograph_of(sent, tmp_path))
    receive((FOREIGN / "ohif_binary.dcm").read_bytes())
    store.refresh()
    assert store.problems() == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda label: setattr(label, "PatientID", "B-2"), "another patient|not the one of its study"),
        (lambda label: setattr(label, "StudyInstanceUID", "1.2.3"), "another study"),
        (lambda label: setattr(label, "Rows", 7), "pixels"),
        (lambda label: delattr(label, "SOPInstanceUID"), "SOPInstanceUID"),
        (lambda label: delattr(label, "PixelData"), "PixelData|pixel"),
    ],
)
def test_an_outline_that_does_not_belong_is_refused_and_nothing_is_stored(
    receive, store, studies, photographs, outline, change, sentence
):
    label = outline(photographs[0])
    before = sorted(path.name for path in studies.iterdir())
    change(label)
    stored = receive_loose(receive, label)
    assert stored.http_status == 409
    assert any(word in stored.sentences[0] for word in sentence.split("|")), stored.sentences
    assert "B-2" not in stored.sentences[0]
    assert sorted(path.name for path in studies.iterdir()) == before
    assert store.labels(photographs[0].SOPInstanceUID) == []


def receive_loose(receive, dataset: Dataset) -> Stored:
    """Send an object that is too broken for pydicom to write by the rules."""
    import io

    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=False)
    return receive(content.getvalue())


def test_an_outline_of_an_unknown_photograph_is_refused(receive, photographs, outline):
    stored = receive(outline(renewed(photographs[0])))
    assert stored.http_status == 409
    assert "Store the photograph first" in stored.sentences[0]


def test_a_photograph_of_another_patient_does_not_enter_a_study(receive, photographs):
    stranger = renewed(photographs[0])
    stranger.PatientID = "B-2"
    stored = receive(stranger)
    assert stored.http_status == 409
    assert "PatientID is not the one of its study" in stored.sentences[0]


def test_another_object_under_a_stored_uid_is_refused(receive, photographs):
    changed = copy.deepcopy(photographs[1])
    changed.PixelData = bytes(len(changed.PixelData))
    assert receive(photographs[1]).http_status == 200
    stored = receive(changed)
    assert stored.http_status == 409
    assert "different object" in stored.sentences[0]


def test_a_wrong_study_in_the_address_is_refused(receive, photographs, outline):
    label = outline(photographs[0])
    assert receive(label, study="1.2.3").http_status == 409
    assert receive(label, study=label.StudyInstanceUID).http_status == 200


@pytest.mark.parametrize(
    "content", [b"", b"garbage", bytes(200), b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM\x02"]
)
def test_garbage_is_refused_in_words(receive, content):
    stored = receive(content)
    assert stored.http_status == 409
    assert stored.failed[0]["00081197"]["Value"] == [0xC000]
    assert stored.sentences[0].endswith((".", "`."))


def test_the_good_ones_of_several_are_stored(receive, photographs, outline):
    stored = receive(outline(photographs[0]), b"garbage", outline(photographs[2]))
    assert (stored.http_status, len(stored.kept), len(stored.failed)) == (202, 2, 1)


def test_one_whose_stored_file_has_gone_does_not_end_the_others(receive, studies, photographs, outline):
    (studies / "0.dcm").unlink()
    stored = receive(photographs[0], outline(photographs[2]))
    assert (stored.http_status, len(stored.kept)) == (202, 1)
    assert [item["00081197"]["Value"] for item in stored.failed] == [[0x0110]]


def test_a_full_disk_is_an_error_if_nothing_could_be_stored(
    receive, store, photographs, outline, monkeypatch
):
    def full(dataset: Dataset) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(store, "store", full)
    with pytest.raises(StorageError, match="full"):
        receive(outline(photographs[0]))


def test_after_an_interruption_between_original_and_label_it_can_be_sent_again(
    receive, store: StudyStore, tmp_path, monkeypatch
):
    content = (FOREIGN / "ohif_binary.dcm").read_bytes()
    photograph = photograph_of(dcmread(FOREIGN / "ohif_binary.dcm"), tmp_path)
    receive(photograph)
    kept = store.store

    def full(dataset: Dataset) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(store, "store", full)
    with pytest.raises(StorageError):
        receive(content)
    monkeypatch.setattr(store, "store", kept)
    assert receive(content).http_status == 202
    assert len(store.labels(photograph.SOPInstanceUID)) == 1
