"""The whole call sequence of 3D Slicer's plug-in, by its own client, against real servers."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread

from dermcheck.dicom.photograph import read_photograph
from dermcheck.dicom.segmentation import read_segmentation
from dermcheck.lesions import LESION_CLASSES, lesion_class

MODELS = ("dermcheck", "lesion_segmentation", "lesion_classification")
SIZES = [(600, 450), (300, 480), (97, 31)]  # columns, rows: landscape, portrait with a scale, tiny
DIAGNOSES = [lesion.meaning for lesion in LESION_CLASSES]
SLICER_PARAMS = {"result_extension": ".nrrd", "result_dtype": "uint8"}


def read_mask(path: str | Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))[0]


def assert_same_place(image: SimpleITK.Image, companion: SimpleITK.Image) -> None:
    for what in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(image, what)() == getattr(companion, what)(), what


# ---- connect ----


def test_connecting_lists_the_models_and_names_the_segments_by_diagnosis(client):
    assert not client.auth_enabled()
    info = client.info()
    assert tuple(info["models"]) == MODELS
    assert [info["models"][name]["type"] for name in MODELS] == [
        "segmentation",
        "segmentation",
        "classification",
    ]
    assert info["labels"] == [*DIAGNOSES, "Skin lesion"]
    assert "random" in info["strategies"]


def test_values_of_a_models_labels_are_the_classes_values(client):
    labels = client.info()["models"]["dermcheck"]["labels"]
    # The plug-in sorts by value, and takes the n-th name for the value n.
    assert sorted(labels, key=labels.get) == DIAGNOSES
    assert labels["Melanoma"] == lesion_class("mel").label_value


def test_the_research_notice_stands_with_the_app_and_every_model(client):
    info = client.info()
    texts = [info["description"], *(model["description"] for model in info["models"].values())]
    assert all("Research use only" in text for text in texts)


# ---- next sample ----


def test_next_sample_on_the_same_machine_is_a_file_that_opens_as_the_photograph(client, studies_now):
    sample = client.next_sample("random", {})
    volume = SimpleITK.ReadImage(sample["path"])
    photograph = read_photograph(studies_now().retrieve(sample["id"]))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(volume)[0], photograph.pixels)


def test_next_sample_on_another_machine_is_downloaded_and_fits_its_checksum(client, server):
    sample = client.next_sample("random", {})
    content = server.get("/datastore/image", params={"image": sample["id"]}).content
    assert sample["name"].endswith(".nrrd")  # Slicer saves it under this name and opens it by the ending
    assert sample["checksum"] == f"SHA256:{hashlib.sha256(content).hexdigest()}"


def test_the_same_seed_gives_the_same_sample(client):
    assert client.next_sample("random", {"seed": 5})["id"] == client.next_sample("random", {"seed": 5})["id"]


# ---- predict ----


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("model", MODELS)
def test_prediction_covers_its_photograph_pixel_by_pixel(
    client, model, size, image_of_size, companion, studies_now, predictor
):
    image_id = image_of_size(*size)
    path, params = client.infer(model, image_id, dict(SLICER_PARAMS))
    answer = SimpleITK.ReadImage(path)
    assert_same_place(answer, companion(image_id))
    report = predictor.predict(read_photograph(studies_now().retrieve(image_id)).pixels)
    expected = report.mask if model == "lesion_segmentation" else report.label_map()
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(answer)[0], expected)
    assert answer.GetPixelID() == SimpleITK.sitkUInt8
    assert params["mask_area_px"] == report.mask.sum()
    for turned in (report.mask[::-1], report.mask[:, ::-1], report.mask[::-1, ::-1]):
        assert not np.array_equal(report.mask, turned), "the test could not see a mirrored mask"


@pytest.mark.parametrize("model", ["dermcheck", "lesion_classification"])
def test_answer_carries_probabilities_decision_uncertainty_and_versions(
    client, model, image_of_size, studies_now, predictor
):
    image_id = image_of_size(600, 450)
    _, params = client.infer(model, image_id, dict(SLICER_PARAMS))
    report = predictor.predict(read_photograph(studies_now().retrieve(image_id)).pixels)
    assert params["probabilities"] == pytest.approx(dict(report.probabilities), abs=1e-5)
    assert sum(params["probabilities"].values()) == pytest.approx(1)
    assert (params["decision"], params["diagnosis"]) == (report.decision.name, report.decision.meaning)
    assert params["uncertainty"] == pytest.approx(report.uncertainty, abs=1e-5)
    assert params["models"]["classifier"]["model_hash"] == predictor.classifier_card.sha256
    assert params["models"]["outliner"]["version"] == predictor.outliner_card.version
    assert "Research use only" in params["notice"]


@pytest.mark.parametrize("extension", [".nrrd", ".nii.gz", ".seg.nrrd"])
def test_prediction_comes_in_the_format_asked_for(client, extension, image_of_size, companion):
    image_id = image_of_size(300, 480)
    reference, _ = client.infer("dermcheck", image_id, dict(SLICER_PARAMS))
    path, params = client.infer("dermcheck", image_id, {"result_extension": extension})
    assert path.endswith(extension)
    answer = SimpleITK.ReadImage(path)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(answer)[0], read_mask(reference))
    assert answer.GetSpacing() == pytest.approx(companion(image_id).GetSpacing())
    assert answer.GetOrigin() == pytest.approx((0, 0, 0))
    if extension == ".seg.nrrd":
        number = params["label_names"][params["diagnosis"]] - 1
        assert answer.GetMetaData(f"Segment{number}_Name") == params["diagnosis"]


def test_output_json_is_the_parameters_alone(server, image_of_size):
    answer = server.post("/infer/dermcheck", params={"image": image_of_size(97, 31), "output": "json"})
    assert set(answer.json()["probabilities"]) == {lesion.name for lesion in LESION_CLASSES}


def test_output_image_is_the_file_alone(server, image_of_size, tmp_path):
    answer = server.post("/infer/dermcheck", params={"image": image_of_size(97, 31), "output": "image"})
    (tmp_path / "answer.nrrd").write_bytes(answer.content)
    assert read_mask(tmp_path / "answer.nrrd").shape == (31, 97)


def test_output_dicom_seg_is_a_segmentation_with_the_same_mask(
    server, client, image_of_size, studies_now, tmp_path
):
    image_id = image_of_size(600, 450)
    answer = server.post("/infer/dermcheck", params={"image": image_id, "output": "dicom_seg"})
    assert answer.headers["content-type"] == "application/dicom"
    (tmp_path / "answer.dcm").write_bytes(answer.content)
    (segment,) = read_segmentation(dcmread(tmp_path / "answer.dcm"), studies_now().header(image_id))
    path, params = client.infer("dermcheck", image_id, dict(SLICER_PARAMS))
    np.testing.assert_array_equal(segment.mask, read_mask(path) > 0)
    assert segment.lesion_class.name == params["decision"]


def test_a_prediction_that_was_only_looked_at_leaves_nothing_behind(client, image_of_size, studies_now):
    image_id = image_of_size(97, 31)
    before = studies_now().labels(image_id)
    client.infer("dermcheck", image_id, dict(SLICER_PARAMS))
    assert studies_now().labels(image_id) == before


def test_a_prediction_is_kept_as_automatic_if_asked(client, image_of_size, studies_now, kept_segments):
    image_id = image_of_size(97, 31)
    path, params = client.infer("dermcheck", image_id, {**SLICER_PARAMS, "save_label": True})
    kept = studies_now().labels(image_id)[-1]
    assert kept.automatic
    (segment,) = kept_segments(kept.sop_instance_uid)
    np.testing.assert_array_equal(segment.mask, read_mask(path) > 0)
    assert segment.lesion_class.name == params["decision"]


# ---- submit and read back ----


@pytest.mark.parametrize("size", SIZES)
def test_a_submitted_mask_stands_pixel_identical_on_the_disk_and_reads_back(
    client, size, image_of_size, l_shape, submit, kept_segments
):
    image_id, value = image_of_size(*size), lesion_class("bcc").label_value
    drawn = l_shape(size[1], size[0], value)
    label_id = submit(image_id, drawn, [*DIAGNOSES, "Skin lesion"])
    (segment,) = kept_segments(label_id)
    np.testing.assert_array_equal(segment.mask, drawn > 0)
    assert segment.lesion_class.name == "bcc"
    np.testing.assert_array_equal(read_mask(client.download_label(label_id, "final")), drawn)
    # In the place of the label's id, Slicer sends the image's.
    np.testing.assert_array_equal(read_mask(client.download_label(image_id, "final")), drawn)


def test_a_cropped_seg_nrrd_lands_where_it_was_drawn(
    client, image_of_size, companion, l_shape, kept_segments, tmp_path
):
    image_id = image_of_size(300, 480)
    drawn = l_shape(480, 300)
    whole = SimpleITK.GetImageFromArray(drawn[None])
    whole.CopyInformation(companion(image_id))
    rows, columns = np.nonzero(drawn)
    cropped = whole[int(columns.min()) : int(columns.max()) + 1, int(rows.min()) : int(rows.max()) + 1, :]
    described = {
        "Segment0_ID": "Segment_1",
        "Segment0_Name": "Dermatofibroma",
        "Segment0_LabelValue": "1",
        "Segment0_Layer": "0",
        "Segmentation_ReferenceImageExtentOffset": f"{columns.min()} {rows.min()} 0",
    }
    for key, text in described.items():
        cropped.SetMetaData(key, text)
    path = tmp_path / "Segmentation.seg.nrrd"
    SimpleITK.WriteImage(cropped, str(path), useCompression=True)
    answer = client.save_label(image_id, str(path), params={"label_info": []})
    (segment,) = kept_segments(answer["label"])
    np.testing.assert_array_equal(segment.mask, drawn > 0)
    assert segment.lesion_class.name == "df"


def test_a_prediction_submitted_unchanged_keeps_mask_and_diagnosis(
    client, image_of_size, submit, kept_segments
):
    image_id = image_of_size(600, 450)
    path, params = client.infer("dermcheck", image_id, dict(SLICER_PARAMS))
    (segment,) = kept_segments(submit(image_id, read_mask(path), DIAGNOSES))
    np.testing.assert_array_equal(segment.mask, read_mask(path) > 0)
    assert segment.lesion_class.name == params["decision"]


def test_a_corrected_class_changes_the_recorded_diagnosis(
    client, image_of_size, submit, kept_segments, studies_now
):
    image_id = image_of_size(600, 450)
    path, params = client.infer("dermcheck", image_id, {**SLICER_PARAMS, "save_label": True})
    corrected = next(lesion for lesion in LESION_CLASSES if lesion.name != params["decision"])
    mask = read_mask(path) > 0
    label_id = submit(image_id, mask.astype(np.uint8) * corrected.label_value, DIAGNOSES)
    counts = studies_now().latest_final(image_id)
    assert counts.sop_instance_uid == label_id
    assert counts.creator == "slicer-user"
    assert not counts.automatic
    (segment,) = kept_segments(label_id)
    assert segment.lesion_class == corrected
    on_disk = studies_now().retrieve_label(label_id).SegmentSequence[0]
    assert on_disk.SegmentLabel == corrected.meaning
    assert on_disk.SegmentAlgorithmType == "SEMIAUTOMATIC"


def test_an_emptied_mask_is_a_valid_answer(client, image_of_size, submit, studies_now):
    image_id = image_of_size(97, 31)
    label_id = submit(image_id, np.zeros((31, 97), np.uint8), DIAGNOSES)
    assert studies_now().latest_final(image_id).sop_instance_uid == label_id
    assert not read_mask(client.download_label(label_id, "final")).any()


def test_submitted_labels_count_as_done(client, image_of_size, l_shape, submit):
    image_id = image_of_size(300, 480)
    submit(image_id, l_shape(480, 300, 5), DIAGNOSES)
    assert client.datastore()["objects"][image_id]["labels"]["final"]["info"]["creator"] == "slicer-user"
    assert client.info()["datastore"]["completed"] >= 1
    assert image_id not in {client.next_sample("random", {"seed": n}).get("id") for n in range(8)}


# ---- the clinician's own image ----


@pytest.mark.parametrize("name", ["Foto 1.png", "Müller, großer Fleck.jpg", "皮膚.tif"])
def test_a_session_predicts_on_an_uploaded_photo(client, server, name, draw_photo, predictor, tmp_path):
    path = tmp_path / name
    draw_photo(200, 140, 9).save(path)
    session = client.create_session(str(path))["session_id"]
    assert client.get_session(session)
    answer, _ = client.infer("dermcheck", "Volume", dict(SLICER_PARAMS), session_id=session)
    assert read_mask(answer).shape == (140, 200)
    if name.endswith("png"):
        report = predictor.predict(np.asarray(draw_photo(200, 140, 9)))
        np.testing.assert_array_equal(read_mask(answer), report.label_map())
    client.remove_session(session)
    gone = server.post("/infer/dermcheck", params={"session_id": session})
    assert gone.status_code == 404


@pytest.mark.parametrize("extension", [".nii.gz", ".nrrd"])
def test_a_session_with_a_volume_as_slicer_saves_it_gets_its_geometry(
    client, extension, draw_photo, predictor, tmp_path
):
    pixels = np.asarray(draw_photo(200, 140, 9))
    volume = SimpleITK.GetImageFromArray(pixels[None], isVector=True)
    volume.SetSpacing((0.5, 0.25, 1))
    volume.SetOrigin((-3, 7, 0))
    volume.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # how Slicer opens photos
    SimpleITK.WriteImage(volume, str(tmp_path / f"volume{extension}"))
    session = client.create_session(str(tmp_path / f"volume{extension}"))["session_id"]
    path, _ = client.infer("dermcheck", "Volume", dict(SLICER_PARAMS), session_id=session)
    answer = SimpleITK.ReadImage(path)
    assert_same_place(answer, volume)
    expected = predictor.predict(pixels).label_map()
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(answer)[0], expected)


def test_a_session_with_dicom_gives_a_dicom_segmentation(
    client, server, make_photograph, predictor, tmp_path
):
    photograph = make_photograph(160, 120, 8)
    photograph.save_as(tmp_path / "photo.dcm", enforce_file_format=True)
    session = client.create_session(str(tmp_path / "photo.dcm"))["session_id"]
    answer = server.post("/infer/dermcheck", params={"session_id": session, "output": "dicom_seg"})
    (tmp_path / "answer.dcm").write_bytes(answer.content)
    opened = read_photograph(photograph)
    (segment,) = read_segmentation(dcmread(tmp_path / "answer.dcm"), opened.header)
    np.testing.assert_array_equal(segment.mask, predictor.predict(opened.pixels).mask)


def test_a_photo_sent_along_with_the_request_is_predicted_on(client, draw_photo, tmp_path):
    draw_photo(200, 140, 9).save(tmp_path / "sent along.png")
    path, _ = client.infer("dermcheck", "", dict(SLICER_PARAMS), file=str(tmp_path / "sent along.png"))
    assert read_mask(path).shape == (140, 200)


def test_an_uploaded_photo_joins_the_studies_and_takes_a_label(
    client, draw_photo, submit, l_shape, studies_now, kept_segments, tmp_path
):
    draw_photo(120, 90, 21).save(tmp_path / "Neues Bild.png")
    # Slicer does not read the id in the answer: it goes on with the name of its volume.
    answer = client.upload_image(str(tmp_path / "Neues Bild.png"), "Neues Bild ü")
    assert answer["image"] in studies_now().image_ids()
    label_id = submit("Neues Bild ü", l_shape(90, 120, 6), DIAGNOSES)
    assert studies_now().label(label_id).image_id == answer["image"]
    (segment,) = kept_segments(label_id)
    assert segment.lesion_class.name == "nv"
