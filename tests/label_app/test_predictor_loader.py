import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dermcheck.errors import ModelError
from dermcheck.label_app.predictor_loader import PredictorLoader
from dermcheck.registry import ModelVersion, Registry


def test_the_models_are_there_when_asked_for(models):
    loader = PredictorLoader(models)
    assert loader.get() is loader.get()
    assert loader.is_usable()


def test_unusable_models_give_the_same_sentence_to_everyone(tmp_path):
    loader = PredictorLoader(tmp_path)
    for _ in range(2):
        with pytest.raises(ModelError, match="card is missing"):
            loader.get()
    assert not loader.is_usable()


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.open(tmp_path / "registry")


@pytest.fixture
def promote(registry: Registry, models: Path) -> Callable[[], ModelVersion]:
    """Put one classifier after another into use."""

    def run() -> ModelVersion:
        version = registry.submit(
            models / "classifier", parent=None, data_fingerprint="", configuration={}, who="test"
        )
        registry.promote(version, "for the test", "test")
        return version

    return run


def classifier_of(loader: PredictorLoader) -> str:
    return loader.get().classifier_card.version


def test_predictions_follow_the_registry_from_the_next_one_on(registry, promote):
    first = promote()
    loader = PredictorLoader(registry)
    assert classifier_of(loader) == first.name
    under_way = loader.get()
    second = promote()
    assert classifier_of(loader) == second.name
    assert under_way.classifier_card.version == first.name, "a prediction under way ends with its own model"
    registry.rollback("classification", "test")
    assert classifier_of(loader) == first.name
    assert loader.problems() == []


def test_nothing_is_loaded_again_while_nothing_happens(registry, promote):
    promote()
    loader = PredictorLoader(registry)
    assert loader.get() is loader.get()


def test_an_outliner_comes_into_use_without_the_classifier_being_loaded_again(registry, promote, models):
    promote()
    loader = PredictorLoader(registry)
    loader.get()
    version = registry.submit(
        models / "outliner", parent=None, data_fingerprint="", configuration={}, who="test"
    )
    (registry.in_use("classification").folder / "weights.safetensors").unlink()
    registry.promote(version, "for the test", "test")
    assert loader.get().outliner_card.version == version.name
    assert loader.problems() == []


def test_tampered_weights_are_refused_the_version_before_serves_on_and_it_is_told(registry, promote, caplog):
    first = promote()
    loader = PredictorLoader(registry)
    assert classifier_of(loader) == first.name
    second = promote()
    weights = second.folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert classifier_of(loader) == first.name
    (refused, instead) = loader.state()["problems"]
    assert f"{weights}: the SHA-256 of the weights is" in refused
    assert instead == "classification-0001 answers instead for classification."
    assert refused in caplog.text
    assert loader.state()["versions"]["classification"]["version"] == first.name


def test_a_log_that_is_out_of_reach_changes_nothing_until_it_is_back(registry, promote, caplog):
    """An absent log would otherwise mean the models that DermCheck came with."""
    first = promote()
    loader = PredictorLoader(registry)
    loader.get()
    away = registry.folder.rename(registry.folder.with_name("unmounted"))
    for _ in range(2):
        assert classifier_of(loader) == first.name
    assert "gone or out of reach" in loader.state()["problems"][0]
    assert caplog.text.count("gone or out of reach") == 1
    away.rename(registry.folder)
    assert classifier_of(loader) == first.name
    assert loader.state()["problems"] == []
    assert classifier_of(loader) == first.name
    second = promote()
    assert classifier_of(loader) == second.name


def test_a_mistake_of_ours_while_exchanging_fails_no_prediction(registry, promote, monkeypatch, caplog):
    first = promote()
    loader = PredictorLoader(registry)
    loader.get()
    monkeypatch.setattr(ModelVersion, "open", lambda self: 1 / 0)
    promote()
    assert classifier_of(loader) == first.name
    assert "ZeroDivisionError" in loader.problems()[0]
    assert "Traceback" in caplog.text


def test_asking_for_the_state_begins_an_exchange_that_is_due(registry, promote):
    promote()
    loader = PredictorLoader(registry)
    loader.get()
    second = promote()
    until = time.monotonic() + 60
    while loader.state()["versions"]["classification"]["version"] != second.name:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_the_state_waits_for_nothing(tmp_path):
    loader = PredictorLoader(tmp_path)
    assert loader.state() == {"versions": {}, "problems": [], "backend": None}


def test_many_threads_predict_while_versions_come_and_go(registry, promote, pixels):
    """None fails, each names a version that was in use, and two versions are never mixed in one answer."""
    names = [promote().name for _ in range(2)]
    loader = PredictorLoader(registry)
    loader.get()
    picture, stop = pixels(), threading.Event()

    def predict_until_the_end() -> set[str]:
        seen = set()
        while not stop.is_set():
            seen.add(loader.get().predict(picture).classifier.version)
        return seen

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(predict_until_the_end) for _ in range(4)]
        for _ in range(3):
            registry.rollback("classification", "test")
            assert classifier_of(loader) == names[0]
            registry.promote(names[1], "for the test", "test")
            assert classifier_of(loader) == names[1]
        stop.set()
        seen = set().union(*(each.result() for each in running))
    assert seen == set(names)
