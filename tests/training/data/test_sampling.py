"""Drawing by class, and the prior that goes into the card."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermcheck.inference.calibration import calibrated_probabilities
from dermcheck.networks.cards import Calibration
from dermcheck.training.data import DataError, draw_rows, sampling_prior

DIAGNOSIS = np.repeat([-1, 0, 1, 2, 3, 4, 5, 6], [40, 10, 20, 40, 5, 60, 300, 8])


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_photographs_are_drawn_with_the_shares_of_the_prior(power):
    rows = np.arange(len(DIAGNOSIS))
    drawn = draw_rows(rows, DIAGNOSIS, power, np.random.default_rng(0), count=20_000)
    shares = np.bincount(DIAGNOSIS[drawn], minlength=7) / len(drawn)
    np.testing.assert_allclose(shares, sampling_prior(DIAGNOSIS, power), atol=0.012)


def test_all_of_a_class_are_drawn_alike():
    rows = np.flatnonzero(DIAGNOSIS >= 0)
    drawn = draw_rows(rows, DIAGNOSIS, 1.0, np.random.default_rng(0), count=70_000)
    times = np.bincount(drawn, minlength=len(DIAGNOSIS))[DIAGNOSIS == 3]
    np.testing.assert_allclose(times, 2000, rtol=0.1)


def test_only_the_rows_given_are_drawn_and_only_diagnosed_ones():
    rows = np.arange(0, len(DIAGNOSIS), 3)
    drawn = draw_rows(rows, DIAGNOSIS, 0.5, np.random.default_rng(0))
    assert set(drawn) <= set(rows)
    assert (DIAGNOSIS[drawn] >= 0).all()
    assert len(drawn) == (DIAGNOSIS[rows] >= 0).sum()


@given(counts=st.lists(st.integers(0, 1000), min_size=7, max_size=7).filter(any), power=st.floats(0, 1))
def test_the_prior_is_a_distribution_over_the_classes_that_occur(counts, power):
    prior = sampling_prior(np.repeat(np.arange(7), counts), power)
    assert prior.sum() == pytest.approx(1)
    np.testing.assert_array_equal(prior > 0, np.array(counts) > 0)


def test_no_power_leaves_classes_as_they_occur_and_full_power_makes_them_alike():
    known = DIAGNOSIS[DIAGNOSIS >= 0]
    np.testing.assert_allclose(sampling_prior(DIAGNOSIS, 0), np.bincount(known) / len(known))
    np.testing.assert_allclose(sampling_prior(DIAGNOSIS, 1), 1 / 7)


@pytest.mark.parametrize("power", [-0.1, 1.1, float("nan")])
def test_other_powers_are_refused(power):
    with pytest.raises(DataError, match=r"the sampling power is .*, expected 0"):
        sampling_prior(DIAGNOSIS, power)


def test_nothing_to_draw_is_refused():
    with pytest.raises(DataError, match="none of the photographs to train on has a diagnosis"):
        draw_rows(np.arange(3), np.full(3, -1), 0.5, np.random.default_rng(0))


def test_the_prior_is_undone_in_the_probabilities():
    """An ideal classifier of a balanced world gives, through the card, the probabilities of the real one."""
    chance = np.random.default_rng(0)
    likelihood = chance.dirichlet(np.ones(7), 50)  # of what is seen, given each class
    natural = np.bincount(DIAGNOSIS[DIAGNOSIS >= 0]) / (DIAGNOSIS >= 0).sum()
    prior = sampling_prior(DIAGNOSIS, 0.7)
    calibration = Calibration(temperature=1.0, training_prior=tuple(prior), natural_prior=tuple(natural))
    for seen in likelihood:
        expected = seen * natural / (seen * natural).sum()
        found = calibrated_probabilities(np.log(seen * prior), calibration)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
