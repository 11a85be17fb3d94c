import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from monailabel.config import settings
from monailabel.utils.others.class_utils import get_class_of_subclass_from_file
from PIL import Image

import dermcheck.label_app.app.main
from dermcheck.dicom.report import read_report
from dermcheck.errors import ArgumentError, ModelError, NotFoundError
from dermcheck.label_app.answers import Reply
from dermcheck.label_app.application import DermCheckApp
from dermcheck.label_app.source_image import SentPhotograph
from dermcheck.registry import Registry

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


@pytest.fixture
def foreign(pixels) -> SentPhotograph:
    """A photograph that is none of the studies."""
    content = io.BytesIO()
    Image.fromarray(pixels(seed=9)).save(content, "PNG")
    return SentPhotograph("foreign.png", content.getvalue())


def test_a_prediction_on_a_foreign_photograph_cannot_be_kept(app, foreign):
    with pytest.raises(ArgumentError, match=r"foreign.png: only predictions on photographs of the studies"):
        app.infer({"model": "dermcheck", "image": foreign, "save_label": True})


def test_a_foreign_photo_has_no_dicom_segmentation(app, foreign):
    with pytest.raises(ArgumentError, match="not DICOM"):
        app.infer({"model": "dermcheck", "image": foreign, "result_extension": ".dcm"})


def test_a_file_of_the_server_is_never_an_image(app, studies):
    existing = next(studies.rglob("*.dcm"))
    assert existing.exists()
    with pytest.raises(NotFoundError, match="no such photograph"):
        app.infer({"model": "dermcheck", "image": str(existing)})


def test_nothing_is_left_in_the_temporary_folder_if_writing_fails(app, foreign, tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with pytest.raises(ArgumentError):
        app.infer({"model": "dermcheck", "image": foreign, "result_extension": ".dcm"})
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


def test_predictions_in_several_threads_equal_those_one_by_one(make_app, models):
    def predict(app: DermCheckApp, image_id: str) -> np.ndarray:
        answer = app.infer({"model": "dermcheck", "image": image_id})
        mask = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(answer["file"]))
        remove_file(answer)
        return mask

    one_after_the_other, at_once = make_app(models), make_app(models)
    image_ids = at_once.store.image_ids()
    with ThreadPoolExecutor(6) as threads:
        beside = list(threads.map(lambda image_id: predict(at_once, image_id), image_ids * 3))
    for image_id, mask in zip(image_ids * 3, beside, strict=True):
        np.testing.assert_array_equal(mask, predict(one_after_the_other, image_id))


@pytest.fixture
def counted(app, monkeypatch) -> list:
    """The questions that reach the models."""
    questions: list = []
    answer = app.answering.answer

    def count(question) -> object:
        questions.append(question)
        return answer(question)

    monkeypatch.setattr(app.answering, "answer", count)
    app.answering.wait()
    return questions


def test_the_same_photograph_is_predicted_once_and_another_form_of_the_answer_is_its_own(app, counted):
    image_id = app.store.image_ids()[0]
    first, _ = app.predict(image_id, "dermcheck")
    assert app.predict(image_id, "dermcheck")[0] is first
    assert app.known(image_id, "dermcheck") is first
    assert app.known(image_id, "dermcheck", ".nrrd") is None
    app.predict(image_id, "dermcheck", ".nrrd")
    app.predict(image_id, "lesion_segmentation")
    assert [(each.model, each.form) for each in counted] == [
        ("dermcheck", "browser"),
        ("dermcheck", ".nrrd"),
        ("lesion_segmentation", "browser"),
    ]


def test_the_same_content_under_another_name_is_known(app, counted, foreign):
    first, _ = app.predict(foreign, "dermcheck")
    again, _ = app.predict(SentPhotograph("renamed.png", foreign.content), "dermcheck")
    assert again is first
    assert len(counted) == 1


def test_another_content_of_the_same_name_is_predicted_anew(app, counted, foreign):
    app.predict(foreign, "dermcheck")
    app.predict(SentPhotograph(foreign.name, foreign.content + b" "), "dermcheck")
    assert len(counted) == 2


def test_a_prediction_that_is_kept_is_always_made(app, counted):
    image_id = app.store.image_ids()[0]
    for _ in range(2):
        app.predict(image_id, "dermcheck", ".nrrd", keep=True)
    assert len(counted) == 2
    assert len(app.store.labels(image_id)) == 2


def test_a_file_that_another_photograph_has_taken_the_place_of_is_not_predicted_on(app):
    first, second = app.store.image_ids()[:2]
    app.store.path(first).write_bytes(app.store.path(second).read_bytes())
    with pytest.raises(NotFoundError, match=f"image {first}: its file was replaced"):
        app.predict(first, "dermcheck")


def test_after_an_exchange_of_the_models_nothing_old_is_answered(studies, models, tmp_path):
    registry = Registry.open(tmp_path / "registry")

    def promote() -> str:
        version = registry.submit(
            models / "classifier", parent=None, data_fingerprint="", configuration={}, who="test"
        )
        registry.promote(version, "for the test", "test")
        return version.name

    def versions() -> list[str]:
        replies = [app.predict(image_id, "dermcheck")[0] for _ in range(2)]
        return [reply.params["params"]["models"]["classifier"]["version"] for reply in replies]

    first = promote()
    app = DermCheckApp(str(tmp_path), str(studies), {"registry": str(registry.folder)})
    image_id = app.store.image_ids()[0]
    assert versions() == [first, first]
    second = promote()
    assert app.known(image_id, "dermcheck") is None
    assert versions() == [second, second]
    registry.rollback("classification", "test")
    assert versions() == [first, first]
    app.store.close()


def test_an_answer_of_models_that_were_exchanged_meanwhile_is_not_taken_for_the_new_ones(app, monkeypatch):
    """Both versions may have the same weights, and the answer may arrive after the exchange."""
    app.answering.wait()
    image_id, answer = app.store.image_ids()[0], app.answering.answer

    def late(question) -> Reply:
        reply = answer(question)
        return replace(reply, models=tuple((name, "before", sha) for name, _, sha in reply.models))

    monkeypatch.setattr(app.answering, "answer", late)
    app.predict(image_id, "dermcheck")
    assert app.known(image_id, "dermcheck") is None
    monkeypatch.setattr(app.answering, "answer", answer)
    app.predict(image_id, "dermcheck")
    assert app.known(image_id, "dermcheck") is not None
