"""Figures and their intervals; every formula against scikit-learn's or MONAI's."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from dermcheck.lesions import CLASSES
from dermcheck.training.evaluation import (
    bootstrap,
    classification_figures,
    expected_calibration_error,
    outline_figures,
    specificity_at_sensitivity,
)
from dermcheck.training.evaluation.statistics import area_under_curve, balanced_accuracy, mean, specificity_at

MELANOMA = CLASSES.index("mel")


@pytest.fixture(scope="module")
def answers():
    """Probabilities, decisions and diagnoses of 600 photographs of 200 lesions; scores with many ties."""
    chance = np.random.default_rng(0)
    truth = chance.integers(0, 7, 600)
    logits = chance.normal(0, 1, (600, 7)) + 1.5 * (truth[:, None] == np.arange(7))
    probability = np.round(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), 2) + 1e-3
    probability /= probability.sum(1, keepdims=True)
    return probability, logits.argmax(1), truth, np.arange(600) // 3


@pytest.fixture(scope="module")
def figures(answers):
    probability, decision, truth, lesion = answers
    return {
        name: f.value
        for name, f in classification_figures(probability, decision, truth, lesion.astype(str)).items()
    }


def test_figures_equal_those_of_scikit_learn(answers, figures):
    probability, decision, truth, _ = answers
    assert figures["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, decision))
    assert figures["macro_auc"] == pytest.approx(roc_auc_score(truth, probability, multi_class="ovr"))
    recalls = recall_score(truth, decision, average=None)
    for i, name in enumerate(CLASSES):
        assert figures[f"auc_{name}"] == pytest.approx(roc_auc_score(truth == i, probability[:, i]))
        assert figures[f"sensitivity_{name}"] == pytest.approx(recalls[i])
        (true_negative, false_positive), _ = confusion_matrix(truth == i, decision == i)
        assert figures[f"specificity_{name}"] == pytest.approx(
            true_negative / (true_negative + false_positive)
        )


def test_brier_score_is_the_sum_over_classes_of_scikit_learns(answers, figures):
    probability, _, truth, _ = answers
    by_class = [brier_score_loss(truth == i, probability[:, i]) for i in range(7)]
    assert figures["brier_score"] == pytest.approx(sum(by_class))


@pytest.mark.parametrize("sensitivity", [0.5, 0.8, 0.95, 1.0])
def test_specificity_is_read_off_the_roc_curve(answers, sensitivity):
    probability, _, truth, _ = answers
    positive, score = truth == MELANOMA, probability[:, MELANOMA]
    false, true, _ = roc_curve(positive, score, drop_intermediate=False)
    expected = 1 - false[true >= sensitivity].min()
    assert specificity_at_sensitivity(positive, score, sensitivity) == pytest.approx(expected)


def test_a_draw_weighs_photographs_as_if_they_were_repeated(answers):
    probability, decision, truth, _ = answers
    times = np.random.default_rng(1).integers(0, 4, 600)
    rows = np.repeat(np.arange(600), times)
    positive, score = truth == MELANOMA, probability[:, MELANOMA]
    weights = times[None].astype(float)
    false, true, _ = roc_curve(positive[rows], score[rows], drop_intermediate=False)
    assert area_under_curve(positive, score)(weights)[0] == pytest.approx(
        roc_auc_score(positive[rows], score[rows])
    )
    assert balanced_accuracy(decision, truth)(weights)[0] == pytest.approx(
        balanced_accuracy_score(truth[rows], decision[rows])
    )
    assert specificity_at(positive, score, 0.9)(weights)[0] == pytest.approx(1 - false[true >= 0.9].min())


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    probability = np.tile([0.8, 0.2], (10, 1))
    assert expected_calibration_error(probability, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.3)
    assert expected_calibration_error(probability, np.array([0] * 8 + [1] * 2)) == pytest.approx(0)


def test_calibration_error_equals_a_sum_over_bins(answers):
    probability, _, truth, _ = answers
    sure, right = probability.max(1), probability.argmax(1) == truth
    edges = np.linspace(0, 1, 16)
    expected = 0.0
    for low, high in pairwise(edges):
        inside = (sure >= low) & ((sure < high) | (high == 1))
        if inside.any():
            expected += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
    assert expected_calibration_error(probability, truth) == pytest.approx(expected)


def test_interval_widens_when_photographs_belong_to_few_lesions():
    value = np.random.default_rng(0).normal(size=400)
    value[:] = np.repeat(value[:20], 20)  # twenty photographs of a lesion are all alike
    alone = bootstrap(mean(value), np.arange(400).astype(str))
    together = bootstrap(mean(value), np.repeat(np.arange(20), 20).astype(str))
    assert alone.value == pytest.approx(together.value)
    assert together.high - together.low > 3 * (alone.high - alone.low)


def test_bootstrap_resamples_whole_lesions():
    seen = set()

    def statistic(weights):
        seen.update(map(tuple, weights.astype(int).tolist()))
        return weights[:, 0]

    bootstrap(statistic, np.array(["a", "a", "b"]), draws=50)
    assert seen == {(2, 2, 0), (1, 1, 1), (0, 0, 2)}


def test_interval_covers_the_truth_about_as_often_as_it_says():
    chance = np.random.default_rng(3)
    covered = 0
    for seed in range(150):
        hits = chance.random(120) < 0.7
        figure = bootstrap(mean(hits), np.arange(120).astype(str), draws=300, seed=seed)
        covered += figure.low <= 0.7 <= figure.high
    assert 0.89 <= covered / 150 <= 0.99


def test_perfect_probabilities_give_perfect_figures():
    truth = np.tile(np.arange(7), 10)
    probability = np.full((70, 7), 0.001)
    probability[np.arange(70), truth] = 0.994
    figures = classification_figures(probability, truth, truth, np.arange(70).astype(str))
    for name in ("balanced_accuracy", "macro_auc", "melanoma_auc", "melanoma_sensitivity"):
        assert figures[name].value == 1
    assert figures["expected_calibration_error"].value == pytest.approx(0.006)


def test_missing_classes_give_no_figure_and_no_warning():
    truth = np.array([4, 5] * 20)
    probability = np.full((40, 7), 1 / 7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = classification_figures(probability, truth, truth, np.arange(40).astype(str))
    assert figures["balanced_accuracy"].value == 1
    assert np.isnan(figures["auc_df"].value)
    assert figures["auc_df"].to_json() == {"value": None, "interval95": [None, None]}


def test_thresholded_jaccard_counts_failures_as_zero():
    figures = outline_figures(np.array([0.9, 0.64, 0.65]), np.array(["a", "b", "c"]))
    assert figures["jaccard"].value == pytest.approx(0.73)
    assert figures["thresholded_jaccard"].value == pytest.approx((0.9 + 0.65) / 3)
