"""A batch by a registry's models uses one pair of them from its first row to its last."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dermcheck.batch import BatchSettings, Tally, run_batch
from dermcheck.errors import ArgumentError, ModelError
from dermcheck.registry import ModelVersion, Registry


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.open(tmp_path / "registry")


@pytest.fixture
def promote(registry: Registry) -> Callable[[Path], ModelVersion]:
    def run(candidate: Path) -> ModelVersion:
        version = registry.submit(candidate, parent=None, data_fingerprint="", configuration={}, who="test")
        registry.promote(version, "for the test", "test")
        return version

    return run


@pytest.fixture
def batch(tmp_path: Path, registry: Registry) -> Callable[..., Tally]:
    def run(*arguments: Callable[[Tally], object]) -> Tally:
        return run_batch(BatchSettings(tmp_path / "in", tmp_path / "out", registry), *arguments)

    return run


def test_the_versions_in_use_predict(tmp_path, batch, promote, models, other_models, draw_photo, read_table):
    draw_photo(tmp_path / "in/a.jpg")
    promote(models / "outliner")
    promote(other_models / "classifier")
    batch()
    rows = read_table(tmp_path / "out/predictions.csv")
    run_batch(BatchSettings(tmp_path / "in", tmp_path / "by folder", other_models))
    assert rows == read_table(tmp_path / "by folder/predictions.csv")


def test_a_version_that_comes_into_use_meanwhile_is_for_the_next_batch(
    tmp_path, batch, promote, models, other_models, draw_photo, read_table
):
    for seed in range(3):
        draw_photo(tmp_path / f"in/{seed}.jpg", seed)
    promote(models / "classifier")
    promote(models / "outliner")
    told = []

    def promote_before_the_models_are_loaded(tally: Tally) -> None:
        if not told:
            told.append(promote(other_models / "classifier").name)

    batch(promote_before_the_models_are_loaded)
    run_batch(BatchSettings(tmp_path / "in", tmp_path / "by folder", models))
    assert read_table(tmp_path / "out/predictions.csv") == read_table(tmp_path / "by folder/predictions.csv")
    with pytest.raises(
        ArgumentError, match=r"were made with classifier .*-0001.*, not .*classification-0002"
    ):
        batch()


def test_a_damaged_version_ends_the_batch_instead_of_another_model_predicting(
    tmp_path, batch, promote, models, draw_photo
):
    draw_photo(tmp_path / "in/a.jpg")
    version = promote(models / "classifier")
    (version.folder / "weights.safetensors").write_bytes(b"exchanged")
    with pytest.raises(ModelError, match="SHA-256"):
        batch()
