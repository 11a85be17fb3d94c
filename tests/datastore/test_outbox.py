"""Corrections on their way to an archive that is slow, away, full, or refuses them."""

import threading
import time
from pathlib import Path

import pytest
import requests
from pydicom import Dataset

from dermcheck.datastore.catalogue import Catalogue
from dermcheck.datastore.outbox import Outbox
from dermcheck.datastore.outbox_archive import OutboxArchive
from dermcheck.datastore.study_store import StudyStore
from dermcheck.datastore.web_archive import RefusedError
from dermcheck.errors import StorageError


class Pacs:
    """An archive in memory that fails on command."""

    def __init__(self) -> None:
        self.stored: dict[str, Dataset] = {}
        self.attempts: list[str] = []
        self.away = False
        self.forgets_to_answer = False
        self.refused: set[str] = set()
        self.hangs = threading.Event()
        self.hangs.set()

    def store_instances(self, datasets, study_instance_uid=None):
        (dataset,) = datasets
        uid = dataset.SOPInstanceUID
        self.hangs.wait(20)
        self.attempts.append(uid)
        if self.away:
            raise StorageError("the archive does not answer")
        if uid in self.refused:
            raise RefusedError("the archive did not store it")
        assert uid not in self.stored, "stored twice"
        self.stored[uid] = dataset
        if self.forgets_to_answer:
            raise StorageError("the archive does not answer (ReadTimeout)")
        return Dataset()

    def search_for_instances(self, study, series, search_filters):
        if self.away:
            raise StorageError("the archive does not answer")
        return [{}] if search_filters["SOPInstanceUID"] in self.stored else []

    def retrieve_instance(self, study, series, instance, media_types=None):
        return self.stored[instance]

    def begin(self):
        pass

    def update(self):
        pass

    def problems(self):
        return []

    def path(self, key):
        return None


@pytest.fixture
def pacs() -> Pacs:
    return Pacs()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    module = "dermcheck.datastore.outbox_archive"
    monkeypatch.setattr(f"{module}._FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(f"{module}._LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr(f"{module}._PATIENCE_S", 0.5)


@pytest.fixture
def open_outbox(pacs, tmp_path):
    opened: list[OutboxArchive] = []

    def open_outbox() -> tuple[OutboxArchive, Catalogue]:
        catalogue = Catalogue()
        opened.append(OutboxArchive(pacs, catalogue, tmp_path / "outbox"))
        return opened[-1], catalogue

    yield open_outbox
    pacs.hangs.set()
    for archive in opened:
        archive.close()


@pytest.fixture
def labels(make_photograph, make_label) -> list[Dataset]:
    photograph = make_photograph()
    return [make_label(photograph, name=name) for name in ("mel", "nv", "bcc")]


def uids(labels: list[Dataset]) -> list[str]:
    return [label.SOPInstanceUID for label in labels]


def wait_until(condition, limit_s: float = 20) -> None:
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_what_the_archive_takes_at_once_does_not_wait(open_outbox, pacs, labels, tmp_path):
    archive, _ = open_outbox()
    for label in labels:
        archive.store_instances([label])
    assert list(pacs.stored) == uids(labels)
    assert archive.unsent() == []
    assert list((tmp_path / "outbox").iterdir()) == []


def test_while_the_archive_is_away_labels_wait_and_are_sent_in_order_later(open_outbox, pacs, labels):
    archive, catalogue = open_outbox()
    pacs.away = True
    for label in labels:
        archive.store_instances([label])
    assert [found.sop_instance_uid for found in archive.unsent()] == uids(labels)
    assert all("does not answer" in problem for problem in archive.problems())
    assert catalogue.find(uids(labels)[2]).label.image_id
    assert archive.retrieve_instance("", "", uids(labels)[1]).SegmentSequence[0].SegmentLabel
    pacs.away = False
    wait_until(lambda: not archive.unsent())
    assert list(pacs.stored) == uids(labels)
    assert archive.problems() == []


def test_what_waits_survives_a_restart(open_outbox, pacs, labels):
    archive, _ = open_outbox()
    pacs.away = True
    for label in labels:
        archive.store_instances([label])
    archive.close()
    _, catalogue = open_outbox()
    assert {found.sop_instance_uid for found in catalogue.labels(labels_image(labels))} == set(uids(labels))
    pacs.away = False
    wait_until(lambda: len(pacs.stored) == 3)
    assert list(pacs.stored) == uids(labels)


def labels_image(labels: list[Dataset]) -> str:
    series = labels[0].ReferencedSeriesSequence[0]
    return series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID


def test_a_lost_confirmation_does_not_store_twice(open_outbox, pacs, labels):
    archive, _ = open_outbox()
    pacs.forgets_to_answer = True
    archive.store_instances([labels[0]])
    pacs.forgets_to_answer = False
    wait_until(lambda: not archive.unsent())
    assert pacs.attempts == [uids(labels)[0]]  # the archive itself asserts that nothing comes twice


def test_killed_between_confirmation_and_removal_does_not_store_twice(open_outbox, pacs, labels, tmp_path):
    Outbox(tmp_path / "outbox").put(labels[0])
    pacs.stored[uids(labels)[0]] = labels[0]
    archive, _ = open_outbox()
    wait_until(lambda: not archive.unsent())
    assert pacs.attempts == []


def test_a_refused_label_does_not_hold_up_the_others_and_is_kept(open_outbox, pacs, labels, tmp_path):
    archive, _ = open_outbox()
    first, second, third = uids(labels)
    pacs.refused.add(first)
    for label in labels:
        archive.store_instances([label])
    wait_until(lambda: list(pacs.stored) == [second, third])
    (unsent,) = archive.unsent()
    assert (unsent.sop_instance_uid, unsent.reason) == (first, "the archive did not store it")
    assert len(list((tmp_path / "outbox").iterdir())) == 1
    pacs.refused.clear()
    wait_until(lambda: not archive.unsent())


def test_an_archive_that_hangs_keeps_nobody_waiting(open_outbox, pacs, labels):
    archive, _ = open_outbox()
    pacs.hangs.clear()
    started = time.monotonic()
    archive.store_instances([labels[0]])
    assert time.monotonic() - started < 5
    assert len(archive.unsent()) == 1
    pacs.hangs.set()
    wait_until(lambda: not archive.unsent())


def test_the_same_label_waits_once(tmp_path, labels):
    outbox = Outbox(tmp_path / "outbox")
    outbox.put(labels[0])
    outbox.put(labels[0])
    assert len(outbox.waiting()) == len(list((tmp_path / "outbox").iterdir())) == 1
    assert outbox.read(uids(labels)[0]).PixelData == labels[0].PixelData


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, labels, monkeypatch):
    def full(path: Path, content: bytes) -> None:
        raise StorageError("the disk is full")

    outbox = Outbox(tmp_path / "outbox")
    monkeypatch.setattr("dermcheck.datastore.outbox.write_new_file", full)
    with pytest.raises(StorageError, match="full"):
        outbox.put(labels[0])
    assert outbox.waiting() == []


def test_foreign_files_in_the_folder_are_left_alone(tmp_path, labels):
    folder = tmp_path / "outbox"
    folder.mkdir()
    (folder / "notes.txt").write_text("keep")
    (folder / ".dermcheck-unfinished").write_bytes(b"half")
    outbox = Outbox(folder)
    outbox.put(labels[0])
    outbox.remove(uids(labels)[0])
    assert sorted(path.name for path in folder.iterdir()) == [".dermcheck-unfinished", "notes.txt"]


def test_over_a_real_archive_labels_arrive_after_it_was_away(
    orthanc, make_photograph, make_label, tmp_path, monkeypatch
):
    """Orthanc behind an address that answers only after a while."""
    photograph, url = make_photograph(), f"{orthanc}/dicom-web"
    with StudyStore.open(url, tmp_path / "first", watch=False) as store:
        store.store(photograph)
    with StudyStore.open(url, tmp_path / "cache") as store:
        wait_until(lambda: store.has_image(photograph.SOPInstanceUID))
        label = make_label(photograph)
        real = requests.Session.send
        cut = [True]

        def send(self, request, **options):
            if cut[0]:
                raise requests.ConnectionError
            return real(self, request, **options)

        monkeypatch.setattr(requests.Session, "send", send)
        store.store(label)
        assert store.latest_final(photograph.SOPInstanceUID).sop_instance_uid == label.SOPInstanceUID
        assert [found.sop_instance_uid for found in store.unsent()] == [label.SOPInstanceUID]
        cut[0] = False
        wait_until(lambda: not store.unsent())
    with StudyStore.open(url, tmp_path / "other", watch=False) as store:
        assert store.latest_final(photograph.SOPInstanceUID).sop_instance_uid == label.SOPInstanceUID
