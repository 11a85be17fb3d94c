"""A closer look: the square around the outline is half of a classifier's answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dermcheck.errors import ModelError
from dermcheck.inference import Classifier, Predictor
from dermcheck.inference.closer_look import Square, cut, square_around
from dermcheck.networks import load_model


def outline(rows: int, columns: int, top: int, left: int, height: int, width: int) -> np.ndarray:
    logits = np.full((rows, columns), -4.0, np.float32)
    logits[top : top + height, left : left + width] = 4
    return logits


@pytest.mark.parametrize(
    ("seen", "square"),
    [
        (outline(100, 100, 30, 50, 40, 45), Square(0.23, 0.455, 0.54)),
        (outline(100, 100, 40, 50, 2, 3), Square(0.21, 0.315, 0.4)),
        (outline(100, 100, 0, 80, 20, 20), Square(0, 0.6, 0.4)),
        (outline(100, 150, 20, 0, 60, 50), Square(0.14, 0, 0.72)),
        (outline(150, 100, 60, 0, 90, 100), Square(0.5, 0, 1)),
        (outline(100, 150, 0, 0, 0, 0), Square(0, 0.25, 1)),
    ],
    ids=["in the middle", "tiny", "in a corner", "at the left", "larger than a square", "no lesion"],
)
def test_the_square_lies_around_the_lesion_and_inside_the_photograph(
    seen: np.ndarray, square: Square
) -> None:
    found = square_around(seen)
    assert (found.top, found.left, found.side) == pytest.approx((square.top, square.left, square.side))


def test_islands_do_not_widen_the_square() -> None:
    seen = outline(100, 100, 30, 40, 40, 50)
    assert square_around(np.maximum(seen, outline(100, 100, 2, 2, 3, 3))) == square_around(seen)


def test_the_square_is_cut_at_any_scale() -> None:
    photograph = np.random.default_rng(0).integers(0, 256, (301, 450, 3), np.uint8)
    assert np.array_equal(cut(photograph, Square(0.1, 0.5, 0.4)), photograph[30:150, 150:270])
    assert cut(photograph, Square(0, 0.495, 1)).shape == (301, 301, 3)  # half a pixel outside is moved in
    assert cut(photograph[:1, :1], Square(0.6, 0.6, 0.4)).shape == (1, 1, 3)


@pytest.fixture
def looking_closer(random_models, plain_models):
    """A classifier of random weights whose card asks for a closer look, and what outlines bright places."""
    network, card = load_model(random_models / "classifier")
    spec = replace(card.input, quarter_turns=True, closer_look=True)
    return (network, replace(card, input=spec)), load_model(plain_models / "outliner")


@pytest.fixture
def photograph(noise):
    """A dark photograph of any size with a bright place in its lower right, half as wide as it is high."""

    def draw(rows: int, columns: int, seed: int = 0) -> np.ndarray:
        pixels = noise(rows, columns, seed) // 3
        side = rows // 2
        pixels[rows - side :, columns - side :] += 150
        return pixels

    return draw


@pytest.mark.parametrize("shape", [(300, 300), (300, 420), (900, 1300)])
def test_the_answer_is_the_mean_of_whole_and_square_in_two_turns_each(
    looking_closer, photograph, shape
) -> None:
    """Product and evaluation give what four single questions about pictures cropped by hand give."""
    (network, card), outliner = looking_closer
    pixels = photograph(*shape)
    predictor = Predictor((network, card), outliner, backend="torch")
    [computed] = predictor.compute([predictor.prepare(pixels)])
    square = cut(pixels, square_around(computed.outline))
    side = min(shape)
    assert square.shape[0] < side  # else whole and square would be one
    top, left = ((size - side) // 2 for size in shape)
    whole = pixels[top : top + side, left : left + side]
    by_hand = [np.rot90(whole), np.rot90(whole, 3), square, np.rot90(square, 2)]
    once = Classifier(
        network, replace(card, input=replace(card.input, quarter_turns=False, closer_look=False))
    )
    answers = once.answers([np.ascontiguousarray(each) for each in by_hand])
    logits, features = (torch.stack(parts).mean(0).numpy() for parts in zip(*answers, strict=True))
    spread = np.ptp([answer[0].numpy() for answer in answers], axis=0).max()
    assert np.abs(computed.logits - logits).max() < 0.02 * spread
    np.testing.assert_allclose(computed.features, features, atol=0.02 * features.std())
    [evaluated] = Classifier(network, card, outliner=outliner).answers([pixels])
    np.testing.assert_allclose(evaluated[0], computed.logits, atol=1e-5)
    np.testing.assert_allclose(evaluated[1], computed.features, atol=1e-5)


def test_every_photograph_of_a_batch_gets_its_own_square(looking_closer, photograph) -> None:
    predictor = Predictor(*looking_closer, backend="torch")
    photographs = [photograph(200, 200, 1), photograph(260, 200, 2), photograph(200, 300, 3)]
    together = predictor.compute([predictor.prepare(pixels) for pixels in photographs])
    for pixels, computed in zip(photographs, together, strict=True):
        [alone] = predictor.compute([predictor.prepare(pixels)])
        np.testing.assert_allclose(computed.logits, alone.logits, atol=1e-5)


def test_a_classifier_that_looks_closer_needs_an_outliner(looking_closer) -> None:
    with pytest.raises(ModelError, match=r"looks closer at the lesion .*together with an outliner"):
        Classifier(*looking_closer[0])


def test_a_card_asks_for_a_closer_look_with_quarter_turns_only(looking_closer) -> None:
    spec = looking_closer[0][1].input
    with pytest.raises(ModelError, match=r"input\.closer_look is True.*with quarter_turns only"):
        replace(spec, quarter_turns=False)
