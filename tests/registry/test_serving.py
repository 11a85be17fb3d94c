import pytest

from dermcheck.errors import ModelError
from dermcheck.registry.serving import load_serving


@pytest.fixture
def promote(registry, make_classifier):
    """Put one classifier after another into use."""

    def run():
        version = registry.submit(
            make_classifier(), parent=None, data_fingerprint="", configuration={}, who="test"
        )
        registry.promote(version, "for the test", "test")
        return version

    return run


def damage(version):
    (version.folder / "weights.safetensors").write_bytes(b"exchanged")


def test_the_versions_in_use_answer_under_their_own_names(registry, promote):
    version = promote()
    serving = load_serving(registry)
    assert serving.versions["classification"].name == version.name
    assert serving.versions["segmentation"].is_reference
    assert serving.predictor.classifier_card.version == version.name
    assert serving.problems == ()


def test_a_damaged_version_is_told_and_the_one_before_answers(registry, promote):
    first, second = promote(), promote()
    damage(second)
    serving = load_serving(registry)
    assert serving.versions["classification"].name == first.name
    assert "classification-0002 cannot be used" in serving.problems[0]
    assert serving.problems[1] == "classification-0001 answers instead for classification."


def test_of_several_damaged_ones_the_first_sound_one_answers(registry, promote):
    versions = [promote() for _ in range(3)]
    damage(versions[2])
    damage(versions[1])
    assert load_serving(registry).versions["classification"].name == versions[0].name


def test_a_version_that_was_left_for_a_damaged_one_does_not_answer_again(registry, promote):
    """Whoever rolls back had a reason; the next version down the line answers, not the one that was left."""
    first, second, third = promote(), promote(), promote()
    serving = load_serving(registry)
    assert serving.versions["classification"].name == third.name
    registry.rollback("classification", "test")
    damage(second)
    assert load_serving(registry, serving).versions["classification"].name == first.name


def test_what_stays_in_use_is_not_loaded_again_and_needs_no_files(registry, promote, make_outliner):
    classifier = promote()
    before = load_serving(registry)
    damage(classifier)
    outliner = registry.submit(
        make_outliner(0), parent=None, data_fingerprint="", configuration={}, who="test"
    )
    registry.promote(outliner, "for the test", "test")
    after = load_serving(registry, before)
    assert after.loaded["classification"] is before.loaded["classification"]
    assert after.versions["segmentation"].name == outliner.name
    assert after.problems == ()


def test_without_any_sound_version_there_is_no_answer(registry, promote, monkeypatch, tmp_path):
    damage(promote())
    line = registry.line_of_use("classification")
    monkeypatch.setattr(type(registry), "line_of_use", lambda self, task: line[:1])
    with pytest.raises(ModelError, match=r"No version .* can be used"):
        load_serving(registry)
