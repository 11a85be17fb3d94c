"""The gate's rule on made-up answers; `test_competition` lets real models answer."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from dermcheck.errors import ArgumentError
from dermcheck.lesions import CLASSES
from dermcheck.registry.gate import LEAST_LESIONS, LEAST_MELANOMAS, decide
from dermcheck.registry.paired_bootstrap import compare_balanced_accuracy, compare_means

MELANOMA = CLASSES.index("mel")


@dataclass(frozen=True, eq=False)
class Answers:
    image_id: np.ndarray
    lesion_id: np.ndarray
    truth: np.ndarray
    decision: np.ndarray
    jaccard: np.ndarray


def answers(truth, decision=None, lesion_id=None, jaccard=None) -> Answers:
    truth = np.asarray(truth, np.int64)
    names = np.array([f"image {number}" for number in range(len(truth))])
    return Answers(
        image_id=names,
        lesion_id=names if lesion_id is None else np.asarray(lesion_id),
        truth=truth,
        decision=truth if decision is None else np.asarray(decision, np.int64),
        jaccard=np.ones(len(truth)) if jaccard is None else np.asarray(jaccard, float),
    )


@pytest.fixture
def truth() -> np.ndarray:
    """Many naevi, thirty of each other class."""
    return np.repeat(np.arange(7), [30, 30, 30, 30, 30, 300, 30])


def wrong(truth: np.ndarray, rows: np.ndarray) -> np.ndarray:
    decision = truth.copy()
    decision[rows] = (decision[rows] + 1) % 7
    return decision


def test_missing_a_single_melanoma_more_is_too_many(truth):
    """Balanced accuracy would be equal within the margin."""
    missed = np.flatnonzero(truth == MELANOMA)[:1]
    decision = decide("classification", answers(truth, wrong(truth, missed)), answers(truth))
    assert not decision.promoted
    assert decision.figures["balanced_accuracy"]["low"] > -0.03
    assert "melanoma found in 29 of 30 photographs, by the model in use in 30" in decision.reason


def test_finding_other_melanomas_than_the_model_in_use_is_as_good(truth):
    rows = np.flatnonzero(truth == MELANOMA)
    decision = decide(
        "classification", answers(truth, wrong(truth, rows[:3])), answers(truth, wrong(truth, rows[-3:]))
    )
    assert decision.promoted


def test_calling_everything_melanoma_does_not_pass(truth):
    candidate = answers(truth, np.full(len(truth), MELANOMA))
    assert not decide("classification", candidate, answers(truth)).promoted


def test_a_difference_that_may_be_chance_is_refused_where_the_photographs_are_few(truth):
    """Two dermatofibromas of thirty: 0.01 of balanced accuracy, but perhaps as much as 0.02."""
    rows = np.flatnonzero(truth == CLASSES.index("df"))[:2]
    candidate = answers(truth, wrong(truth, rows))
    assert decide("classification", candidate, answers(truth)).promoted
    assert not decide("classification", candidate, answers(truth), margin=0.01).promoted


def test_photographs_of_one_lesion_are_one_piece_of_evidence(truth):
    """A hundred photographs of nine melanomas are nine melanomas."""
    few = np.concatenate([truth[truth != MELANOMA], np.full(100, MELANOMA)])
    lesion_id = [f"{number}" for number in range(len(few) - 100)] + [
        f"mel {number % 9}" for number in range(100)
    ]
    decision = decide("classification", answers(few, lesion_id=lesion_id), answers(few, lesion_id=lesion_id))
    assert not decision.promoted
    assert f"9 melanomas among them; at least 50 and {LEAST_MELANOMAS} are needed" in decision.reason


def test_a_class_that_nobody_photographed_is_told(truth):
    present = truth[truth != CLASSES.index("vasc")]
    decision = decide("classification", answers(present), answers(present))
    assert decision.promoted
    assert "without vasc, of which there is no photograph" in decision.reason


@pytest.mark.parametrize(("lower", "promoted"), [(0.0, True), (0.005, True), (0.02, False)])
def test_an_outliner_may_be_lower_by_less_than_the_margin(lower, promoted):
    before = np.linspace(0.6, 0.95, 60)
    candidate, current = answers(np.zeros(60), jaccard=before - lower), answers(np.zeros(60), jaccard=before)
    assert decide("segmentation", candidate, current).promoted is promoted


def test_too_few_outlines_decide_nothing():
    few = answers(np.zeros(LEAST_LESIONS["segmentation"] - 1))
    decision = decide("segmentation", few, few)
    assert not decision.promoted
    assert "19 lesions; at least 20 are needed" in decision.reason


def test_answers_to_different_photographs_or_by_different_truths_cannot_be_compared(truth):
    with pytest.raises(ArgumentError, match="different photographs"):
        decide("classification", answers(truth), answers(truth[1:]))
    with pytest.raises(ArgumentError, match="different diagnoses"):
        decide("classification", answers(truth), answers(truth[::-1]))


@pytest.mark.parametrize("margin", [-0.1, 1.5, float("nan")])
def test_an_impossible_margin_is_refused(truth, margin):
    with pytest.raises(ArgumentError, match="margin of the gate"):
        decide("classification", answers(truth), answers(truth), margin=margin)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_the_compared_figures_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth, first, second = rng.integers(0, 7, (3, 80))
    lesion_id = rng.integers(0, 30, 80).astype(str)
    found = compare_balanced_accuracy(truth, first, second, lesion_id)
    # A class that was decided for, but is not there, is none of balanced accuracy's.
    assert found.candidate == pytest.approx(balanced_accuracy_score(truth, first))
    assert found.current == pytest.approx(balanced_accuracy_score(truth, second))
    assert found.low <= found.difference <= found.high


def test_the_interval_is_that_of_a_bootstrap_written_out():
    rng = np.random.default_rng(0)
    lesion_id = rng.integers(0, 40, 120).astype(str)
    first, second = rng.random((2, 120))
    lesions = np.unique(lesion_id)
    drawn = []
    for _ in range(4000):
        rows = np.concatenate([np.flatnonzero(lesion_id == each) for each in rng.choice(lesions, 40)])
        drawn.append(first[rows].mean() - second[rows].mean())
    found = compare_means(first, second, lesion_id)
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.05, 0.95]), abs=0.006)


def test_equal_models_differ_by_nothing_at_all():
    values = np.random.default_rng(0).random(50)
    found = compare_means(values, values, np.arange(50).astype(str))
    assert (found.low, found.difference, found.high) == (0, 0, 0)
