"""A card may ask for the average over the quarter turns: then turned photographs get the same answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dermcheck.errors import ModelError
from dermcheck.inference import Classifier
from dermcheck.inference.backends import RunnableModel, choosing, open_runner

pytest.importorskip("openvino")
pytest.importorskip("onnxruntime")


@pytest.fixture
def turning_model(tiny_card):
    """A network in memory that sees the four quarter turns, and the same that sees a photograph once."""
    from dermcheck.networks import ARCHITECTURES

    once = tiny_card("classification")
    torch.manual_seed(0)
    network = ARCHITECTURES["tiny_classifier"].build().eval()
    return (network, replace(once, input=replace(once.input, quarter_turns=True))), (network, once)


@pytest.mark.parametrize("backend", ["torch", "openvino", "onnxruntime"])
def test_every_back_end_gives_turned_pictures_the_mean_of_their_single_answers(
    turning_model, export_cache, pictures, backend, monkeypatch
):
    monkeypatch.setattr(choosing, "openvino_precisions", lambda: ("f32",))
    turning, once = (open_runner(RunnableModel.of(each), backend, export_cache) for each in turning_model)
    upright, other = pictures((32, 32), (32, 32))
    turned = [np.ascontiguousarray(np.rot90(upright, quarters)) for quarters in range(4)]
    single = once.start(turned)()
    assert np.ptp([logits for logits, _ in single], axis=0).max() > 1e-3  # else the mean proves nothing
    answers = turning.start([*turned, other])()
    for logits, features in answers[:4]:
        np.testing.assert_allclose(logits, np.mean([one[0] for one in single], 0), atol=1e-5)
        np.testing.assert_allclose(features, np.mean([one[1] for one in single], 0), atol=1e-5)
    assert np.abs(answers[4][0] - answers[0][0]).max() > 1e-3


def test_evaluation_asks_as_the_product_does(turning_model, noise):
    pixels = noise(40, 40)
    turned = np.ascontiguousarray(np.rot90(pixels))
    turning, once = (Classifier(*each).logits([pixels, turned]) for each in turning_model)
    np.testing.assert_allclose(turning[0], turning[1], atol=1e-6)
    assert np.abs(once[0] - once[1]).max() > 1e-4
    assert np.abs(turning[0] - once[0]).max() > 1e-4


def test_only_squares_can_be_turned_by_quarters(tiny_card):
    card = tiny_card("segmentation")
    with pytest.raises(ModelError, match=r"input\.quarter_turns is True.*false with short_side"):
        replace(card, input=replace(card.input, quarter_turns=True))
