import numpy as np
import pytest
from PIL import Image, ImageDraw

from dermcheck.active_learning.scoring import (
    model_key,
    mutual_information,
    outline_disagreement,
    score_photographs,
)
from dermcheck.inference import Predictor


@pytest.fixture(scope="module")
def predictor(models):
    return Predictor.load(models, backend="torch")


@pytest.fixture
def photograph():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def test_the_scores_of_a_photograph_are_those_of_its_prediction(predictor, photograph):
    [scores] = score_photographs(predictor, [photograph])
    report = predictor.predict(photograph)
    np.testing.assert_allclose(scores.probabilities, list(report.probabilities.values()), atol=1e-4)
    assert scores.decision == report.decision.index
    assert scores.entropy == pytest.approx(report.uncertainty, abs=1e-4)
    first, second = np.sort(scores.probabilities)[:-3:-1]
    assert scores.margin == pytest.approx(first - second)
    assert scores.embedding.shape == (64,)
    assert scores.not_a_lesion == 0  # the test's card has no check


def test_views_are_laid_over_each_other_before_they_are_compared():
    """A clear lesion in a corner: its outlines would not overlap at all if they were not turned back."""
    photo = Image.new("RGB", (300, 220), (214, 168, 150))
    ImageDraw.Draw(photo).ellipse((30, 25, 110, 95), fill=(96, 58, 44))
    clear = np.asarray(photo)
    noise = np.random.default_rng(0).integers(0, 256, clear.shape, np.uint8)
    sure, unsure = score_photographs(Predictor.load(backend="torch"), [clear, noise])
    assert 0 < sure.outline_disagreement < 0.2
    assert unsure.outline_disagreement > sure.outline_disagreement
    assert 0 < sure.class_disagreement < 1
    assert 0.9 < unsure.not_a_lesion <= 1


def test_a_photograph_that_looks_alike_from_all_sides_has_no_disagreement(predictor):
    grey = np.full((64, 64, 3), 128, np.uint8)
    [scores] = score_photographs(predictor, [grey])
    assert scores.class_disagreement == pytest.approx(0, abs=1e-6)


def test_photographs_of_several_sizes_are_scored_together_as_alone(predictor, photograph):
    others = [photograph, photograph[:17, :31], np.tile(photograph, (3, 1, 1))]
    together = score_photographs(predictor, others)
    for scores, pixels in zip(together, others, strict=True):
        [alone] = score_photographs(predictor, [pixels])
        np.testing.assert_allclose(scores.embedding, alone.embedding, atol=1e-4)
        assert scores.outline_disagreement == pytest.approx(alone.outline_disagreement, abs=1e-3)


def test_disagreements_have_their_limits():
    sure, other = np.eye(7)[0], np.eye(7)[1]
    flat = np.full(7, 1 / 7)
    assert mutual_information(np.stack([flat, flat, flat])) == pytest.approx(
        0, abs=1e-9
    )  # unsure, but always alike
    assert mutual_information(np.stack([sure, other, np.eye(7)[2]])) == pytest.approx(np.log(3) / np.log(7))
    inside = np.full((4, 4), 20, np.float32)
    assert outline_disagreement(np.stack([inside, inside, inside])) == pytest.approx(0, abs=1e-9)
    assert outline_disagreement(np.stack([-inside, -inside, -inside])) == pytest.approx(
        0, abs=1e-9
    )  # all find nothing
    assert outline_disagreement(np.stack([inside, -inside, -inside])) == pytest.approx(2 / 3, abs=1e-6)


def test_the_key_of_the_models_depends_on_weights_and_the_clinics_mix_of_diagnoses():
    prior = (0.02, 0.04, 0.12, 0.01, 0.01, 0.79, 0.01)
    keys = {
        model_key("a", "b"),
        model_key("a", "c"),
        model_key("b", "a"),
        model_key("a", "b", prior),
        model_key("a", "b", prior[::-1]),
    }
    assert len(keys) == 5
    assert model_key("a", "b", prior) == model_key("a", "b", list(prior))
