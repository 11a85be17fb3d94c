import csv
import os
import signal

import numpy as np
import pytest
import torch
from torch import nn

from dermcheck.errors import StorageError
from dermcheck.files import TEMPORARY_PREFIX
from dermcheck.training.configuration import Schedule
from dermcheck.training.fitting import TrainingError, TrainingStopped, fit
from dermcheck.training.numerics import Numerics
from dermcheck.training.progress import Progress, Reporter
from dermcheck.training.training_state import CHECKPOINT_NAME

PLAIN = Numerics(torch.device("cpu"))
SHORT = Schedule(epochs=2, sides=(32,), batch=16, rate=1e-2, warm_up=5, averaging=0.9)


class Noise:
    """A lesson of random pictures; its scores are told, and something may happen at a step."""

    key = "score"

    def __init__(self, scores=(), at_step=None, factor=1.0):
        self.scores, self.at_step, self.factor = list(scores), at_step or {}, factor
        self.steps = self.examined = 0

    def draw(self, epoch):
        return np.arange(64)

    def batch(self, rows, side, generator):
        return {"image": torch.rand(len(rows), 3, side, side, generator=generator)}

    def loss(self, network, batch, numerics):
        if happening := self.at_step.get(self.steps):
            happening()
        self.steps += 1
        return network(numerics.place(batch["image"])).square().mean() * self.factor

    def examine(self, network, numerics, stop):
        self.examined += 1
        return {"score": self.scores[self.examined - 1] if self.scores else 0.0}


@pytest.fixture
def run(make_classifier, tmp_path):
    """Train a small classifier on noise in the folder ``tmp_path / name``."""

    def start(lesson, name="run", schedule=SHORT, **options):
        options = {"numerics": PLAIN, "bar": False} | options
        return fit(make_classifier(), schedule, lesson, tmp_path / name, **options)

    return start


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_same(one, other):
    for name, value in weights(one).items():
        torch.testing.assert_close(value, other.state_dict()[name], rtol=0, atol=0, msg=name)


def log(folder):
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))


def end(number):
    return lambda: os.kill(os.getpid(), number)


def test_each_epoch_is_logged_with_its_figures_and_drawn(run, tmp_path):
    run(Noise([0.25, 0.5]))
    rows = log(tmp_path / "run")
    assert [(float(row["epoch"]), float(row["score"])) for row in rows] == [(1, 0.25), (2, 0.5)]
    assert 0 <= float(rows[0]["data_share"]) <= 1
    assert (tmp_path / "run/curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_weights(run):
    assert_same(run(Noise(), "one"), run(Noise(), "two"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_ends_as_an_uninterrupted_one(run, tmp_path, number):
    whole = run(Noise([0.1, 0.2]), "whole")
    with pytest.raises(TrainingStopped):
        run(Noise([0.1, 0.2], {5: end(number)}), "stopped")
    again = Noise([0.2])
    assert_same(whole, run(again, "stopped"))
    assert again.steps == 2  # of 8: two were left
    assert [row["score"] for row in log(tmp_path / "stopped")] == ["0.1", "0.2"]


def test_a_killed_run_goes_on_from_its_last_checkpoint(run, tmp_path):
    """What kill -9 leaves is what an exception leaves: nothing is written on the way out."""

    def killed():
        raise SystemError("killed")

    whole = run(Noise(), "whole")
    with pytest.raises(SystemError):
        run(Noise(at_step={6: killed}), "killed")
    (tmp_path / "killed" / f"{TEMPORARY_PREFIX}1-{CHECKPOINT_NAME}").write_bytes(b"half a checkp")
    again = Noise()
    assert_same(whole, run(again, "killed"))
    assert again.steps == 4  # the second epoch


def test_signals_are_as_before_after_training(run):
    before = signal.getsignal(signal.SIGTERM)
    run(Noise())
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_loss_that_is_not_a_number_ends_the_run_in_words(run, factor):
    with pytest.raises(TrainingError, match=r"loss became (nan|inf) at step 0.*--rate"):
        run(Noise(factor=factor))


def test_a_full_disk_ends_the_run_in_words_and_keeps_the_last_checkpoint(run, tmp_path, fill_disk):
    folder = tmp_path / "run"
    with pytest.raises(TrainingStopped):
        run(Noise(at_step={5: end(signal.SIGINT)}))
    before = (folder / CHECKPOINT_NAME).read_bytes()
    fill_disk(CHECKPOINT_NAME)
    with pytest.raises(StorageError, match="No space left on device"):
        run(Noise())
    assert (folder / CHECKPOINT_NAME).read_bytes() == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"schedule": Schedule(epochs=3, sides=(32,), batch=16)}, "another schedule.*epochs 2, now 3"),
        ({"identity": "other photographs"}, "other data or other settings"),
    ],
)
def test_another_run_s_checkpoint_is_refused(run, options, sentence):
    run(Noise())
    with pytest.raises(TrainingError, match=sentence):
        run(Noise(), **options)


def test_a_damaged_checkpoint_is_refused_in_words(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / CHECKPOINT_NAME).write_bytes(b"PK damaged")
    with pytest.raises(TrainingError, match="cannot be read"):
        run(Noise())


def test_training_stops_early_and_keeps_the_best_epoch(run, tmp_path):
    schedule = Schedule(epochs=9, sides=(32,), batch=16, rate=1e-2, averaging=0.0, patience=2)
    lesson = Noise([0.3, 0.6, 0.5, 0.4, 0.9])
    trained = run(lesson, schedule=schedule)
    assert lesson.examined == 4
    saved = torch.load(tmp_path / "run" / CHECKPOINT_NAME, weights_only=True)
    assert saved["best_epoch"] == 2
    assert_same(trained, type("", (), {"state_dict": lambda self: saved["best"]})())
    assert not torch.equal(saved["network"]["head.weight"], saved["best"]["head.weight"])


def test_a_score_that_is_not_a_number_is_never_the_best(run):
    reporter = Reporter(Progress(task="classification"))
    run(Noise([0.5, float("nan")]), reporter=reporter)
    assert reporter.progress.best_metric == 0.5


def test_progress_is_reported(run):
    seen = []
    run(Noise([0.1, 0.7]), reporter=Reporter(Progress(task="classification"), [seen.append]))
    assert seen[0].phase == "training"
    assert (seen[-1].epoch, seen[-1].total_epochs) == (2, 2)
    assert (seen[-1].metric, seen[-1].best_metric, seen[-1].seconds_left) == ("score", 0.7, 0.0)


def test_frozen_layers_keep_weights_and_batch_statistics(run, make_classifier, tmp_path):
    network = make_classifier()
    network.features.requires_grad_(False)
    before = weights(network)
    trained = fit(network, SHORT, Noise(), tmp_path, numerics=PLAIN, bar=False)
    for name, value in weights(trained).items():
        assert torch.equal(value, before[name]) == name.startswith("features"), name


class Dropping(nn.Module):
    """A network with random choices of its own."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 32 * 32, 7))

    def forward(self, pixels):
        return self.layer(pixels)


def test_dropout_too_is_the_same_after_a_stop(tmp_path):
    def trained(folder, lesson):
        torch.manual_seed(0)
        return fit(Dropping(), SHORT, lesson, tmp_path / folder, numerics=PLAIN, bar=False)

    whole = trained("whole", Noise())
    with pytest.raises(TrainingStopped):
        trained("stopped", Noise(at_step={5: end(signal.SIGINT)}))
    torch.rand(7)  # somebody else draws
    assert_same(whole, trained("stopped", Noise()))
