import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from monailabel.config import settings
from monailabel.utils.others.class_utils import get_class_of_subclass_from_file

import dermcheck.label_app.app.main
from dermcheck.dicom.report import read_report
from dermcheck.errors import ArgumentError, ModelError, NotFoundError
from dermcheck.label_app.application import DermCheckApp
from dermcheck.label_app.source_image import SourceImage

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def make_app(studies: Path, tmp_path: Path) -> Iterator:
    apps = []

    def make(models: Path) -> DermCheckApp:
        apps.append(DermCheckApp(str(tmp_path), str(studies), {"models": str(models)}))
        return apps[-1]

    yield make
    for app in apps:
        app.store.close()


@pytest.fixture
def app(make_app, models) -> DermCheckApp:
    return make_app(models)


def remove_file(answer: dict) -> None:
    Path(answer["file"]).unlink()


@pytest.mark.parametrize(
    ("main", "name"),
    [
        (REPOSITORY / "apps" / "dermcheck" / "main.py", "DermCheck"),
        (Path(dermcheck.label_app.app.main.__file__), "DermCheckApp"),
    ],
)
def test_monai_label_finds_the_app_in_both_folders(main, name):
    found = get_class_of_subclass_from_file("main", str(main), "MONAILabelApp")
    assert found.__name__ == name
    assert issubclass(found, DermCheckApp)


def test_an_answer_is_a_file_that_belongs_to_the_caller_and_json(app):
    answer = app.infer({"model": "dermcheck", "image": app.store.image_ids()[0]})
    assert Path(answer["file"]).suffix == ".nrrd"
    assert answer["label"] == answer["file"]
    assert answer["params"]["decision"] in answer["params"]["probabilities"]
    remove_file(answer)


def test_a_kept_prediction_stands_as_segmentation_and_report(app, studies):
    image_id = app.store.image_ids()[0]
    answer = app.infer({"model": "dermcheck", "image": image_id, "save_label": True})
    remove_file(answer)
    (label,) = app.store.labels(image_id)
    assert label.sop_instance_uid == answer["label"]
    assert label.automatic
    findings = [
        read_report(dataset) for dataset in _datasets(studies) if dataset.Modality == "SR"
    ]  # one report only
    (finding,) = findings
    assert finding.decision.name == answer["params"]["decision"]
    assert finding.mask_area_px == answer["params"]["mask_area_px"]


def _datasets(folder: Path) -> list:
    from dermcheck.dicom.photograph import read_dataset

    return [read_dataset(path) for path in sorted(folder.rglob("*.dcm"))]


def test_a_prediction_on_a_foreign_photograph_cannot_be_kept(app, pixels):
    source = SourceImage("foreign.png", pixels())
    with pytest.raises(ArgumentError, match=r"foreign.png: only predictions on photographs of the studies"):
        app.infer({"model": "dermcheck", "image": source, "save_label": True})


def test_a_foreign_photo_has_no_dicom_segmentation(app, pixels):
    source = SourceImage("foreign.png", pixels())
    with pytest.raises(ArgumentError, match="not DICOM"):
        app.infer({"model": "dermcheck", "image": source, "result_extension": ".dcm"})


def test_a_file_of_the_server_is_never_an_image(app, studies):
    existing = next(studies.rglob("*.dcm"))
    assert existing.exists()
    with pytest.raises(NotFoundError, match="no such photograph"):
        app.infer({"model": "dermcheck", "image": str(existing)})


def test_nothing_is_left_in_the_temporary_folder_if_writing_fails(app, pixels, tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with pytest.raises(ArgumentError):
        app.infer({"model": "dermcheck", "image": SourceImage("x", pixels()), "result_extension": ".dcm"})
    assert list(folder.iterdir()) == []


def test_without_models_none_is_listed_and_labels_can_still_be_read(make_app, tmp_path):
    app = make_app(tmp_path / "no models")
    with pytest.raises(ModelError, match="card is missing"):
        app.infer({"model": "dermcheck", "image": app.store.image_ids()[0]})
    info = app.info()
    assert info["models"] == {}
    assert info["datastore"]["total"] == 3


def test_next_sample_has_the_path_of_a_companion(app):
    sample = app.next_sample({"strategy": "random", "seed": 1})
    assert sample["id"] in app.store.image_ids()
    assert Path(sample["path"]).suffix == ".nrrd"


def test_training_is_not_recorded_elsewhere(app):
    assert settings.MONAI_LABEL_TRACKING_ENABLED is False
    assert os.environ["MONAI_LABEL_TRACKING_ENABLED"] == "false"


def test_predictions_in_several_threads_equal_those_one_by_one(app):
    from concurrent.futures import ThreadPoolExecutor

    import SimpleITK

    def predict(image_id: str) -> np.ndarray:
        answer = app.infer({"model": "dermcheck", "image": image_id})
        mask = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(answer["file"]))
        remove_file(answer)
        return mask

    image_ids = app.store.image_ids() * 3
    one_by_one = [predict(image_id) for image_id in image_ids]
    with ThreadPoolExecutor(6) as threads:
        for alone, beside in zip(one_by_one, threads.map(predict, image_ids), strict=True):
            np.testing.assert_array_equal(alone, beside)
