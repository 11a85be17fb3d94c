"""What is wrong with a request is said in a sentence, and the server goes on."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread

from dermcheck.dicom.author import Clinician
from dermcheck.dicom.segmentation import LesionSegment, write_segmentation

IMAGE = object()  # stands for the id of a photograph of 97 × 31 pixels
HERE = {"image": IMAGE}
UNKNOWN, A_PATH = {"image": "1.2.3"}, {"image": "/etc/passwd"}
INFER, SESSION = "/infer/dermcheck", "/session/"
IMAGES, LABEL = "/datastore/image", "/datastore/label"


@dataclass
class Case:
    """A request, the status it must get, and what its sentence must say."""

    what: str
    method: str
    path: str
    status: int
    says: str
    query: dict[str, Any] = field(default_factory=dict)
    file: str = ""
    """Name of the part, and of a file that the fixture `bad_files` makes."""
    params: str = ""


CASES = [
    Case("unknown image", "POST", INFER, 404, "no such photograph", UNKNOWN),
    Case("path as image id", "POST", INFER, 404, "no such photograph", A_PATH),
    Case("no image", "POST", INFER, 400, "names no image"),
    Case("unknown model", "POST", "/infer/deepedit", 404, "models are dermcheck", HERE),
    Case("whole slide", "POST", "/infer/wsi_v2/dermcheck", 400, "not on regions", A_PATH),
    Case("format", "POST", INFER, 400, ".seg.nrrd", HERE, params='{"result_extension": ".stl"}'),
    Case("number type", "POST", INFER, 400, "uint8", HERE, params='{"result_dtype": "float64"}'),
    Case("params not JSON", "POST", INFER, 400, "not JSON", HERE, params="{result"),
    Case("params a list", "POST", INFER, 400, "object", HERE, params="[1]"),
    Case("output", "POST", INFER, 422, "dicom_seg", {"image": IMAGE, "output": "stl"}),
    Case("unknown session", "POST", INFER, 404, "no session", {"session_id": "../../etc"}),
    Case("text as photo", "POST", INFER, 422, "text.png", file="file=text.png"),
    Case("strategy", "POST", "/activelearning/best", 404, "strategies are hybrid"),
    Case("train", "POST", "/train/dermcheck", 404, "cannot train: it predicts with fixed models"),
    Case("train all", "POST", "/train/", 404, "cannot train: it predicts with fixed models"),
    Case("train in the server", "POST", "/train/dermcheck", 400, "run_sync", {"run_sync": "true"}),
    Case("scoring", "POST", "/scoring/dice", 404, "no scoring method"),
    Case("batch", "POST", "/batch/infer/dermcheck", 400, "dermcheck batch"),
    Case("exchange of weights", "PUT", "/model/dermcheck", 400, "cannot be exchanged", file="file=text.png"),
    Case("removal of weights", "DELETE", "/model/dermcheck", 400, "cannot be exchanged"),
    Case("proxy", "GET", "/proxy/dicom/studies", 404, "passes no requests on"),
    Case("unknown image to download", "GET", IMAGES, 404, "no such photograph", UNKNOWN),
    Case("path to download", "GET", IMAGES, 404, "no such photograph", A_PATH),
    Case("unknown label to download", "GET", LABEL, 404, "no such label", {"label": "1.2.3", "tag": "final"}),
    Case("removal of a photograph", "DELETE", IMAGES, 400, "never removes", {"id": IMAGE}),
    Case("label of nothing", "PUT", LABEL, 404, "no such photograph", UNKNOWN, "label=mask.nii.gz"),
    Case("label of a path", "PUT", LABEL, 404, "no such photograph", {"image": "../x"}, "label=mask.nii.gz"),
    Case(
        "label tag", "PUT", LABEL, 400, "expected final", {"image": IMAGE, "tag": "../x"}, "label=mask.nii.gz"
    ),
    Case("label without file", "PUT", LABEL, 422, "label", HERE),
    Case("mask of another size", "PUT", LABEL, 422, "97", HERE, "label=other size.nii.gz"),
    Case("mask mirrored in size", "PUT", LABEL, 422, "31", HERE, "label=turned.nii.gz"),
    Case("garbage as mask", "PUT", LABEL, 422, "garbage.nii.gz", HERE, "label=garbage.nii.gz"),
    Case("empty mask file", "PUT", LABEL, 422, "empty.nrrd", HERE, "label=empty.nrrd"),
    Case("unknown kind of mask", "PUT", LABEL, 422, "text.png", HERE, "label=text.png"),
    Case("segmentation of another image", "PUT", LABEL, 422, "", HERE, "label=other image.dcm"),
    Case("mask reading a file", "PUT", LABEL, 422, "in another file", HERE, "label=detached.nrrd"),
    Case("text as session", "PUT", SESSION, 422, "text.png", file="files=text.png"),
    Case("archive as session", "PUT", SESSION, 400, "archive", {"uncompress": "true"}, "files=text.png"),
    Case("session reading a file", "PUT", SESSION, 422, "in another file", file="files=detached.nrrd"),
    Case("volume of many slices as session", "PUT", SESSION, 422, "one slice", file="files=ct.nii.gz"),
    Case("truncated DICOM as session", "PUT", SESSION, 422, "cut off", file="files=truncated.dcm"),
    Case("unknown session's info", "GET", "/session/nobody", 404, "Not Found"),
    Case("text as new photograph", "PUT", IMAGES, 422, "text.png", file="file=text.png"),
    Case("mask as photograph", "PUT", IMAGES, 422, "Segmentation", file="file=other image.dcm"),
]


@pytest.fixture(scope="session")
def bad_files(make_photograph: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad files")
    stranger = make_photograph(97, 31, 77)  # of the right size, but not in the studies
    segment = LesionSegment(np.ones((31, 97), np.bool_), None)
    write_segmentation(stranger, [segment], Clinician("Test")).save_as(
        folder / "other image.dcm", enforce_file_format=True
    )
    stranger.save_as(folder / "whole.dcm", enforce_file_format=True)
    content = (folder / "whole.dcm").read_bytes()
    (folder / "truncated.dcm").write_bytes(content[: len(content) // 2])
    (folder / "text.png").write_text("not a picture")
    (folder / "garbage.nii.gz").write_bytes(bytes(range(256)) * 8)
    (folder / "empty.nrrd").touch()
    (folder / "detached.nrrd").write_text(
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 97 31 1\nencoding: raw\ndata file: /etc/passwd\n"
    )
    for name, shape in (
        ("mask.nii.gz", (1, 31, 97)),
        ("other size.nii.gz", (1, 40, 50)),
        ("turned.nii.gz", (1, 97, 31)),
    ):
        volume = SimpleITK.GetImageFromArray(np.ones(shape, np.uint8))
        SimpleITK.WriteImage(volume, str(folder / name))
    SimpleITK.WriteImage(
        SimpleITK.GetImageFromArray(np.zeros((9, 8, 7), np.int16)), str(folder / "ct.nii.gz")
    )
    return folder


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_bad_request_is_answered_with_a_sentence(server, case, bad_files, image_of_size, studies_now):
    labels_before = {image: studies_now().labels(image) for image in studies_now().image_ids()}
    query = {key: image_of_size(97, 31) if value is IMAGE else value for key, value in case.query.items()}
    parts: dict[str, Any] = {"params": (None, case.params)} if case.params else {}
    if case.file:
        part, name = case.file.split("=")
        parts[part] = (name, (bad_files / name).read_bytes())
    answer = server.request(case.method, case.path, params=query, files=parts or None)
    assert answer.status_code == case.status, answer.text
    sentence = answer.json()["detail"]
    assert case.says in sentence
    assert sentence[0] != "[", "not the plain sentence"
    assert str(server.studies) not in sentence
    assert "/tmp" not in sentence, "a place on the server is nobody's business"
    assert server.get("/info/").ok
    assert {image: studies_now().labels(image) for image in studies_now().image_ids()} == labels_before


def test_a_photograph_that_cannot_be_decoded_is_said_so_and_not_offered(
    server, client, make_photograph, tmp_path
):
    broken = make_photograph(64, 48, 55)
    broken.PixelData = broken.PixelData[:100]
    broken["PixelData"].VR = "OB"
    path = server.studies / "broken.dcm"
    broken.save_as(tmp_path / "broken.dcm", enforce_file_format=True)
    path.write_bytes((tmp_path / "broken.dcm").read_bytes())
    try:
        _until_listed(server, broken.SOPInstanceUID)
        answer = server.post(INFER, params={"image": broken.SOPInstanceUID})
        assert answer.status_code == 422
        assert str(broken.SOPInstanceUID) in answer.json()["detail"]
        assert server.get("/datastore/image", params={"image": broken.SOPInstanceUID}).status_code == 422
        offered = {client.next_sample("random", {"seed": n}).get("id") for n in range(8)}
        assert str(broken.SOPInstanceUID) not in offered
    finally:
        path.unlink()


def _until_listed(server, image_id):
    for _ in range(100):
        if image_id in server.get("/datastore/?output=all").json()["objects"]:
            return
        subprocess.run(["sleep", "0.3"], check=True)
    pytest.fail("the server did not find the new file")


@pytest.mark.parametrize(
    "server", ["dermcheck serve"], indirect=True
)  # the stock command lets all web sites read
def test_a_question_from_a_foreign_web_site_is_not_answered_for_it(server):
    by_rebinding = server.get("/info/", headers={"Host": "evil.example"})
    assert by_rebinding.status_code == 400
    by_script = server.get("/info/", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in by_script.headers


def test_the_server_never_looked_for_another_machine(server, client, image_of_size):
    client.infer("dermcheck", image_of_size(97, 31), {})
    assert not server.network_notes.exists(), server.network_notes.read_text()


def test_no_temporary_file_is_left_behind(server, client, image_of_size, bad_files):
    client.infer("dermcheck", image_of_size(97, 31), {"result_extension": ".seg.nrrd"})
    with (bad_files / "garbage.nii.gz").open("rb") as garbage:
        server.put(LABEL, params={"image": image_of_size(97, 31)}, files={"label": garbage})
    left = [path.name for path in server.temporary_files.iterdir() if path.suffix != ".json"]
    assert left == []  # MONAI Label's own command writes a .json with its log's settings there


def test_the_log_has_no_patient_and_no_traceback(server, client, image_of_size, studies_now):
    image_id = image_of_size(600, 450)
    client.next_sample("random", {})
    client.infer("dermcheck", image_id, {})
    log = server.log.read_text()
    assert "Traceback" not in log
    assert str(studies_now().retrieve(image_id).PatientID) not in log


def test_bad_input_sentences_are_json(server):
    answer = server.post(INFER)
    assert answer.headers["content-type"] == "application/json"
    assert set(json.loads(answer.text)) == {"detail"}


def test_segmentation_of_the_right_image_is_taken(
    server, image_of_size, studies_now, l_shape, kept_segments, tmp_path
):
    image_id = image_of_size(97, 31)
    drawn = l_shape(31, 97) > 0
    segmentation = write_segmentation(
        studies_now().retrieve(image_id), [LesionSegment(drawn, None)], Clinician("Somebody")
    )
    segmentation.save_as(tmp_path / "segmentation.dcm", enforce_file_format=True)
    assert dcmread(tmp_path / "segmentation.dcm").Modality == "SEG"
    with (tmp_path / "segmentation.dcm").open("rb") as label:
        answer = server.put(LABEL, params={"image": image_id}, files={"label": label})
    assert answer.ok, answer.text
    (segment,) = kept_segments(answer.json()["label"])
    np.testing.assert_array_equal(segment.mask, drawn)
