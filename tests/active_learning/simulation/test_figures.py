"""Figures of a study, from outcomes written by hand."""

import numpy as np
import pytest

from dermcheck.active_learning.simulation.figures import (
    Resamples,
    curve,
    labels_needed,
    needs_no_change,
    paired_difference,
    rare_share,
    score,
)
from dermcheck.active_learning.simulation.oracle import Oracle
from dermcheck.active_learning.simulation.runs import Outcome, RunKey, Runs
from dermcheck.active_learning.simulation.schedule import rounds
from dermcheck.errors import StorageError

TRUTH = np.array([0, 0, 0, 0, 1, 1])
LESIONS = np.array(["a", "a", "b", "c", "d", "e"])


def run_of(*answers, counts=(0, 0, 0, 0, 0, 10, 0)):
    return [Outcome(100 * (n + 1), np.array(a, float), counts) for n, a in enumerate(answers)]


def test_balanced_accuracy_weighs_classes_alike():
    assert score(np.array([0, 0, 0, 0, 1, 0.0]), TRUTH) == pytest.approx(0.75)
    assert score(np.array([0.5, 1.0]), None) == pytest.approx(0.75)


def test_the_labels_needed_lie_between_two_budgets_and_a_lucky_one_does_not_count():
    resamples = Resamples.draw(1, LESIONS[:2], 10)
    made = curve([run_of([0.5, 0.5], [0.7, 0.7], [0.6, 0.6], [0.9, 0.9])], None, resamples)
    assert labels_needed(made, 0.6) == pytest.approx(100 + 100 * 0.1 / 0.15)
    assert labels_needed(made, 0.95) == float("inf")


def test_a_strategy_that_is_better_on_every_photograph_is_beyond_the_paired_interval():
    resamples = Resamples.draw(2, LESIONS, 200)
    low = curve([run_of([0.1, 0.9, 0.5, 0.3, 0.2, 0.6])] * 2, None, resamples)
    high = curve([run_of([0.2, 1.0, 0.6, 0.4, 0.3, 0.7])] * 2, None, resamples)
    difference = paired_difference(high, low, 100)
    assert difference.low == pytest.approx(0.1)
    assert low.estimate(100).low < low.values[0] < low.estimate(100).high


def test_a_proposal_can_stay_where_both_the_class_and_the_outline_are_right():
    outcome = Outcome(5, np.array([0, 0, 1, 0, 1, 0.0]), (5,), np.array([0.95, 0.89, 0.99, 0.9, 0.5, 1.0]))
    np.testing.assert_array_equal(needs_no_change(outcome, TRUTH).answers, [1, 0, 0, 1, 0, 0])


def test_rare_classes_are_counted_among_the_first_labels():
    assert rare_share([run_of([0.0], counts=(2, 0, 0, 1, 0, 16, 1))], 100) == pytest.approx(0.2)


def test_an_oracle_errs_as_often_as_asked_and_sticks_to_its_answers():
    truth = np.zeros(4000, np.int64)
    noisy = Oracle(truth, 0.1, seed=3)
    assert (noisy.answers() != truth).mean() == pytest.approx(0.1, abs=0.02)
    np.testing.assert_array_equal(noisy.answers(), noisy.answers())
    np.testing.assert_array_equal(Oracle(truth).answers(), truth)


def test_every_budget_ends_a_round():
    ends = rounds([15, 50, 1000])
    assert {15, 50, 1000} <= set(ends)
    assert ends == sorted(set(ends))


def test_finished_runs_are_kept_and_one_cut_off_while_written_is_not(tmp_path):
    key = RunKey("class", "hybrid", 0)
    runs = Runs(tmp_path, {"data": "x"})
    runs.add(key, run_of([0.25, 1.0]))
    with (tmp_path / "runs.jsonl").open("a") as file:
        file.write('{"task": "class", "strat')
    again = Runs(tmp_path, {"data": "x"})
    assert list(again) == [key]
    np.testing.assert_array_equal(again[key][0].answers, [0.25, 1.0])
    again.add(RunKey("class", "random", 0), run_of([0.5, 0.5]))
    again.add(RunKey("proposal", "random", 0), [Outcome(9, np.ones(2), (9,), np.array([0.25, 0.9]))])
    third = Runs(tmp_path, {"data": "x"})
    assert len(list(third)) == 3
    np.testing.assert_array_equal(third[RunKey("proposal", "random", 0)][0].jaccard, [0.25, 0.9])


def test_another_study_in_the_folder_is_refused(tmp_path):
    Runs(tmp_path, {"data": "x", "report_folds": [9]})
    with pytest.raises(StorageError, match=r"holds another study \(report_folds differ\)"):
        Runs(tmp_path, {"data": "x", "report_folds": [8]})
