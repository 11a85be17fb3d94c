"""MONAI Label's datastore interface, over a real folder of DICOM files."""

import hashlib
import io
import json
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the field's own name
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.tasks.activelearning.random import Random
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, MultiFrameTrueColorSecondaryCaptureImageStorage, generate_uid

from dermcheck.datastore import StudyStore
from dermcheck.dicom.author import Algorithm
from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
from dermcheck.dicom.photograph import read_photograph
from dermcheck.dicom.segmentation import LesionSegment, read_segmentation, write_segmentation
from dermcheck.errors import ArgumentError, MaskError, NotFoundError, StorageError, UnreadableImageError
from dermcheck.label_app.datastore import DermCheckDatastore
from dermcheck.lesions import LESION_CLASSES, lesion_class

ROWS, COLUMNS = 12, 18
AS_SLICER_SENDS = {
    "label_info": [{"name": lesion.meaning, "idx": lesion.label_value} for lesion in LESION_CLASSES],
    "client_id": "clinic-pc-3",
}
MODEL = {"name": "outliner", "version": "1.0", "model_hash": "a" * 64}


@pytest.fixture
def studies(tmp_path) -> Path:
    folder = tmp_path / "studies"
    folder.mkdir()
    return folder


@pytest.fixture
def photo(tmp_path):
    """Save a photo of noise, another one for each seed."""

    def save(seed: int = 0, suffix: str = ".png") -> Path:
        path = tmp_path / f"photo {seed}{suffix}"
        pixels = np.random.default_rng(seed).integers(0, 256, (ROWS, COLUMNS, 3), np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return save


@pytest.fixture
def add(studies, photo):
    """Put a DICOM photograph into the studies."""

    def put(name: str = "a.dcm", seed: int = 0, **attributes: object) -> Dataset:
        dataset = photo_to_dicom(
            photo(seed), PhotoDetails(patient_id="SYNTHETIC-1", patient_name="Secret^Person")
        )
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        dataset.save_as(studies / name, enforce_file_format=True)
        return dataset

    return put


@pytest.fixture
def open_datastore(studies, tmp_path):
    stores = []

    def open_again(**options: int) -> DermCheckDatastore:
        stores.append(StudyStore.open(studies, tmp_path / "cache", watch=False))
        return DermCheckDatastore(stores[-1], **options)

    yield open_again
    for store in stores:
        store.close()


@pytest.fixture
def drawn(tmp_path):
    """Save a label map with an L of one value, as Slicer does."""

    def save(value: int = 5, *, shape: tuple[int, int] = (ROWS, COLUMNS), name: str = "label.nii.gz") -> Path:
        label_map = np.zeros(shape, np.uint8)
        label_map[1:9, 2] = label_map[8, 2:6] = value
        sitk.WriteImage(sitk.GetImageFromArray(label_map[None]), str(tmp_path / name))
        return tmp_path / name

    return save


def shown(path: str) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(path))[0]


def diagnosis(datastore: DermCheckDatastore, image_id: str) -> list[str]:
    label = datastore.store.latest_final(image_id)
    segmentation = datastore.store.retrieve_label(label.sop_instance_uid)
    segments = read_segmentation(segmentation, datastore.store.header(image_id))
    return [segment.lesion_class.name if segment.lesion_class else "" for segment in segments]


def test_it_is_a_datastore_of_monai_label(open_datastore):
    assert isinstance(open_datastore(), Datastore)  # a class that left a method out could not be made


def test_name_and_description_can_be_set_and_survive_a_restart(open_datastore):
    datastore = open_datastore()
    assert datastore.name()
    assert datastore.description()
    datastore.set_name("Moles")
    datastore.set_description("Second visit")
    again = open_datastore()
    assert (again.name(), again.description()) == ("Moles", "Second visit")


# ---- images ----


def test_images_are_the_photographs_by_their_sop_instance_uid(open_datastore, add):
    first, second = add("a.dcm", 0), add("b.dcm", 1)
    add("ct.dcm", 2, SOPClassUID=CTImageStorage, Modality="CT", SOPInstanceUID=generate_uid())
    assert open_datastore().list_images() == [first.SOPInstanceUID, second.SOPInstanceUID]


def test_the_image_file_is_an_rgb_volume_with_row_0_on_top(open_datastore, add, studies):
    photograph = add()
    path = open_datastore().get_image_uri(photograph.SOPInstanceUID)
    volume = sitk.ReadImage(path)
    assert volume.GetSize() == (COLUMNS, ROWS, 1)
    assert volume.GetNumberOfComponentsPerPixel() == 3
    np.testing.assert_array_equal(sitk.GetArrayFromImage(volume)[0], read_photograph(photograph).pixels)
    assert not Path(path).is_relative_to(studies)


def test_image_info_holds_what_slicer_needs_to_download_and_check(open_datastore, add):
    datastore, image_id = open_datastore(), add().SOPInstanceUID
    datastore = open_datastore()
    path = Path(datastore.get_image_uri(image_id))
    info = datastore.get_image_info(image_id)
    assert info["path"] == str(path)
    assert info["name"] == path.name
    assert info["checksum"] == f"SHA256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert datastore.get_image(image_id).read() == path.read_bytes()


def test_the_checksum_is_there_again_after_a_restart(open_datastore, add):
    image_id = add().SOPInstanceUID
    before = open_datastore()
    before.get_image_uri(image_id)
    after = open_datastore()
    after.get_image_uri(image_id)
    assert after.get_image_info(image_id) == before.get_image_info(image_id)


def test_image_info_names_no_patient(open_datastore, add):
    image_id = add().SOPInstanceUID
    datastore = open_datastore()
    datastore.get_image_uri(image_id)
    assert "Secret" not in json.dumps(datastore.json())
    assert "SYNTHETIC" not in json.dumps(datastore.json())


def test_an_exchanged_photograph_gets_a_new_image_file(open_datastore, add):
    image_id = add(seed=0).SOPInstanceUID
    datastore = open_datastore()
    before = datastore.get_image_uri(image_id)
    changed = add(seed=1, SOPInstanceUID=image_id)
    datastore.refresh()
    after = datastore.get_image_uri(image_id)
    assert after != before
    np.testing.assert_array_equal(shown(after), read_photograph(changed).pixels)


def test_what_clients_note_of_an_image_survives_a_restart(open_datastore, add):
    image_id = add().SOPInstanceUID
    open_datastore().update_image_info(image_id, {"strategy": {"random": {"ts": 1}}})
    datastore = open_datastore()
    datastore.update_image_info(image_id, {"score": 0.5})
    info = datastore.get_image_info(image_id)
    assert info["strategy"] == {"random": {"ts": 1}}
    assert info["score"] == 0.5


def test_the_files_for_viewers_stay_below_their_limit(open_datastore, add, monkeypatch):
    monkeypatch.setattr("dermcheck.datastore.file_cache._IN_USE_S", -1.0)
    ids = [add(f"{seed}.dcm", seed).SOPInstanceUID for seed in range(12)]
    datastore = open_datastore(limit_bytes=4000)
    paths = [Path(datastore.get_image_uri(image_id)) for image_id in ids]
    left = [path for path in paths if path.exists()]
    assert 0 < sum(path.stat().st_size for path in left) <= 4000
    assert all(Path(datastore.get_image_uri(image_id)).exists() for image_id in ids)


def test_many_threads_get_the_same_whole_image_file(open_datastore, add):
    image_id = add().SOPInstanceUID
    datastore = open_datastore()
    with ThreadPoolExecutor(8) as threads:
        contents = set(threads.map(lambda _: datastore.get_image(image_id).read(), range(16)))
    assert len(contents) == 1


@pytest.mark.parametrize("unknown", ["1.2.3", "", "../../etc/passwd", "/etc/passwd", "a.dcm"])
def test_an_unknown_image_is_a_sentence_everywhere(open_datastore, add, drawn, unknown):
    add()
    datastore = open_datastore()
    for ask in (
        datastore.get_image,
        datastore.get_image_uri,
        datastore.get_image_info,
        datastore.get_labels_by_image_id,
        datastore.remove_image,
        lambda image_id: datastore.update_image_info(image_id, {}),
        lambda image_id: datastore.get_label_by_image_id(image_id, "final"),
        lambda image_id: datastore.save_label(image_id, str(drawn()), "final", {}),
    ):
        with pytest.raises(NotFoundError, match=f"image {unknown}: there is no such photograph"):
            ask(unknown)


def test_a_photograph_that_cannot_be_decoded_is_not_offered_again_until_it_is_exchanged(
    open_datastore, add, studies
):
    good, bad = add("good.dcm", 0), add("bad.dcm", 1)
    broken = dcmread(studies / "bad.dcm")
    broken.BitsStored, broken.HighBit = 3, 9
    broken.save_as(studies / "bad.dcm")
    datastore = open_datastore()
    assert set(datastore.get_unlabeled_images()) == {good.SOPInstanceUID, bad.SOPInstanceUID}
    with pytest.raises(UnreadableImageError):
        datastore.get_image_uri(bad.SOPInstanceUID)
    assert datastore.get_unlabeled_images() == [good.SOPInstanceUID]
    assert any(bad.SOPInstanceUID in problem for problem in datastore.json()["problems"])
    bad.save_as(studies / "bad.dcm", enforce_file_format=True)
    datastore.refresh()
    assert set(datastore.get_unlabeled_images()) == {good.SOPInstanceUID, bad.SOPInstanceUID}
    assert datastore.json()["problems"] == []


def test_a_photograph_of_several_frames_is_listed_but_not_offered(open_datastore, add, studies):
    single = add("single.dcm", 0)
    several = add("several.dcm", 1)
    several.SOPClassUID = MultiFrameTrueColorSecondaryCaptureImageStorage
    several.NumberOfFrames = 2
    several.PixelData = several.PixelData * 2
    several.save_as(studies / "several.dcm", enforce_file_format=True)
    datastore = open_datastore()
    assert set(datastore.list_images()) == {single.SOPInstanceUID, several.SOPInstanceUID}
    assert datastore.get_unlabeled_images() == [single.SOPInstanceUID]


# ---- adding images ----


def test_an_uploaded_dicom_photograph_is_stored_as_it_is(open_datastore, studies, tmp_path, photo):
    dataset = photo_to_dicom(photo(), PhotoDetails())
    dataset.save_as(tmp_path / "upload.dcm", enforce_file_format=True)
    datastore = open_datastore()
    image_id = datastore.add_image("upload", str(tmp_path / "upload.dcm"), {})
    assert image_id == dataset.SOPInstanceUID
    assert datastore.list_images() == [image_id] == open_datastore().list_images()
    (path,) = (path for path in studies.rglob("*") if path.is_file())
    assert dcmread(path) == dcmread(tmp_path / "upload.dcm")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_an_uploaded_photo_becomes_dicom(open_datastore, photo, suffix):
    datastore = open_datastore()
    image_id = datastore.add_image(
        "", str(photo(suffix=suffix)), {"body_site": "left cheek", "note": "urgent"}
    )
    assert datastore.list_images() == [image_id]
    assert datastore.store.header(image_id).laterality == "L"
    assert datastore.get_image_info(image_id)["note"] == "urgent"
    expected = np.asarray(Image.open(photo(suffix=suffix)))
    np.testing.assert_allclose(shown(datastore.get_image_uri(image_id)), expected, atol=3)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz"])
def test_a_volume_that_slicer_saved_becomes_dicom(open_datastore, tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, COLUMNS, 3), np.uint8)
    path = tmp_path / f"volume{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(pixels[None], isVector=True), str(path))
    datastore = open_datastore()
    image_id = datastore.add_image("my photo", str(path), {})
    np.testing.assert_array_equal(shown(datastore.get_image_uri(image_id)), pixels)


def test_an_uploaded_image_answers_to_the_name_that_slicer_gave_it(open_datastore, photo, drawn):
    datastore = open_datastore()
    image_id = datastore.add_image("my photo.jpg", str(photo()), {})
    datastore.save_label("my photo.jpg", str(drawn()), "final", AS_SLICER_SENDS)
    assert datastore.resolve("my photo.jpg") == image_id
    assert diagnosis(open_datastore(), image_id) == ["mel"]
    assert open_datastore().get_label_uri("my photo.jpg", "final")


def test_adding_the_same_photo_twice_is_one_image(open_datastore, photo):
    datastore = open_datastore()
    assert datastore.add_image("a", str(photo()), {}) == datastore.add_image("b", str(photo()), {})
    assert len(datastore.list_images()) == 1
    assert datastore.resolve("a") == datastore.resolve("b")


def test_another_photograph_under_a_known_uid_is_refused(open_datastore, add, tmp_path, photo):
    photograph = add(seed=0)
    other = photo_to_dicom(photo(1), PhotoDetails())
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = photograph.SOPInstanceUID
    other.save_as(tmp_path / "other.dcm", enforce_file_format=True)
    with pytest.raises(StorageError, match=f"{photograph.SOPInstanceUID}: a different photograph"):
        open_datastore().add_image("x", str(tmp_path / "other.dcm"), {})


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xe0 truncated"])
@pytest.mark.parametrize("suffix", [".dcm", ".jpg", ".nrrd"])
def test_what_is_no_photograph_is_refused_and_nothing_is_stored(
    open_datastore, tmp_path, studies, content, suffix
):
    (tmp_path / f"upload{suffix}").write_bytes(content)
    with pytest.raises(UnreadableImageError):
        open_datastore().add_image("x", str(tmp_path / f"upload{suffix}"), {})
    assert list(studies.iterdir()) == []


@pytest.mark.parametrize(
    "info", [{"acquired": "yesterday"}, {"acquired": 5}, {"laterality": "up"}, {"patient_id": 7}]
)
def test_a_wrong_detail_is_refused_and_nothing_is_stored(open_datastore, photo, studies, info):
    with pytest.raises(ArgumentError):
        open_datastore().add_image("x", str(photo()), info)
    assert list(studies.iterdir()) == []


def test_details_that_name_a_patient_are_kept_in_dicom_and_the_index_of_searches_only(
    open_datastore, photo, tmp_path
):
    datastore = open_datastore()
    image_id = datastore.add_image("x", str(photo()), {"patient_id": "P-77", "patient_name": "Secret^Person"})
    assert datastore.store.retrieve(image_id).PatientName == "Secret^Person"
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    cached = [path.read_bytes() for path in files if not path.name.startswith("index.sqlite")]
    assert cached
    assert not any(b"Secret" in content or b"P-77" in content for content in cached)


def test_a_photograph_is_never_removed(open_datastore, add, studies):
    image_id = add().SOPInstanceUID
    datastore = open_datastore()
    with pytest.raises(ArgumentError, match=r"never removes a photograph.*studies folder"):
        datastore.remove_image(image_id)
    assert datastore.list_images() == [image_id]
    assert [path.name for path in studies.iterdir()] == ["a.dcm"]


# ---- labels ----


def test_a_submitted_label_is_a_dicom_segmentation_beside_the_photograph(open_datastore, add, drawn, studies):
    photograph = add("lesion 1.dcm")
    datastore = open_datastore()
    label_id = datastore.save_label(photograph.SOPInstanceUID, str(drawn(5)), "final", AS_SLICER_SENDS)
    (path,) = studies.glob("lesion 1.seg-*.dcm")
    segmentation = dcmread(path)
    assert segmentation.SOPInstanceUID == label_id
    assert segmentation.StudyInstanceUID == photograph.StudyInstanceUID
    assert segmentation.PatientID == "SYNTHETIC-1"
    assert str(segmentation.ContentCreatorName).startswith("clinic-pc-3")
    (segment,) = segmentation.SegmentSequence
    assert segment.SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert diagnosis(datastore, photograph.SOPInstanceUID) == ["mel"]


@pytest.mark.parametrize("name", ["label.nii.gz", "label.nrrd"])
def test_a_mask_comes_back_pixel_for_pixel_after_a_restart(open_datastore, add, drawn, name):
    image_id = add().SOPInstanceUID
    path = drawn(5, name=name)
    label_id = open_datastore().save_label(image_id, str(path), "final", AS_SLICER_SENDS)
    datastore = open_datastore()
    for asked in (label_id, image_id):  # Slicer asks by the image's id
        np.testing.assert_array_equal(shown(datastore.get_label_uri(asked, "final")), shown(str(path)))
    assert (
        datastore.get_label(label_id, "final").read()
        == Path(datastore.get_label_uri(label_id, "final")).read_bytes()
    )
    label, image = (
        sitk.ReadImage(uri)
        for uri in (datastore.get_label_uri(label_id, "final"), datastore.get_image_uri(image_id))
    )
    assert (label.GetSize(), label.GetSpacing(), label.GetOrigin(), label.GetDirection()) == (
        image.GetSize(),
        image.GetSpacing(),
        image.GetOrigin(),
        image.GetDirection(),
    )


def test_a_corrected_class_changes_the_recorded_diagnosis_and_keeps_the_old_one(open_datastore, add, drawn):
    image_id = add().SOPInstanceUID
    datastore = open_datastore()
    first = datastore.save_label(image_id, str(drawn(6)), "final", AS_SLICER_SENDS)
    assert diagnosis(datastore, image_id) == ["nv"]
    second = datastore.save_label(image_id, str(drawn(5)), "final", AS_SLICER_SENDS)
    for opened in (datastore, open_datastore()):
        assert diagnosis(opened, image_id) == ["mel"]
        assert opened.get_label_by_image_id(image_id, "final") == second
        assert set(shown(opened.get_label_uri(first, "final")).ravel()) == {0, 6}


def test_a_prediction_is_original_and_does_not_finish_an_image(open_datastore, add, drawn):
    image_id = add().SOPInstanceUID
    datastore = open_datastore()
    info = {"model": "dermcheck", "params": {"models": {"outliner": MODEL}, "label_names": {"Melanoma": 5}}}
    label_id = datastore.save_label(image_id, str(drawn(5)), DefaultLabelTag.ORIGINAL, info)
    assert datastore.store.label(label_id).automatic
    assert datastore.get_labels_by_image_id(image_id) == {"original": label_id}
    assert datastore.get_unlabeled_images() == [image_id]
    assert datastore.get_unlabeled_images("original") == []
    assert datastore.get_labeled_images("original") == [image_id]
    item = datastore.store.retrieve_label(label_id).SegmentSequence[0]
    assert item.SegmentAlgorithmType == "AUTOMATIC"
    assert item.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "outliner"


def test_a_prediction_of_nobody_is_refused(open_datastore, add, drawn, studies):
    image_id = add().SOPInstanceUID
    for info in ({}, {"algorithm": {"name": "x"}}, {"algorithm": "x"}, {"params": {"models": None}}):
        with pytest.raises(ArgumentError, match="expected an algorithm with name, version and model_hash"):
            open_datastore().save_label(image_id, str(drawn()), "original", info)
    assert [path.name for path in studies.iterdir()] == ["a.dcm"]


def test_a_segmentation_that_others_stored_is_a_label_too(open_datastore, add, studies):
    photograph = add()
    mask = np.zeros((ROWS, COLUMNS), bool)
    mask[3, 4] = True
    segment = LesionSegment(mask, lesion_class("bcc"))
    label = write_segmentation(photograph, [segment], Algorithm(**MODEL))
    label.save_as(studies / "from elsewhere.dcm", enforce_file_format=True)
    datastore = open_datastore()
    assert datastore.get_labels_by_image_id(photograph.SOPInstanceUID) == {"original": label.SOPInstanceUID}
    values = shown(datastore.get_label_uri(photograph.SOPInstanceUID, "original"))
    np.testing.assert_array_equal(values, np.where(mask, 2, 0))


@pytest.mark.parametrize(
    ("info", "creator"),
    [
        ({}, "Unknown"),
        ({"client_id": "pc"}, "pc"),
        ({"client_id": "pc", "user": "doe"}, "doe"),
        ({"clinician": "Doe^Jane", "user": "doe"}, "Doe^Jane"),
        ({"client_id": "CLINIC\\doe\n"}, "CLINIC doe"),
        ({"client_id": "x" * 500}, "x" * 63),
        ({"client_id": None, "user": ""}, "Unknown"),
    ],
)
def test_the_label_names_who_made_it(open_datastore, add, drawn, info, creator):
    image_id = add().SOPInstanceUID
    datastore = open_datastore()
    label_id = datastore.save_label(image_id, str(drawn(1)), "final", info)
    assert datastore.get_label_info(label_id, "final")["creator"] == creator


def test_label_info_says_what_the_values_mean_and_what_the_client_sent(open_datastore, add, drawn):
    image_id = add().SOPInstanceUID
    label_id = open_datastore().save_label(image_id, str(drawn(5)), "final", AS_SLICER_SENDS)
    datastore = open_datastore()
    datastore.update_label_info(image_id, "final", {"reviewed": True})
    info = datastore.get_label_info(image_id, "final")
    assert info == datastore.get_label_info(label_id, "final")
    assert (info["id"], info["image"], info["tag"], info["reviewed"]) == (label_id, image_id, "final", True)
    assert info["label_info"] == AS_SLICER_SENDS["label_info"]
    assert abs(info["ts"] - time.time()) < 3600
    names = info["params"]["label_names"]
    assert list(names.values()) == list(range(1, 9))
    assert names["Melanoma"] == lesion_class("mel").label_value


def test_an_emptied_mask_is_a_final_label(open_datastore, add, drawn):
    image_id = add().SOPInstanceUID
    datastore = open_datastore()
    datastore.save_label(image_id, str(drawn(0)), "final", AS_SLICER_SENDS)
    assert datastore.get_labeled_images() == [image_id]
    assert not shown(datastore.get_label_uri(image_id, "final")).any()


def test_a_mask_of_another_size_is_refused_and_nothing_is_stored(open_datastore, add, drawn, studies):
    image_id = add().SOPInstanceUID
    datastore = open_datastore()
    with pytest.raises(MaskError, match=r"12|18"):
        datastore.save_label(image_id, str(drawn(shape=(COLUMNS, ROWS))), "final", AS_SLICER_SENDS)
    assert datastore.get_labels_by_image_id(image_id) == {}
    assert [path.name for path in studies.iterdir()] == ["a.dcm"]


@pytest.mark.parametrize("tag", ["version_1", "", "../final", "Final"])
def test_another_tag_is_refused(open_datastore, add, drawn, tag):
    image_id = add().SOPInstanceUID
    datastore = open_datastore()
    with pytest.raises(ArgumentError, match=r"the tag is .*, expected final .* or original"):
        datastore.save_label(image_id, str(drawn()), tag, {})
    with pytest.raises(ArgumentError):
        datastore.get_label_by_image_id(image_id, tag)


def test_an_unknown_label_is_a_sentence_everywhere(open_datastore, add):
    image_id = add().SOPInstanceUID
    datastore = open_datastore()
    assert datastore.get_labels_by_image_id(image_id) == {}
    assert datastore.get_label_by_image_id(image_id, "final") == ""
    for ask in (
        datastore.get_label,
        datastore.get_label_uri,
        datastore.get_label_info,
        datastore.remove_label,
    ):
        with pytest.raises(NotFoundError, match="no label with the tag final yet"):
            ask(image_id, "final")
        with pytest.raises(NotFoundError, match=r"label 1.2.3: there is no such label"):
            ask("1.2.3", "final")


def test_a_label_is_never_removed(open_datastore, add, drawn):
    image_id = add().SOPInstanceUID
    datastore = open_datastore()
    label_id = datastore.save_label(image_id, str(drawn()), "final", {})
    with pytest.raises(ArgumentError, match=f"label {label_id}: DermCheck never removes a label"):
        datastore.remove_label(label_id, "final")
    assert datastore.get_label_by_image_id(image_id, "final") == label_id


def test_saving_into_read_only_studies_is_a_sentence(open_datastore, add, drawn, studies, monkeypatch):
    image_id = add().SOPInstanceUID
    datastore = open_datastore()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("dermcheck.files.os.open", refuse)
    with pytest.raises(StorageError, match="not saved, the folder is read-only"):
        datastore.save_label(image_id, str(drawn()), "final", {})
    assert datastore.get_labels_by_image_id(image_id) == {}


# ---- lists ----


def test_labelled_and_unlabelled_are_parted_by_final_labels(open_datastore, add, drawn):
    first, second = (add(f"{seed}.dcm", seed).SOPInstanceUID for seed in range(2))
    datastore = open_datastore()
    assert datastore.status() == {"total": 2, "completed": 0, "label_tags": {"original": 0, "final": 0}}
    datastore.save_label(first, str(drawn()), "final", {})
    datastore.save_label(first, str(drawn()), "final", {})
    datastore.save_label(second, str(drawn()), "original", {"algorithm": MODEL})
    assert datastore.get_labeled_images() == [first]
    assert datastore.get_unlabeled_images() == [second]
    assert datastore.status() == {"total": 2, "completed": 1, "label_tags": {"original": 1, "final": 2}}


def test_monai_labels_own_strategy_chooses_an_unlabelled_image(open_datastore, add, drawn):
    first, second = (add(f"{seed}.dcm", seed).SOPInstanceUID for seed in range(2))
    datastore = open_datastore()
    datastore.save_label(first, str(drawn()), "final", {})
    assert Random()({"strategy": "random"}, datastore)["id"] == second
    datastore.save_label(second, str(drawn()), "final", {})
    assert Random()({"strategy": "random"}, datastore) is None


def test_the_listing_is_json_in_the_shape_that_slicer_reads(open_datastore, add, drawn, studies):
    image_id = add().SOPInstanceUID
    (studies / "copy.dcm").write_bytes((studies / "a.dcm").read_bytes())
    datastore = open_datastore()
    label_id = datastore.save_label(image_id, str(drawn()), "original", {"algorithm": MODEL})
    listing = json.loads(json.dumps(datastore.json()))
    assert list(listing["objects"]) == [image_id]
    label = listing["objects"][image_id]["labels"]["original"]
    assert label["info"]["id"] == label_id
    assert label["info"]["params"]["label_names"]["Melanoma"] == 5
    assert label["ext"] == ".nii.gz"
    assert listing["objects"][image_id]["image"]["info"]["name"].endswith(".nrrd")
    assert "is also in" in listing["problems"][0]


def test_the_data_list_pairs_files_of_final_labels(open_datastore, add, drawn):
    first, _ = (add(f"{seed}.dcm", seed).SOPInstanceUID for seed in range(2))
    datastore = open_datastore()
    datastore.save_label(first, str(drawn(5)), "final", AS_SLICER_SENDS)
    (pair,) = datastore.datalist()
    assert sitk.ReadImage(pair["image"]).GetSize() == sitk.ReadImage(pair["label"]).GetSize()


def test_the_archive_holds_photographs_and_final_labels_as_dicom(open_datastore, add, drawn):
    ids = [add(f"{seed}.dcm", seed).SOPInstanceUID for seed in range(3)]
    datastore = open_datastore()
    with pytest.raises(NotFoundError, match="No photograph has a final label yet"):
        datastore.get_dataset_archive(None)
    labels = [datastore.save_label(image_id, str(drawn()), "final", {}) for image_id in ids[:2]]
    for limit, count in ((None, 2), (1, 1), (0, 2), (-1, 2), (9, 2)):
        with zipfile.ZipFile(datastore.get_dataset_archive(limit)) as archive:
            assert len([name for name in archive.namelist() if name.startswith("image/")]) == count
    with zipfile.ZipFile(datastore.get_dataset_archive(None)) as archive:
        photograph = dcmread(io.BytesIO(archive.read(f"image/{ids[0]}.dcm")))
        label = dcmread(io.BytesIO(archive.read(f"label/{labels[0]}.dcm")))
        assert photograph == datastore.store.retrieve(ids[0])
        assert label.SOPInstanceUID == labels[0]
        assert set(json.loads(archive.read("metadata.json"))["objects"]) == set(ids[:2])


def test_threads_submit_labels_at_the_same_time(open_datastore, add, drawn):
    ids = [add(f"{seed}.dcm", seed).SOPInstanceUID for seed in range(4)]
    datastore = open_datastore()
    path = str(drawn(5))
    with ThreadPoolExecutor(8) as threads:
        labels = list(
            threads.map(lambda n: datastore.save_label(ids[n % 4], path, "final", AS_SLICER_SENDS), range(24))
        )
    assert len(set(labels)) == 24
    for opened in (datastore, open_datastore()):
        assert {found.sop_instance_uid for image_id in ids for found in opened.store.labels(image_id)} == set(
            labels
        )
        assert opened.status()["completed"] == 4
