"""The same store over an archive: a real Orthanc, any other client of the protocol, and bad answers."""

import base64
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from dicomweb_client.api import DICOMfileClient
from pydicom import dcmwrite
from pydicom.uid import CTImageStorage, DermoscopicPhotographyImageStorage

from dermcheck.datastore import StudyStore
from dermcheck.datastore.archive_access import MODALITIES
from dermcheck.datastore.catalogue import Catalogue
from dermcheck.datastore.web_archive import WebArchive
from dermcheck.dicom.author import Algorithm
from dermcheck.dicom.header import read_header
from dermcheck.dicom.segmentation import read_segmentation
from dermcheck.errors import NotFoundError, StorageError


@pytest.fixture
def pacs(orthanc) -> str:
    """The address of the archive, emptied."""
    for patient in requests.get(f"{orthanc}/patients", timeout=10).json():
        requests.delete(f"{orthanc}/patients/{patient}", timeout=10).raise_for_status()
    return orthanc


@pytest.fixture
def send(pacs):
    """Store an object as a camera does, without DICOMweb."""

    def send(dataset):
        content = io.BytesIO()
        dcmwrite(content, dataset, enforce_file_format=True)
        requests.post(f"{pacs}/instances", data=content.getvalue(), timeout=10).raise_for_status()
        return dataset

    return send


@pytest.fixture
def open_pacs(pacs, cache):
    return lambda: StudyStore.open(f"{pacs}/dicom-web/", cache, watch=False)


def test_photographs_of_an_archive_are_images(open_pacs, send, make_photograph):
    photograph = send(make_photograph(PixelSpacing=[0.1, 0.1]))
    dermoscopic = send(
        make_photograph(seed=1, sop_class=DermoscopicPhotographyImageStorage, Modality="DMS", PatientID="2")
    )
    send(make_photograph(sop_class=CTImageStorage, Modality="CT"))
    store = open_pacs()
    assert set(store.image_ids()) == {photograph.SOPInstanceUID, dermoscopic.SOPInstanceUID}
    assert store.header(photograph.SOPInstanceUID) == read_header(photograph)
    assert store.retrieve(dermoscopic.SOPInstanceUID).PixelData == dermoscopic.PixelData
    assert store.path(photograph.SOPInstanceUID) is None
    assert store.problems() == []


def test_labels_are_stored_in_the_archive_and_found_there_by_others(
    open_pacs, send, make_photograph, make_label
):
    photograph = send(make_photograph())
    store = open_pacs()
    prediction = make_label(photograph, author=Algorithm("outliner", "1", "0" * 64), name="nv")
    correction = make_label(photograph, name="mel")
    for label in (prediction, correction):
        store.store(label)
    image_id = photograph.SOPInstanceUID
    assert len(store.labels(image_id)) == 2
    other = open_pacs()
    assert other.labels(image_id) == store.labels(image_id)
    assert other.latest_final(image_id).sop_instance_uid == correction.SOPInstanceUID
    (segment,) = read_segmentation(other.retrieve_label(correction.SOPInstanceUID), other.header(image_id))
    assert segment.lesion_class.name == "mel"
    assert segment.mask.sum() == 1


def test_a_photograph_stored_through_the_store_is_in_the_archive(open_pacs, pacs, make_photograph):
    photograph = make_photograph()
    store = open_pacs()
    store.store(photograph)
    assert store.image_ids() == [photograph.SOPInstanceUID] == open_pacs().image_ids()
    assert len(requests.get(f"{pacs}/instances", timeout=10).json()) == 1
    with pytest.raises(StorageError, match="stored already"):
        store.store(photograph)


def test_what_arrives_in_and_leaves_the_archive_is_noticed(
    open_pacs, pacs, send, make_photograph, make_label
):
    first = send(make_photograph())
    store = open_pacs()
    second = send(make_photograph(seed=1, PatientID="2"))
    label = send(make_label(first))
    store.refresh()
    assert set(store.image_ids()) == {first.SOPInstanceUID, second.SOPInstanceUID}
    assert [found.sop_instance_uid for found in store.labels(first.SOPInstanceUID)] == [label.SOPInstanceUID]
    for patient in requests.get(f"{pacs}/patients", timeout=10).json():
        requests.delete(f"{pacs}/patients/{patient}", timeout=10)
    with pytest.raises(NotFoundError, match="the archive does not have it"):
        store.retrieve(first.SOPInstanceUID)
    store.refresh()
    assert store.image_ids() == []


def test_work_begins_with_the_first_page_and_the_rest_follows(open_pacs, send, make_photograph, monkeypatch):
    for seed in range(5):
        send(make_photograph(seed=seed))
    store = open_pacs()
    assert len(store.image_ids()) == 5
    monkeypatch.setattr("dermcheck.datastore.web_archive._FIRST_PAGE", 2)
    monkeypatch.setattr("dermcheck.datastore.web_archive._PAGE", 2)
    catalogue = Catalogue()
    client = store.archive._make_client
    archive = WebArchive(client, "Orthanc", catalogue)
    archive.begin()
    assert len(catalogue.image_ids()) == 2
    archive.update()
    assert set(catalogue.image_ids()) == set(store.image_ids())


def test_outlines_in_studies_without_photographs_are_not_asked_for(
    open_pacs, send, make_photograph, make_label
):
    photograph = make_photograph()
    label = send(make_label(photograph))
    store = open_pacs()
    assert store.problems() == []
    assert store.catalogue.find(label.SOPInstanceUID) is None
    send(photograph)
    store.refresh()
    assert [found.sop_instance_uid for found in store.labels(photograph.SOPInstanceUID)] == [
        label.SOPInstanceUID
    ]


def test_what_a_label_says_is_asked_once_also_over_restarts(
    open_pacs, pacs, send, make_photograph, make_label, monkeypatch
):
    photograph = send(make_photograph())
    labels = [send(make_label(photograph, name=name)) for name in ("nv", "mel")]
    asked: list[str] = []
    ask = WebArchive.retrieve_instance_metadata

    def count(archive, study, series, instance):
        asked.append(instance)
        return ask(archive, study, series, instance)

    monkeypatch.setattr(WebArchive, "retrieve_instance_metadata", count)
    first = open_pacs().labels(photograph.SOPInstanceUID)
    assert sorted(asked) == sorted(label.SOPInstanceUID for label in labels)
    third = send(make_label(photograph, name="bcc"))
    gone = requests.post(f"{pacs}/tools/lookup", data=labels[0].SOPInstanceUID, timeout=10).json()
    requests.delete(f"{pacs}/instances/{gone[0]['ID']}", timeout=10).raise_for_status()
    asked.clear()
    second = open_pacs().labels(photograph.SOPInstanceUID)
    assert asked == [third.SOPInstanceUID]
    assert [label for label in first if label.sop_instance_uid == labels[1].SOPInstanceUID] == second[:1]
    assert [label.sop_instance_uid for label in second] == [labels[1].SOPInstanceUID, third.SOPInstanceUID]
    asked.clear()
    assert open_pacs().labels(photograph.SOPInstanceUID) == second
    assert asked == []


def test_any_client_of_the_protocol_serves(tmp_path, make_photograph, make_label):
    photograph = make_photograph(tmp_path / "a.dcm")
    label = make_label(photograph, tmp_path / "b.dcm")
    (tmp_path / "cache").mkdir()
    catalogue = Catalogue()
    client = lambda: DICOMfileClient(f"file://{tmp_path}", update_db=True, in_memory=True)  # noqa: E731
    store = StudyStore(WebArchive(client, "a folder", catalogue), catalogue, tmp_path / "cache")
    store.refresh()
    assert store.image_ids() == [photograph.SOPInstanceUID]
    assert store.header(photograph.SOPInstanceUID) == read_header(photograph)
    assert store.latest_final(photograph.SOPInstanceUID).sop_instance_uid == label.SOPInstanceUID
    assert store.retrieve(photograph.SOPInstanceUID).PixelData == photograph.PixelData


class LargeArchive:
    """100,000 dermoscopic photographs, made when they are asked for; counts requests and rows."""

    def __init__(self) -> None:
        self.requests, self.rows = 0, 0

    def search_for_instances(self, *_: object, search_filters, limit, offset, **__: object) -> list[dict]:
        self.requests += 1
        total = 100_000 if search_filters["Modality"] == "DMS" else 0
        found = [self.row(number) for number in range(offset or 0, min(total, (offset or 0) + limit))]
        self.rows += len(found)
        return found

    def row(self, number: int) -> dict:
        values = {
            "00080016": ("UI", DermoscopicPhotographyImageStorage),
            "00080018": ("UI", f"1.2.3.{number}"),
            "00080060": ("CS", "DMS"),
            "0020000D": ("UI", f"1.2.4.{number}"),
            "0020000E": ("UI", f"1.2.5.{number}"),
        }
        return {tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in values.items()}


def test_a_large_archive_is_not_listed_before_work_begins():
    large, catalogue = LargeArchive(), Catalogue()
    WebArchive(lambda: large, "a large archive", catalogue).begin()
    assert len(catalogue.image_ids()) == large.rows == 200
    assert large.requests == len(MODALITIES)


# ---- what can go wrong on the way ----


@pytest.fixture
def answer() -> Iterator[dict]:
    """A server that answers everything with one status and body; change them in the dictionary."""
    says: dict = {"status": 500, "body": b"", "type": "application/dicom+json"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            says["authorization"] = self.headers["Authorization"]
            self.send_response(says["status"])
            self.send_header("Content-Type", says["type"])
            self.send_header("Content-Length", str(len(says["body"])))
            self.end_headers()
            self.wfile.write(says["body"])

        do_POST = do_GET  # noqa: N815 - the base class's own way of naming

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    says["url"] = f"http://127.0.0.1:{server.server_port}/dicom-web"
    yield says
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "Check user name and password"),
        (403, "Check user name and password"),
        (500, "Ask its administrator"),
    ],
)
def test_a_refusal_of_the_archive_is_a_sentence(answer, cache, status, advice):
    answer["status"] = status
    with pytest.raises(
        StorageError, match=f"{answer['url']}: the archive answers with HTTP status {status}.*{advice}"
    ):
        StudyStore.open(answer["url"], cache)


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b"{}", b"[1, 2]", b'[{"00080018": 5}]', b"[{}]"])
def test_an_address_that_is_no_archive_is_a_sentence(answer, cache, body):
    answer.update(status=200, body=body)
    with pytest.raises(StorageError, match=f"{answer['url']}: it does not answer as DICOMweb does"):
        StudyStore.open(answer["url"], cache)


def test_an_archive_that_does_not_answer_is_a_sentence_without_the_password(cache, free_port):
    with pytest.raises(StorageError, match=r"http://127.0.0.1:\d+/x: the archive does not answer") as caught:
        StudyStore.open(f"http://doctor:secret@127.0.0.1:{free_port()}/x", cache)
    assert "secret" not in str(caught.value)


def test_user_name_and_password_in_the_address_are_sent(answer, cache):
    answer.update(status=204)
    StudyStore.open(answer["url"].replace("//", "//doctor:secret@"), cache, watch=False)
    assert answer["authorization"] == f"Basic {base64.b64encode(b'doctor:secret').decode()}"


def test_an_empty_archive_is_no_problem(answer, cache):
    answer.update(status=204)
    store = StudyStore.open(answer["url"], cache, watch=False)
    assert (store.image_ids(), store.problems()) == ([], [])


def test_an_archive_that_goes_away_keeps_its_list_and_is_reported(answer, cache):
    answer.update(status=204)
    store = StudyStore.open(answer["url"], cache, watch=False)
    answer["status"] = 500
    with pytest.raises(StorageError):
        store.refresh()
    assert "HTTP status 500" in store.problems()[0]
