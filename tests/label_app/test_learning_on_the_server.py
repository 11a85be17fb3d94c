"""The app's part in learning: what labels say of their making, the plans in `/info/`, the picture."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from dermcheck.dicom.annotation_record import read_record
from dermcheck.errors import ArgumentError
from dermcheck.label_app.application import DermCheckApp


@pytest.fixture
def make_app(studies, tmp_path):
    apps = []

    def make(**conf) -> DermCheckApp:
        apps.append(
            DermCheckApp(str(tmp_path), str(studies), {key: str(value) for key, value in conf.items()})
        )
        return apps[-1]

    yield make
    for app in apps:
        app.end_trainings()
        app.store.close()


def test_what_slicer_submits_says_what_was_changed_of_what_it_was_sent(make_app, models, tmp_path):
    app = make_app(models=models)
    image = app.store.image_ids()[0]
    first = app.infer({"model": "dermcheck", "image": image})
    volume = SimpleITK.ReadImage(first["file"])
    values = SimpleITK.GetArrayFromImage(volume)
    proposed = int((values > 0).sum())
    values[:] = 0
    values.reshape(-1)[:7] = 5
    drawn = SimpleITK.GetImageFromArray(values)
    drawn.CopyInformation(volume)
    path = tmp_path / "drawn.nrrd"
    SimpleITK.WriteImage(drawn, str(path))
    Path(first["file"]).unlink()
    label = app.datastore().save_label(image, str(path), "final", {"client_id": "anna"})
    record = read_record(app.store.retrieve_label(label))
    assert record.started_from == "prediction"
    assert record.proposed_px == proposed
    assert record.proposed_px + record.added_px - record.removed_px == 7
    assert 0 <= record.seconds < 600


def test_where_slicer_was_sent_nothing_nothing_is_said(make_app, models, tmp_path):
    app = make_app(models=models)
    image = app.store.image_ids()[0]
    header = app.store.header(image)
    path = tmp_path / "drawn.nrrd"
    SimpleITK.WriteImage(
        SimpleITK.GetImageFromArray(np.ones((1, header.rows, header.columns), np.uint8)), str(path)
    )
    label = app.datastore().save_label(image, str(path), "final", {"client_id": "anna"})
    record = read_record(app.store.retrieve_label(label))
    assert (record.started_from, record.changed_px, record.seconds) == (None, None, None)


def test_info_says_what_there_is_to_learn_and_the_picture_is_drawn_once(make_app, tmp_path):
    app = make_app(registry=tmp_path / "registry", retrain_after=50, retrain_at="22:00-06:00")
    told = app.info()["automatic_training"]
    assert (told["after_corrections"], told["at_night"]) == (50, "22:00-06:00")
    plan = told["trainers"]["lesion_classification"]
    assert plan["corrections"] == plan["new_corrections"] == 0
    assert plan["sentence"].endswith("No training yet: 20 more corrected photographs are needed.")
    picture = app.history.svg()
    assert picture.rstrip().endswith(b"</svg>")
    assert app.history.svg() is picture


@pytest.mark.parametrize("conf", [{"retrain_after": "soon"}, {"retrain_at": "22"}])
def test_settings_that_are_none_are_refused_in_words(make_app, tmp_path, conf):
    with pytest.raises(ArgumentError, match="expected"):
        make_app(registry=tmp_path / "registry", **conf)


def test_fixed_models_cannot_learn(make_app, models):
    with pytest.raises(ArgumentError, match="predicts with fixed models"):
        make_app(models=models, retrain_after=50)
