"""Labels of real studies: listed with what was changed, compared between readers, taken back."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread

from dermcheck.active_learning.agreement import Reading as _Reading
from dermcheck.active_learning.agreement import (
    compare_readings,
    consensus,
    consensus_segmentation,
    marked_picture,
    read_readings,
    summarise,
)
from dermcheck.active_learning.label_quality import list_labels
from dermcheck.active_learning.withdrawal import withdraw
from dermcheck.cli import main
from dermcheck.datastore import StudyStore
from dermcheck.dicom.annotation_record import AnnotationRecord, read_record, write_record
from dermcheck.dicom.author import Algorithm, Clinician
from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
from dermcheck.dicom.segmentation import LesionSegment, read_segmentation, write_segmentation
from dermcheck.dicom.segments import dice_index
from dermcheck.errors import ArgumentError, MaskError, NotFoundError
from dermcheck.lesions import lesion_class

ROWS, COLUMNS = 40, 60


def square(top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros((ROWS, COLUMNS), bool)
    mask[top : top + side, left : left + side] = True
    return mask


class Studies:
    """A folder of photographs, and labels that are stored one after the other."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder / "studies"
        self.folder.mkdir()
        self.photographs: list[Dataset] = []
        for number in range(count):
            path = folder / "photo.png"
            Image.new("RGB", (COLUMNS, ROWS), (200, 160, 140 + number)).save(path)
            photograph = photo_to_dicom(path, PhotoDetails(patient_id=f"TEST-{number}"))
            photograph.save_as(self.folder / f"{number}.dcm", enforce_file_format=True)
            self.photographs.append(photograph)
        self.store = StudyStore.open(self.folder, folder / "cache", watch=False)
        self.seconds = 0

    def label(self, number: int, who, mask: np.ndarray, name: str | None = "nv", **record) -> str:
        segment = LesionSegment(mask, lesion_class(name) if name else None)
        dataset = write_segmentation(self.photographs[number], [segment], who)
        self.seconds += 1  # makers write whole seconds
        dataset.ContentDate = "20260101"
        dataset.ContentTime = f"1200{self.seconds:02}"
        if record:
            write_record(dataset, AnnotationRecord(**record))
        self.store.store(dataset)
        return str(dataset.SOPInstanceUID)

    def image(self, number: int) -> str:
        return str(self.photographs[number].SOPInstanceUID)


@pytest.fixture
def studies(tmp_path: Path) -> Iterator[Studies]:
    made = Studies(tmp_path, 3)
    yield made
    made.store.close()


ANNA, BODO, MODEL = Clinician("Anna"), Clinician("Bodo"), Algorithm("outliner", "1", "0" * 64)


# ---- the record inside the Segmentation ----


def test_a_record_survives_the_file_and_implicit_vr(studies, tmp_path):
    record = AnnotationRecord(
        seconds=12.5, started_from="prediction", proposed_class="mel", proposed_px=70_000, added_px=3,
        removed_px=0, based_on="2.25.7",
    )  # fmt: skip
    dataset = write_segmentation(studies.photographs[0], [], ANNA)
    write_record(dataset, record)
    for syntax in ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2"):
        dataset.file_meta.TransferSyntaxUID = syntax
        path = tmp_path / "label.dcm"
        dataset.save_as(path, implicit_vr=syntax.endswith(".2"), little_endian=True)
        assert read_record(dcmread(path)) == record
    assert record.changed_px == 3


def test_objects_without_a_record_or_with_a_damaged_one_are_read(studies):
    dataset = write_segmentation(studies.photographs[0], [], ANNA)
    assert read_record(dataset) is None
    write_record(dataset, AnnotationRecord(seconds=1.0))
    block = dataset.private_block(0x0077, "DermCheck annotation")
    for number, value in ((0x02, b"SOMETHING "), (0x05, b"many"), (0x06, b"\xff"), (0x08, b"not a uid")):
        block.add_new(number, "UN", value)
    assert read_record(dataset) == AnnotationRecord(seconds=1.0)


def test_masks_of_different_sizes_are_not_compared():
    with pytest.raises(MaskError, match="cannot be compared"):
        AnnotationRecord.compare(np.zeros((2, 2), bool), np.zeros((2, 3), bool), None)


# ---- the list ----


def test_the_list_says_who_when_how_long_and_what_was_changed(studies):
    changed = {"proposed_class": "mel", "proposed_px": 100, "added_px": 20, "removed_px": 10}
    studies.label(0, ANNA, square(0, 0, 10), "nv", seconds=30.0, started_from="prediction", **changed)
    studies.label(0, BODO, square(0, 0, 12), "nv", started_from="nothing")
    (first, second), problems = list_labels(studies.store)
    assert problems == []
    assert (first.reader, first.state, first.record.seconds) == ("Anna", "earlier", 30.0)
    assert (first.record.changed_px, first.changed_share, first.class_kept) == (30, 0.25, False)
    assert (second.reader, second.state, second.class_kept) == ("Bodo", "counts", None)
    assert second.changed_share is None
    assert json.dumps(first.to_json())


def test_what_another_viewer_left_out_is_found_from_the_stored_prediction(studies):
    studies.label(0, MODEL, square(0, 0, 10), "mel")
    studies.label(0, ANNA, square(0, 0, 11), "mel")
    studies.label(1, ANNA, square(0, 0, 11), "mel")
    (with_prediction, without), _ = list_labels(studies.store)
    assert with_prediction.found_afterwards
    assert with_prediction.record.changed_px == 21
    assert with_prediction.class_kept is True
    assert not without.found_afterwards
    assert without.record == AnnotationRecord()


def test_no_label_at_all(studies):
    assert list_labels(studies.store) == ([], [])
    assert read_readings(studies.store) == ({}, [])


# ---- taking back ----


def test_a_withdrawn_label_is_kept_and_the_one_before_counts_again(studies):
    store, image = studies.store, studies.image(0)
    first = studies.label(0, ANNA, square(0, 0, 10))
    second = studies.label(0, BODO, square(5, 5, 10), "mel")
    stored = withdraw(store, second, BODO)
    assert store.latest_final(image).sop_instance_uid == first
    assert [label.sop_instance_uid for label in store.label_history(image)][:2] == [first, second]
    states = {label.label: label.state for label in list_labels(store)[0]}
    assert states == {first: "counts", second: "withdrawn", stored: "withdrawal"}
    withdraw(store, first, ANNA)
    assert store.latest_final(image) is None
    assert image not in store.finished_ids()
    third = studies.label(0, ANNA, square(0, 0, 5))
    assert store.latest_final(image).sop_instance_uid == third


def test_another_process_sees_it_too(studies, tmp_path):
    label = studies.label(0, ANNA, square(0, 0, 10))
    withdraw(studies.store, label, ANNA)
    for _ in range(2):  # from the files, then from the index
        with StudyStore.open(studies.folder, tmp_path / "another cache", watch=False) as other:
            assert other.finished_ids() == frozenset()
            assert len(other.label_history(studies.image(0))) == 2


def test_what_cannot_be_withdrawn_is_refused_in_words(studies):
    prediction = studies.label(0, MODEL, square(0, 0, 10))
    label = studies.label(0, ANNA, square(0, 0, 10))
    stored = withdraw(studies.store, label, ANNA)
    for uid, words in ((prediction, "a prediction"), (stored, "a withdrawal itself"), (label, "already")):
        with pytest.raises(ArgumentError, match=words):
            withdraw(studies.store, uid, ANNA)
    with pytest.raises(NotFoundError):
        withdraw(studies.store, "1.2.3", ANNA)


# ---- agreement ----


def reading(reader: str, mask: np.ndarray, diagnosis: str | None = "nv", image: str = "1.2") -> _Reading:
    return _Reading(image=image, label=f"{image}.{reader}", reader=reader, mask=mask, diagnosis=diagnosis)


def test_dice_by_hand_and_of_nothing():
    empty = np.zeros((ROWS, COLUMNS), bool)
    assert dice_index(square(0, 0, 10), square(0, 5, 10)) == pytest.approx(2 * 50 / 200)
    assert dice_index(empty, empty) == 1
    assert dice_index(empty, square(0, 0, 3)) == 0


def test_only_the_newest_label_of_each_reader_takes_part(studies):
    studies.label(0, ANNA, square(0, 0, 3))
    studies.label(0, ANNA, square(0, 0, 10), "nv")
    studies.label(0, BODO, square(0, 5, 10), "mel")
    studies.label(1, ANNA, square(0, 0, 10))
    studies.label(1, MODEL, square(0, 0, 10))
    readings, _ = read_readings(studies.store)
    assert list(readings) == [studies.image(0)]
    (pair,) = compare_readings(readings[studies.image(0)])
    assert (pair.readers, pair.diagnoses) == (("Anna", "Bodo"), ("nv", "mel"))
    assert pair.dice == pytest.approx(0.5)


def test_kappa_is_that_of_the_book_and_none_where_it_is_not_defined():
    """Cohen 1960: two of four agree, chance agreement is 3/8, so kappa is 1/5."""
    mask = square(0, 0, 4)
    answers = [("nv", "nv"), ("nv", "mel"), ("mel", "mel"), ("nv", "bcc"), (None, "nv")]
    pairs = [
        pair
        for number, (first, second) in enumerate(answers)
        for pair in compare_readings([reading("a", mask, first, f"1.{number}"), reading("b", mask, second)])
    ]
    (found,) = summarise(pairs)
    assert (found.photographs, found.both_diagnosed, found.same_diagnosis) == (5, 4, 2)
    expected = (2 / 4 - (3 / 4 * 1 / 4 + 1 / 4 * 2 / 4)) / (1 - (3 / 4 * 1 / 4 + 1 / 4 * 2 / 4))
    assert found.kappa == pytest.approx(expected)
    (alike,) = summarise(pairs[:1])
    assert alike.kappa is None
    (nobody,) = summarise(pairs[4:])
    assert (nobody.kappa, nobody.both_diagnosed) == (None, 0)


def test_the_consensus_follows_the_reliable_readers_and_marks_the_disagreement():
    good, slightly, bad = square(10, 10, 15), square(10, 11, 15), square(0, 40, 10)
    found = consensus(
        [reading("a", good), reading("b", good, "mel"), reading("c", slightly), reading("d", bad)]
    )
    assert dice_index(found.mask, good) > 0.95
    assert (found.disagreement == (good | slightly | bad) & ~(good & slightly & bad)).all()
    assert found.diagnosis == "nv"
    assert found.sensitivity[0] > 0.95 > 0.1 > found.sensitivity[3]


@pytest.mark.parametrize("masks", [[square(0, 0, 0)] * 2, [square(3, 3, 9)] * 3, [square(3, 3, 9)]])
def test_where_all_say_the_same_that_is_the_consensus(masks):
    found = consensus([reading(str(number), mask) for number, mask in enumerate(masks)])
    assert (found.mask == masks[0]).all()
    assert not found.disagreement.any()
    assert found.sensitivity == (1.0,) * len(masks)


@pytest.mark.parametrize(
    "other", [np.zeros((ROWS, COLUMNS), bool), square(25, 40, 10), np.ones((ROWS, COLUMNS), bool)]
)
def test_readers_who_have_little_in_common_still_give_a_consensus(other):
    found = consensus([reading("a", square(0, 0, 10), "nv"), reading("b", other, "mel")])
    assert not (found.mask & ~(square(0, 0, 10) | other)).any()
    assert found.diagnosis is None
    assert np.isfinite([*found.sensitivity, *found.specificity]).all()


def test_the_consensus_is_written_as_a_segmentation_that_replaces_no_label(studies):
    found = consensus([reading("a", square(0, 0, 10)), reading("b", square(0, 2, 10))])
    dataset = consensus_segmentation(studies.photographs[0], found)
    header = studies.store.header(studies.image(0))
    agreed, disputed = read_segmentation(dataset, header)
    assert (agreed.mask == found.mask).all()
    assert (disputed.mask == found.disagreement).all()
    assert disputed.label == "Readers disagree"
    studies.store.store(dataset)
    assert studies.store.latest_final(studies.image(0)) is None


def test_the_picture_marks_both_and_leaves_the_rest():
    pixels = np.full((ROWS, COLUMNS, 3), 200, np.uint8)
    found = consensus([reading("a", square(5, 5, 10)), reading("b", square(5, 7, 10))])
    marked = marked_picture(pixels, found)
    assert (pixels == 200).all()
    assert (marked[30:, 30:] == 200).all()
    assert (marked[found.disagreement] != 200).any()


# ---- the command ----


@pytest.fixture
def labels(studies, capsys, monkeypatch, tmp_path):
    """Run `dermcheck labels`; gives what it says."""
    monkeypatch.setenv("DERMCHECK_CACHE", str(tmp_path / "cache of the command"))
    monkeypatch.setenv("DERMCHECK_STUDIES", str(studies.folder))

    def run(*arguments: str, status: int = 0) -> str:
        assert main(["labels", *arguments]) == status
        said = capsys.readouterr()
        return said.err if status else said.out

    return run


def test_the_command_lists_compares_and_takes_back(studies, labels, tmp_path):
    assert "no agreement to measure" in labels("agreement")
    studies.label(0, ANNA, square(0, 0, 10), "nv", seconds=30.0)
    mistaken = studies.label(0, BODO, square(0, 2, 10), "mel")
    listed = labels("list")
    assert "2 labels" in listed
    assert "Anna" in listed
    assert json.loads(labels("list", "--json"))["labels"][1]["label"] == mistaken
    compared = json.loads(labels("agreement", "--json", "--consensus", str(tmp_path / "agreed")))
    assert compared["readers"][0]["mean_dice"] == pytest.approx(0.8)
    assert sorted(path.suffix for path in (tmp_path / "agreed").iterdir()) == [".dcm", ".png"]
    assert "0.800" in labels("agreement")
    assert "does not count any more" in labels("withdraw", mistaken, "--by", "Bodo")
    assert [each["state"] for each in json.loads(labels("list", "--json"))["labels"]] == [
        "counts", "withdrawn", "withdrawal",
    ]  # fmt: skip
    assert "withdrawn already" in labels("withdraw", mistaken, "--by", "Bodo", status=2)


def test_the_command_refuses_in_words(studies, labels, monkeypatch):
    assert "at least two of each" in labels("suspicious", status=1)
    assert "from 0 to 1" in labels("suspicious", "--most-confidence", "3", status=2)
    monkeypatch.delenv("DERMCHECK_STUDIES")
    assert "--studies DIR_OR_URL" in labels("list", status=2)
