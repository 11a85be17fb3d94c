"""DICOMweb of a real server, over a folder and a real Orthanc, asked by dicomweb_client and as OHIF asks."""

import copy
import io
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom import Dataset, dcmread, dcmwrite, examples
from pydicom.uid import generate_uid

from dermcheck.dicom.author import Clinician
from dermcheck.dicom.header import read_header
from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
from dermcheck.dicom.pixels import read_rgb
from dermcheck.dicom.segmentation import LesionSegment, read_segmentation, write_segmentation
from dermcheck.lesions import lesion_class

OHIF_FRAMES = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
REPOSITORY = Path(__file__).parents[2]


def part_10(dataset: Dataset) -> bytes:
    content = io.BytesIO()
    dcmwrite(content, dataset, enforce_file_format=True)
    return content.getvalue()


@pytest.fixture(scope="session")
def photographs(tmp_path_factory, draw_photo) -> list[Dataset]:
    """A JPEG of 120 × 80 in a study with a PNG of 61 × 45, and one of another patient."""
    folder = tmp_path_factory.mktemp("photographs")
    made = []
    for number, (columns, rows, suffix, patient) in enumerate(
        [(120, 80, "jpg", "A-1"), (61, 45, "png", "A-1"), (90, 70, "jpg", "B-2")]
    ):
        path = folder / f"{number}.{suffix}"
        draw_photo(columns, rows, number).save(path, quality=95)
        made.append(photo_to_dicom(path, PhotoDetails(patient_id=patient, patient_name=f"TEST^{patient}")))
    return made


@dataclass(frozen=True)
class Service:
    address: str
    client: DICOMwebClient
    kind: str
    log: Path

    def get(self, path: str, **options) -> requests.Response:
        return requests.get(f"{self.address}/dicom-web{path}", timeout=60, **options)

    def send(self, *contents: bytes, path: str = "/studies") -> requests.Response:
        body = b"".join(
            b"--b\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n" for content in contents
        )
        return requests.post(
            f"{self.address}/dicom-web{path}",
            data=body + b"--b--\r\n",
            headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'},
            timeout=60,
        )


@pytest.fixture(scope="session")
def tomogram() -> Dataset:
    """A slice of a CT, which is none of DermCheck's business."""
    return copy.deepcopy(examples.ct)


@pytest.fixture(scope="session")
def palette_photograph() -> Dataset:
    """Pixels are indices into a table of colours, which browsers show as grey values."""
    return dcmread(REPOSITORY / "sample_studies/synthetic-5/visit-1/18-naevus-palette.dcm")


@pytest.fixture(scope="module", params=["folder", "orthanc"])
def service(
    request,
    start,
    serve_command,
    free_port,
    models,
    photographs,
    tomogram,
    palette_photograph,
    tmp_path_factory,
) -> Service:
    """A server over a folder, and one over Orthanc, with the same photographs and a CT."""
    objects = [*photographs, tomogram, palette_photograph]
    if request.param == "folder":
        studies = tmp_path_factory.mktemp("studies")
        for number, stored in enumerate(objects):
            stored.save_as(studies / f"{number}.dcm", enforce_file_format=True)
        location = str(studies)
    else:
        orthanc = request.getfixturevalue("orthanc")
        for patient in requests.get(f"{orthanc}/patients", timeout=10).json():
            requests.delete(f"{orthanc}/patients/{patient}", timeout=10).raise_for_status()
        for stored in objects:
            requests.post(f"{orthanc}/instances", data=part_10(stored), timeout=10).raise_for_status()
        studies, location = tmp_path_factory.mktemp("nothing"), f"{orthanc}/dicom-web"
    port = free_port()
    command = [*serve_command, "--studies", location, "--models", str(models), "--port", str(port)]
    server = start(command, studies, port)
    return Service(server.address, DICOMwebClient(f"{server.address}/dicom-web"), request.param, server.log)


def uids(dataset: Dataset) -> tuple[str, str, str]:
    return dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID


def place(dataset: Dataset) -> str:
    return "/studies/{}/series/{}/instances/{}".format(*uids(dataset))


@pytest.fixture
def outline(photographs) -> Callable[..., Dataset]:
    """Draw an L on the first photograph."""

    def draw(photograph: Dataset = photographs[0], name: str = "mel") -> Dataset:
        mask = np.zeros((photograph.Rows, photograph.Columns), np.bool_)
        mask[10:40, 12:20] = mask[30:40, 12:50] = True
        return write_segmentation(
            photograph, [LesionSegment(mask, lesion_class(name))], Clinician("Doe^Jane")
        )

    return draw


def listed_labels(service: Service, photograph: Dataset) -> list[str]:
    """The labels that the server itself counts for a photograph."""
    answer = requests.get(f"{service.address}/viewer/photographs/{photograph.SOPInstanceUID}", timeout=60)
    assert answer.ok, answer.text
    label = answer.json()["label"]
    return [label["id"]] if label else []


# ---- searching ----


def listed_studies(answer: requests.Response) -> set[str]:
    assert answer.ok, answer.text
    return {study["0020000D"]["Value"][0] for study in answer.json()}


def test_studies_series_and_instances_are_found(service, photographs, tomogram, palette_photograph):
    everything = [*photographs, tomogram, palette_photograph]
    assert listed_studies(service.get("/studies")) == {found.StudyInstanceUID for found in everything}
    study, series, _ = uids(photographs[0])
    assert len(service.client.search_for_series(study)) >= 2
    (found,) = service.client.search_for_instances(study, series)
    assert found["00080018"]["Value"] == [photographs[0].SOPInstanceUID]


def test_the_list_page_of_ohif_is_answered(service):
    answer = service.get(
        "/studies?limit=101&offset=0&fuzzymatching=false&includefield=00081030%2C00080060&00100020=*B-*"
    )
    assert answer.status_code == 200
    (study,) = answer.json()
    assert study["00100020"]["Value"] == ["B-2"]
    assert study["00080061"]["Value"] == ["DMS"]
    assert int(study["00201208"]["Value"][0]) == 1


def test_the_viewers_own_list_leaves_out_studies_without_photographs(service, tomogram):
    """Other clients of DICOMweb still find them all."""
    page = "/studies?limit=101&offset=0&fuzzymatching=false&includefield=00081030%2C00080060"
    viewer = f"{service.address}/viewer/dicom-web"
    everything = listed_studies(service.get(page))
    shown = listed_studies(requests.get(f"{viewer}{page}", timeout=60))
    assert everything - shown == {tomogram.StudyInstanceUID}
    assert shown < everything
    one_by_one = [
        listed_studies(requests.get(f"{viewer}/studies?limit=1&offset={offset}", timeout=60))
        for offset in range(len(shown))
    ]
    assert set.union(*one_by_one) == shown
    filtered = requests.get(f"{viewer}{page}&00100020=*B-*", timeout=60)
    assert len(listed_studies(filtered)) == 1
    series = requests.get(f"{viewer}/studies/{tomogram.StudyInstanceUID}/series", timeout=60)
    assert series.json()[0]["00080060"]["Value"] == ["CT"]


def test_a_search_without_result_is_no_error(service):
    answer = service.get("/studies?PatientID=nobody")
    assert answer.status_code in (200, 204)
    assert answer.content in (b"", b"[]")


def test_pages_fit_together(service, photographs):
    whole = [found["00080018"]["Value"][0] for found in service.client.search_for_instances()]
    pages = [
        found["00080018"]["Value"][0]
        for offset in range(len(whole))
        for found in service.client.search_for_instances(limit=1, offset=offset)
    ]
    assert sorted(pages) == sorted(whole)


# ---- retrieving ----


def test_metadata_name_the_image_and_leave_the_pixels_out(service, photographs):
    study, series, instance = uids(photographs[0])
    (found,) = service.client.retrieve_series_metadata(study, series)
    assert found["00080018"]["Value"] == [instance]
    assert found["00280010"]["Value"] == [80]
    assert "Value" not in found.get("7FE00010", {})
    assert "InlineBinary" not in found.get("7FE00010", {})


def test_addresses_in_answers_lead_to_this_server(service, photographs):
    answer = service.get("/studies/{}/series/{}/metadata".format(*uids(photographs[0])[:2]))
    assert answer.ok
    addresses = [line for line in answer.text.split('"') if line.startswith("http")]
    assert all(address.startswith(service.address) for address in addresses)


def test_instances_come_as_they_are_stored(service, photographs):
    for photograph in photographs:
        found = service.client.retrieve_instance(*uids(photograph), media_types=(("application/dicom", "*"),))
        assert found.file_meta.TransferSyntaxUID == photograph.file_meta.TransferSyntaxUID
        assert found.PixelData == photograph.PixelData


def test_frames_for_ohif_are_the_stored_streams(service, photographs):
    jpeg, native, _ = photographs
    for photograph, is_jpeg in ((jpeg, True), (native, False)):
        answer = service.get(f"{place(photograph)}/frames/1", headers=OHIF_FRAMES)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"].startswith("multipart/related")
        head, _, content = answer.content.partition(b"\r\n\r\n")
        syntax = str(photograph.file_meta.TransferSyntaxUID)
        assert is_jpeg or syntax == "1.2.840.10008.1.2.1"
        if is_jpeg:
            assert content.startswith(b"\xff\xd8")
            picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
            assert np.array_equal(picture, read_rgb(photograph))
        else:
            size = 61 * 45 * 3
            assert np.array_equal(
                np.frombuffer(content[:size], np.uint8).reshape(45, 61, 3), read_rgb(photograph)
            )
        assert service.kind != "folder" or f"transfer-syntax={syntax}".encode() in head


def test_a_palette_is_applied_before_a_browser_sees_the_picture(service, palette_photograph):
    """Metadata, frame and bulk data fit each other; the instance itself keeps its palette."""
    pixels = read_rgb(palette_photograph)
    for path in ("/studies/{}/series/{}", "/studies/{}", "/studies/{}/series/{}/instances/{}"):
        (found,) = service.get(f"{path.format(*uids(palette_photograph))}/metadata").json()
        assert found["00280004"]["Value"] == ["RGB"]
        assert (found["00280002"]["Value"], found["00280101"]["Value"]) == ([3], [8])
        assert not [tag for tag in found if tag.startswith(("002811", "002812"))]
    answer = service.get(f"{place(palette_photograph)}/frames/1", headers=OHIF_FRAMES)
    assert answer.ok, answer.text
    head, _, content = answer.content.partition(b"\r\n\r\n")
    assert b"transfer-syntax=1.2.840.10008.1.2.1" in head
    assert content[: pixels.size] == pixels.tobytes()
    bulk = requests.get(found["7FE00010"]["BulkDataURI"], timeout=60)
    assert bulk.content == pixels.tobytes()
    stored = service.client.retrieve_instance(
        *uids(palette_photograph), media_types=(("application/dicom", "*"),)
    )
    assert stored.PhotometricInterpretation == "PALETTE COLOR"
    assert stored.PixelData == palette_photograph.PixelData
    missing = service.get(f"{place(palette_photograph)}/frames/2", headers=OHIF_FRAMES)
    assert missing.status_code == 404


def test_a_thumbnail_and_a_rendered_picture_show_the_photograph(service, photographs):
    thumbnail = service.get(f"{place(photographs[0])}/thumbnail")
    assert thumbnail.headers["Content-Type"] == "image/jpeg"
    assert max(Image.open(io.BytesIO(thumbnail.content)).size) == 256
    rendered = service.get(f"{place(photographs[1])}/rendered", headers={"Accept": "image/png"})
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(rendered.content))), read_rgb(photographs[1]))


@pytest.mark.parametrize("what", ["", "/metadata", "/thumbnail", "/frames/1"])
def test_what_is_not_there_is_a_404(service, photographs, what):
    study, series, _ = uids(photographs[0])
    headers = OHIF_FRAMES if what == "/frames/1" else {}
    answer = service.get(f"/studies/{study}/series/{series}/instances/1.2.3{what}", headers=headers)
    assert answer.status_code == 404


def test_nothing_but_dicomweb_is_passed_on(service):
    for path in ("/studies/../instances", "/studies/%2e%2e/system", "/studies/1.2/%2e%2e", "/tools/reset"):
        request = requests.Request("GET", service.address).prepare()
        request.url = f"{service.address}/dicom-web{path}"
        assert requests.Session().send(request, timeout=30).status_code == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_nothing_is_changed_or_removed(service, photographs, method):
    answer = requests.request(method, f"{service.address}/dicom-web{place(photographs[0])}", timeout=60)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")
    assert "not offered" in answer.json()["detail"]


# ---- storing ----


def test_a_stored_segmentation_is_a_label_at_once_and_stored_once(service, photographs, outline):
    label = outline()
    for _ in range(2):
        answer = service.send(part_10(label))
        assert answer.status_code == 200, answer.text
        (kept,) = answer.json()["00081199"]["Value"]
        assert kept["00081155"]["Value"] == [label.SOPInstanceUID]
    assert listed_labels(service, photographs[0]) == [label.SOPInstanceUID]
    found = wait_for_instance(service, label)
    (segment,) = read_segmentation(found, read_header(photographs[0]))
    assert segment.lesion_class == lesion_class("mel")
    assert segment.mask.sum() == 30 * 8 + 10 * 30
    assert len(service.client.search_for_instances(*uids(label)[:2])) == 1


def wait_for_instance(service: Service, label: Dataset) -> Dataset:
    until = time.monotonic() + 20
    while True:
        found = service.client.search_for_instances(*uids(label)[:2])
        if found or time.monotonic() > until:
            break
        time.sleep(0.2)
    return service.client.retrieve_instance(*uids(label), media_types=(("application/dicom", "*"),))


def test_a_segmentation_that_is_not_conformant_is_rebuilt_under_its_uids(service, photographs, outline):
    sent = outline(name="nv")
    del sent.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    sent.FrameOfReferenceUID = ""
    answer = service.send(part_10(sent))
    assert answer.status_code == 202
    assert "rebuilt" in answer.headers["Warning"]
    found = wait_for_instance(service, sent)
    assert found.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    assert found.PixelData == sent.PixelData
    assert listed_labels(service, photographs[0]) == [sent.SOPInstanceUID]


def test_another_patients_segmentation_is_refused(service, photographs, outline):
    before = listed_labels(service, photographs[0])
    wrong = outline()
    wrong.PatientID = "B-2"
    answer = service.send(part_10(wrong))
    assert answer.status_code == 409
    assert "patient" in answer.headers["Warning"].lower()
    assert "B-2" not in answer.headers["Warning"]
    assert listed_labels(service, photographs[0]) == before


def test_a_segmentation_of_an_unknown_photograph_is_refused(service, photographs, outline):
    stranger = copy.deepcopy(photographs[0])
    stranger.SOPInstanceUID = stranger.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    answer = service.send(part_10(outline(stranger)))
    assert answer.status_code == 409
    assert "Store the photograph first" in answer.headers["Warning"]


def test_of_several_objects_the_good_ones_are_stored(service, photographs, outline):
    label = outline(photographs[2])
    answer = service.send(part_10(label), b"garbage")
    assert answer.status_code == 202
    assert len(answer.json()["00081198"]["Value"]) == len(answer.json()["00081199"]["Value"]) == 1
    assert listed_labels(service, photographs[2]) == [label.SOPInstanceUID]


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ('multipart/related; type="application/dicom+xml"; boundary=b', b"--b--", 415),
        (
            'multipart/related; type="application/dicom"; boundary=b',
            b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--",
            415,
        ),
        ('multipart/related; type="application/dicom"', b"--b--", 400),
        ('multipart/related; type="application/dicom"; boundary=other', b"--b\r\n\r\nx\r\n--b--", 400),
        ('multipart/related; type="application/dicom"; boundary=b', b"--b\r\n\r\nx", 400),
        ('multipart/related; type="application/dicom"; boundary=b', b"", 400),
        ("application/dicom", b"garbage", 409),
    ],
)
def test_a_body_that_is_none_is_answered_as_the_standard_says(service, content_type, body, status):
    answer = requests.post(
        f"{service.address}/dicom-web/studies", data=body, headers={"Content-Type": content_type}, timeout=60
    )
    assert answer.status_code == status
    assert answer.headers["Warning"] if status == 409 else answer.json()["detail"]


def test_a_body_of_two_gigabytes_is_refused_before_it_is_sent(service):
    host, port = service.address.removeprefix("http://").split(":")
    head = (
        "POST /dicom-web/studies HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2147483648\r\n"
        'Content-Type: multipart/related; type="application/dicom"; boundary=b\r\n\r\n'
    )
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(head.encode())
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_another_object_under_a_stored_uid_is_refused(service, photographs, outline):
    label = outline(photographs[1])
    assert service.send(part_10(label)).ok
    wait_for_instance(service, label)
    changed = copy.deepcopy(label)
    changed.PixelData = bytes(len(label.PixelData))
    answer = service.send(part_10(changed))
    assert answer.status_code == 409
    assert "different object" in answer.headers["Warning"]


def test_the_own_export_of_ohif_counts_as_a_correction(service, tmp_path):
    """A photograph and the Segmentation that OHIF's library wrote of it, as its menu stores them."""
    foreign = REPOSITORY / "tests/dicom/foreign"
    sent = dcmread(foreign / "ohif_labelmap_rle.dcm")
    header = sent.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
    rgb = np.full((45, 62, 3), 180, np.uint8)
    Image.fromarray(rgb).save(tmp_path / "photo.png")
    photograph = photo_to_dicom(
        tmp_path / "photo.png", PhotoDetails(patient_id=str(sent.get("PatientID") or "X"))
    )
    photograph.SOPInstanceUID = photograph.file_meta.MediaStorageSOPInstanceUID = (
        header.ReferencedSOPInstanceUID
    )
    photograph.StudyInstanceUID = sent.StudyInstanceUID
    photograph.SeriesInstanceUID = sent.ReferencedSeriesSequence[0].SeriesInstanceUID
    assert service.send(part_10(photograph)).status_code == 200
    answer = service.send((foreign / "ohif_labelmap_rle.dcm").read_bytes())
    assert answer.status_code == 202, answer.text
    assert listed_labels(service, photograph) == [sent.SOPInstanceUID]
    rebuilt = wait_for_instance(service, sent)
    assert rebuilt.SegmentationType == "BINARY"
    before = read_segmentation(sent, read_header(photograph))
    after = read_segmentation(rebuilt, read_header(photograph))
    assert [segment.mask.sum() for segment in after] == [segment.mask.sum() for segment in before]
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(after, before, strict=True))


# ---- predictions meanwhile ----


def test_the_server_answers_others_while_predictions_wait(service, draw_photo):
    answers: list[int] = []

    def predict(number: int) -> None:
        photograph = io.BytesIO()
        draw_photo(600, 450, number).save(photograph, "JPEG")  # each another: what is known is not computed
        files = {"file": ("photo.jpg", photograph.getvalue())}
        answer = requests.post(f"{service.address}/infer/dermcheck?output=json", files=files, timeout=120)
        answers.append(answer.status_code)

    threads = [threading.Thread(target=predict, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    while len(answers) < 1:
        time.sleep(0.01)
    assert service.get("/studies?limit=1").ok
    assert len(answers) < len(threads)
    for thread in threads:
        thread.join()
    assert set(answers) == {200}


def test_the_same_photograph_asked_for_by_many_is_predicted_once(service, photographs):
    image = photographs[1].SOPInstanceUID
    before = service.log.read_text().count(f"{image}: dermcheck in")
    begin = threading.Barrier(8)
    answers: list[dict] = []

    def predict() -> None:
        begin.wait()
        answers.append(
            requests.post(f"{service.address}/infer/dermcheck?image={image}&output=json", timeout=120).json()
        )

    threads = [threading.Thread(target=predict) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["decision"] for answer in answers}) == 1
    assert service.log.read_text().count(f"{image}: dermcheck in") - before < 8
