import csv

import numpy as np
import pytest
import torch
from torch import nn

from dermcheck.training.classification import sampling_prior, train_classifier
from dermcheck.training.fitting import Schedule, TrainingError, fastest_precision, fit
from dermcheck.training.segmentation import jaccard_indices, train_outliner


class ColourClassifier(nn.Module):
    """The smallest network that can tell the drawn classes apart."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, 4, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten()
        )
        self.head = nn.Linear(16, 7)

    def forward(self, pixels):
        return self.head(self.features(pixels))


SHORT = Schedule(epochs=2, sides=(32,), batch=16, rate=1e-2, warm_up=5, averaging=0.9)


def test_a_classifier_learns_and_logs_each_epoch(photographs, tmp_path):
    schedule = Schedule(epochs=20, sides=(32,), batch=16, rate=2e-2, warm_up=5, averaging=0.9)
    train_classifier(ColourClassifier(), photographs, schedule, tmp_path)
    with (tmp_path / "log.csv").open() as file:
        log = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in log] == list(range(1, 21))
    assert float(log[-1]["loss"]) < float(log[0]["loss"])
    assert float(log[-1]["macro_auc"]) > 0.8


def test_an_outliner_learns(photographs, tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 1, 1))
    schedule = Schedule(epochs=4, sides=(32,), batch=16, rate=2e-2, warm_up=5, averaging=0.8)
    trained = train_outliner(network, photographs, schedule, tmp_path)
    assert jaccard_indices(trained, photographs, photographs.rows(range(9, 10)), 64).mean() > 0.6


def test_a_stopped_run_ends_as_an_uninterrupted_one(photographs, tmp_path):
    def weights(folder, stop_after=None):
        torch.manual_seed(0)
        network = ColourClassifier()
        drawn = np.arange(64)
        steps = 0

        def loss(network, rows, side, generator):
            nonlocal steps
            steps += 1
            if stop_after is not None and steps > stop_after:
                raise KeyboardInterrupt
            pixels = torch.rand(len(rows), 3, side, side, generator=generator)
            return network(pixels).float().square().mean()

        trained = fit(
            network, SHORT, lambda epoch: drawn, loss, lambda network: {}, folder, 0.0, torch.float32
        )
        return {name: value.clone() for name, value in trained.state_dict().items()}

    whole = weights(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        weights(tmp_path / "stopped", stop_after=5)
    continued = weights(tmp_path / "stopped")
    for name, value in whole.items():
        torch.testing.assert_close(continued[name], value)


def test_a_loss_that_is_not_a_number_ends_the_run_in_words(tmp_path):
    with pytest.raises(TrainingError, match="loss became nan at step 0"):
        fit(
            ColourClassifier(),
            SHORT,
            lambda epoch: np.arange(32),
            lambda network, *_: next(network.parameters()).sum() * float("nan"),
            lambda network: {},
            tmp_path,
        )


def test_another_schedule_s_checkpoint_is_refused(photographs, tmp_path):
    train_classifier(ColourClassifier(), photographs, SHORT, tmp_path)
    other = Schedule(epochs=3, sides=(32,), batch=16)
    with pytest.raises(TrainingError, match="another schedule"):
        train_classifier(ColourClassifier(), photographs, other, tmp_path)


def test_timing_a_step_leaves_the_network_untouched():
    network = ColourClassifier()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fastest_precision(network, 32, 4)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_learning_rate_warms_up_and_falls_to_nothing():
    schedule = Schedule(epochs=1, sides=(32,), rate=1.0, warm_up=10)
    rates = [schedule.rate_at(step, 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert rates[1000] == pytest.approx(0)


def test_sampling_prior_lies_between_natural_and_flat():
    diagnosis = np.repeat(np.arange(7), [10, 10, 10, 10, 10, 1000, 10])
    prior = sampling_prior(diagnosis)
    assert prior.sum() == pytest.approx(1)
    assert 1 / 7 < prior[5] < 1000 / 1060


def test_a_teacher_s_opinion_reaches_the_student(photographs, tmp_path):
    torch.manual_seed(0)
    teacher = ColourClassifier().eval()
    nn.init.zeros_(teacher.head.weight)
    teacher.head.bias.data = torch.tensor([0.0, 0, 0, 8, 0, 0, 0])  # always says class 3
    schedule = Schedule(epochs=4, sides=(32,), batch=16, rate=2e-2, warm_up=5, averaging=0.8)
    student = train_classifier(
        ColourClassifier(), photographs, schedule, tmp_path, teacher, teacher_share=1.0
    )
    said = student(torch.rand(16, 3, 32, 32) * 2 - 1).argmax(1)
    assert (said == 3).all()
