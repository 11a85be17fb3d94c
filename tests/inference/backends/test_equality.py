import numpy as np
import pytest

from dermcheck.inference.backends.equality import Difference, compare, drawn_pictures


def logits(*rows):
    return [(np.array([*row, 0, 0, 0, 0], np.float32),) for row in rows]


def test_equal_answers_hold(tiny_card):
    answers = logits((3, 1, 0), (0, 2, 0))
    difference = compare(tiny_card("classification"), answers, answers)
    assert difference == Difference(0.0, outlines=False)
    assert difference.holds(reduced=False)
    assert difference.holds(reduced=True)


def test_a_probability_that_moves_by_more_than_a_thousandth_is_not_float32(tiny_card):
    card = tiny_card("classification")
    near = compare(card, logits((1, 0, 0)), logits((1.001, 0, 0)))
    far = compare(card, logits((1, 0, 0)), logits((1.02, 0, 0)))
    assert near.holds(reduced=False)
    assert not far.holds(reduced=False)
    assert far.holds(reduced=True)


def test_one_other_decision_among_fewer_than_500_refuses_a_reduced_precision(tiny_card):
    same = logits(*[(3, 0, 0)] * 99)
    moved = compare(
        tiny_card("classification"), [*same, *logits((1, 0.999, 0))], [*same, *logits((0.999, 1, 0))]
    )
    assert moved.decisions == pytest.approx(0.99)
    assert moved.probability < 0.001
    assert not moved.holds(reduced=True)


def test_a_mask_that_shifts_refuses_a_reduced_precision(tiny_card):
    one, other = np.full((40, 40), -5, np.float32), np.full((40, 40), -5, np.float32)
    one[10:30, 10:30] = other[10:30, 11:31] = 5
    difference = compare(tiny_card("segmentation"), [(one,)], [(other,)])
    assert difference.jaccard == pytest.approx(19 / 21)
    assert not difference.holds(reduced=True)
    assert not difference.holds(reduced=False)


def test_an_outlines_edge_may_move_by_a_pixel_in_a_thousand(tiny_card):
    one = np.full((64, 64), 5, np.float32)
    other = one.copy()
    other[0, 0] = -0.1
    difference = compare(tiny_card("segmentation"), [(one,)], [(other,)])
    assert difference.holds(reduced=True)
    assert not difference.holds(reduced=False)


@pytest.mark.parametrize("wrong", [np.full(7, np.nan, np.float32), np.zeros(6, np.float32)])
def test_what_is_no_answer_never_holds(tiny_card, wrong):
    difference = compare(tiny_card("classification"), logits((1, 0, 0)), [(wrong,)])
    assert not difference.holds(reduced=False)
    assert not difference.holds(reduced=True)


def test_drawn_pictures_differ_and_have_the_sizes_of_usual_photographs(tiny_card):
    drawn = drawn_pictures(tiny_card("segmentation"), 6)
    assert [picture.shape[:2] for picture in drawn[:4]] == [(32, 32), (32, 48), (48, 32), (32, 72)]
    assert all(picture.dtype == np.float32 and 0 <= picture.min() < picture.max() <= 1 for picture in drawn)
    assert len({picture.tobytes() for picture in drawn}) == 6
    again = drawn_pictures(tiny_card("segmentation"), 6)
    assert all((one == other).all() for one, other in zip(drawn, again, strict=True))
