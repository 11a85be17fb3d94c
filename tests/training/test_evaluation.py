import numpy as np
import pytest

from dermcheck.training.evaluation import (
    bootstrap,
    classification_figures,
    expected_calibration_error,
    jaccard_index,
    outline_figures,
    specificity_at_sensitivity,
)


def test_interval_widens_when_photographs_belong_to_few_lesions():
    value = np.random.default_rng(0).normal(size=400)
    value[:] = np.repeat(value[:20], 20)  # twenty photographs of a lesion are all alike

    def mean(rows):
        return float(value[rows].mean())

    alone = bootstrap(mean, np.arange(400).astype(str))
    together = bootstrap(mean, np.repeat(np.arange(20), 20).astype(str))
    assert alone.value == together.value
    assert together.high - together.low > 3 * (alone.high - alone.low)


def test_bootstrap_resamples_whole_lesions():
    lesion = np.array(["a", "a", "b"])
    seen = set()
    bootstrap(lambda rows: seen.add(tuple(np.bincount(rows, minlength=3))) or 0.0, lesion, draws=50)
    assert seen == {(2, 2, 0), (1, 1, 1), (0, 0, 2)}


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    probability = np.tile([0.8, 0.2], (10, 1))
    assert expected_calibration_error(probability, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.3)
    assert expected_calibration_error(probability, np.array([0] * 8 + [1] * 2)) == pytest.approx(0)


def test_specificity_when_four_of_five_melanomas_are_found():
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.1, 0.65, 0.5, 0.4, 0.3])
    positive = np.array([True] * 5 + [False] * 4)
    assert specificity_at_sensitivity(positive, score, 0.8) == pytest.approx(3 / 4)
    assert specificity_at_sensitivity(positive, score, 1.0) == pytest.approx(0)


def test_perfect_probabilities_give_perfect_figures():
    truth = np.tile(np.arange(7), 10)
    probability = np.full((70, 7), 0.001)
    probability[np.arange(70), truth] = 0.994
    figures = classification_figures(probability, truth, truth, np.arange(70).astype(str))
    for name in ("balanced_accuracy", "macro_auc", "melanoma_auc", "melanoma_sensitivity"):
        assert figures[name].value == 1
    assert figures["expected_calibration_error"].value == pytest.approx(0.006)


def test_jaccard_of_masks_and_of_nothing():
    mask = np.zeros((4, 4), bool)
    mask[:2] = True
    other = np.zeros((4, 4), bool)
    other[1:3] = True
    assert jaccard_index(mask, other) == pytest.approx(1 / 3)
    assert jaccard_index(mask & False, other & False) == 1


def test_thresholded_jaccard_counts_failures_as_zero():
    figures = outline_figures(np.array([0.9, 0.64, 0.65]), np.array(["a", "b", "c"]))
    assert figures["jaccard"].value == pytest.approx(0.73)
    assert figures["thresholded_jaccard"].value == pytest.approx((0.9 + 0.65) / 3)
