"""The start model: trained on another data set, kept, and never on the simulated photographs."""

import numpy as np
import pytest
import torch
from PIL import Image

from dermcheck.active_learning.simulation import start_model
from dermcheck.active_learning.simulation.start_model import refuse_shared_photographs, train_start_model
from dermcheck.networks.efficientnet import EfficientNetLite0
from dermcheck.training.data import DataError, decode, open_data_set
from dermcheck.training.numerics import Numerics

NUMERICS = Numerics(torch.device("cpu"))


@pytest.fixture
def photographs(tmp_path):
    """16 dark discs with their outlines; the diagnosis of the last is not known."""
    folder = tmp_path / "data"
    (folder / "masks").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = ["image_id,dx"]
    across, down = np.meshgrid(np.arange(64), np.arange(64))
    for number in range(16):
        inside = (across - 32) ** 2 + (down - 30) ** 2 < (10 + number) ** 2
        pixels = np.where(inside[..., None], (90, 60, 50), (210, 170, 150)) + rng.integers(0, 9, (64, 64, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"p{number:02}.png")
        Image.fromarray(np.uint8(inside * 255)).save(folder / "masks" / f"p{number:02}_segmentation.png")
        if number < 15:
            rows.append(f"p{number:02},{('nv', 'mel')[number % 2]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return decode(open_data_set(folder), 64, tmp_path / "pictures", progress=False)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(start_model, "SIDE", 32)
    monkeypatch.setattr(start_model, "_STEPS", 3)
    monkeypatch.setattr(start_model, "_KEPT_EVERY", 1)
    monkeypatch.setattr(start_model, "load_start_network", lambda: (EfficientNetLite0(), "nothing"))


def test_a_training_that_is_stopped_goes_on_to_the_same_model(photographs, tmp_path, monkeypatch):
    whole = train_start_model(photographs, "discs", tmp_path / "a", NUMERICS, progress=False)
    assert whole.words == "EfficientNet-Lite0 trained on ImageNet, then on 16 photographs of discs"
    steps = []
    learn = start_model._Training.learn_from_a_batch

    def learn_and_be_stopped(training):
        if len(steps) == 2:
            raise KeyboardInterrupt
        steps.append(training.step)
        learn(training)

    monkeypatch.setattr(start_model._Training, "learn_from_a_batch", learn_and_be_stopped)
    with pytest.raises(KeyboardInterrupt):
        train_start_model(photographs, "discs", tmp_path / "b", NUMERICS, progress=False)
    monkeypatch.setattr(start_model._Training, "learn_from_a_batch", learn)
    resumed = train_start_model(photographs, "discs", tmp_path / "b", NUMERICS, progress=False)
    assert steps == [0, 1]
    for name, value in whole.decoder.items():
        torch.testing.assert_close(resumed.decoder[name], value)
    kept = train_start_model(photographs, "discs", tmp_path / "b", NUMERICS, progress=False)
    for name, value in resumed.network.state_dict().items():
        torch.testing.assert_close(kept.network.state_dict()[name], value, rtol=0, atol=0)


def test_photographs_of_the_simulation_are_refused(photographs):
    with pytest.raises(DataError, match="16 photographs of the start data are among the simulated ones"):
        refuse_shared_photographs(photographs, photographs)
