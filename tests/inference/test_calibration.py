import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dermcheck.inference import calibrated_probabilities, decide, normalised_entropy
from dermcheck.lesions import CLASSES
from dermcheck.networks import Calibration

EQUAL = (1 / 7,) * 7
logits_of_seven = arrays(np.float64, st.tuples(st.integers(1, 5), st.just(7)), elements=st.floats(-50, 50))
priors = st.lists(st.floats(0.01, 1), min_size=7, max_size=7).map(
    lambda shares: tuple(share / sum(shares) for share in shares)
)


def test_the_rule_agrees_with_a_calculation_by_hand():
    # Seven logits of which two matter: log 8 for mel, log 9 for nv, and -infinitely little else.
    logits = [-1000.0] * 7
    mel, nv = CLASSES.index("mel"), CLASSES.index("nv")
    logits[mel], logits[nv] = 2 * math.log(8), 2 * math.log(9)
    training = tuple({mel: 0.2, nv: 0.3}.get(i, 0.1) for i in range(7))
    natural = tuple({mel: 0.05, nv: 0.7}.get(i, 0.05) for i in range(7))
    calibration = Calibration(temperature=2.0, training_prior=training, natural_prior=natural)

    probabilities = calibrated_probabilities(logits, calibration)

    # Temperature 2 leaves odds 8 : 9; times natural / training: 8 * 0.25 = 2 against 9 * 7/3 = 21.
    assert probabilities[mel] == pytest.approx(2 / 23, rel=1e-12)
    assert probabilities[nv] == pytest.approx(21 / 23, rel=1e-12)
    # A naevus is likelier, but melanoma stands out more: (2/23) / 0.05 = 1.74 against (21/23) / 0.7 = 1.30.
    assert decide(probabilities, calibration) == mel
    entropy = -(2 / 23) * math.log(2 / 23) - (21 / 23) * math.log(21 / 23)
    assert normalised_entropy(probabilities) == pytest.approx(entropy / math.log(7), rel=1e-12)


@given(logits=logits_of_seven)
def test_temperature_one_and_equal_priors_give_the_softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    softmax = powers / powers.sum(1, keepdims=True)
    np.testing.assert_allclose(calibrated_probabilities(logits, Calibration.identity()), softmax, atol=1e-12)


@given(logits=logits_of_seven, training=priors, natural=priors, temperature=st.floats(0.2, 5))
def test_probabilities_are_positive_and_sum_to_one(logits, training, natural, temperature):
    calibration = Calibration(temperature=temperature, training_prior=training, natural_prior=natural)
    probabilities = calibrated_probabilities(logits, calibration)
    assert probabilities.dtype == np.float64
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=0, atol=1e-12)


@given(logits=logits_of_seven, prior=priors)
def test_equal_training_and_natural_priors_change_nothing(logits, prior):
    same = Calibration(temperature=1.0, training_prior=prior, natural_prior=prior)
    expected = calibrated_probabilities(logits, Calibration.identity())
    np.testing.assert_allclose(calibrated_probabilities(logits, same), expected, atol=1e-12)


@given(logits=logits_of_seven, training=priors, natural=priors, shift=st.floats(-30, 30))
def test_a_constant_added_to_all_logits_changes_nothing(logits, training, natural, shift):
    calibration = Calibration(temperature=1.5, training_prior=training, natural_prior=natural)
    np.testing.assert_allclose(
        calibrated_probabilities(logits + shift, calibration),
        calibrated_probabilities(logits, calibration),
        atol=1e-9,
    )


@given(
    # Whole multiples of 1/8 never tie by rounding alone.
    logits=st.lists(st.integers(-40, 40), min_size=7, max_size=7, unique=True).map(lambda v: np.array(v) / 8),
    training=priors,
    natural=priors,
)
def test_the_decision_does_not_depend_on_how_frequent_classes_are_meant_to_be(logits, training, natural):
    adjusted = logits - np.log(training)
    order = np.sort(adjusted)
    if order[-1] - order[-2] < 1e-9:
        return
    calibration = Calibration(temperature=1.0, training_prior=training, natural_prior=natural)
    probabilities = calibrated_probabilities(logits, calibration)
    assert decide(probabilities, calibration) == adjusted.argmax()


def test_a_higher_temperature_is_less_sure():
    logits = [3.0, 1, 0, 0, 0, 0, 0]
    uncertainty = [
        float(
            normalised_entropy(
                calibrated_probabilities(
                    logits, Calibration(temperature=t, training_prior=EQUAL, natural_prior=EQUAL)
                )
            )
        )
        for t in (0.5, 1, 2, 4)
    ]
    assert uncertainty == sorted(uncertainty)
    assert uncertainty[0] < uncertainty[-1]


def test_uncertainty_is_zero_when_sure_and_one_without_any_idea():
    assert normalised_entropy([0, 0, 1, 0, 0, 0, 0]) == 0
    assert normalised_entropy(EQUAL) == pytest.approx(1)


@given(logits=logits_of_seven)
def test_uncertainty_lies_between_zero_and_one(logits):
    uncertainty = normalised_entropy(calibrated_probabilities(logits, Calibration.identity()))
    assert ((uncertainty >= 0) & (uncertainty <= 1)).all()


@pytest.mark.parametrize("logits", [[1.0] * 6, [float("nan")] * 7, [float("inf")] + [0.0] * 6])
def test_logits_that_mean_nothing_are_refused(logits):
    with pytest.raises(ValueError, match="expected 7 finite numbers"):
        calibrated_probabilities(logits, Calibration.identity())
