import csv

import numpy as np
import pytest
import torch
from torch import nn

from dermcheck.lesions import CLASSES
from dermcheck.training.classification import ClassificationLesson, class_figures
from dermcheck.training.configuration import Schedule
from dermcheck.training.fitting import fit
from dermcheck.training.mixing import draw_mixed, is_correction, mixed_weights, most_even
from dermcheck.training.numerics import Numerics

PLAIN = Numerics(torch.device("cpu"))


class Known(nn.Module):
    """A network that always answers the same logits."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits, dtype=torch.float32))

    def forward(self, pixels):
        return self.logits.expand(len(pixels), -1)


def test_a_classifier_learns(photographs, make_classifier, tmp_path):
    schedule = Schedule(epochs=20, sides=(32,), batch=16, rate=2e-2, warm_up=5, averaging=0.9)
    lesson = ClassificationLesson(photographs=photographs, seed=0, side=32)
    fit(make_classifier(), schedule, lesson, tmp_path)
    with (tmp_path / "log.csv").open() as file:
        log = list(csv.DictReader(file))
    assert float(log[-1]["loss"]) < float(log[0]["loss"])
    assert float(log[-1]["macro_auc"]) > 0.8


def test_only_folds_0_to_7_are_drawn(photographs):
    lesson = ClassificationLesson(photographs=photographs, seed=0)
    drawn = np.unique(np.concatenate([lesson.draw(epoch) for epoch in range(5)]))
    assert photographs.fold[drawn].max() == 7
    assert len(drawn) > 100


def test_the_figures_are_of_fold_8_alone(photographs):
    """A network that answers by image number shows which images it was asked about."""
    asked = []

    class Spy(nn.Module):
        def forward(self, pixels):
            asked.append(pixels)
            return torch.zeros(len(pixels), 7)

    lesson = ClassificationLesson(photographs=photographs, seed=0, side=64)
    lesson.examine(Spy(), PLAIN, type("", (), {"check": lambda self: None})())
    seen = ((torch.cat(asked) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(seen, photographs.images[photographs.rows(range(8, 9))])


def loss_of(lesson, logits, rows):
    batch = lesson.batch(rows, 32, torch.Generator().manual_seed(0))
    return lesson.loss(Known(logits), batch, PLAIN).item()


def test_from_scratch_the_loss_is_plain_cross_entropy(photographs):
    lesson = ClassificationLesson(photographs=photographs, seed=0, label_smoothing=0.0)
    logits = [0.0, 1, 2, 3, 4, 5, 6]
    rows = photographs.rows(range(8))[:7]
    expected = nn.functional.cross_entropy(torch.tensor([logits] * 7), torch.arange(7)).item()
    assert loss_of(lesson, logits, rows) == pytest.approx(expected, abs=1e-5)


def test_going_on_from_a_model_its_own_prior_is_the_best_answer_without_evidence(make_photographs):
    """Whatever is drawn, a network that sees nothing answers with the shares of its card."""
    photographs = make_photographs({"corrections": 70})
    photographs.diagnosis[:] = np.where(photographs.diagnosis < 5, 4, 5)  # nearly all are melanomas
    prior = np.array([0.05, 0.05, 0.1, 0.05, 0.1, 0.6, 0.05])
    lesson = ClassificationLesson(
        photographs=photographs, seed=0, label_smoothing=0.0, training_prior=prior, temperature=2.0,
        corrections_share=0.5, sampling_power=0.0,
    )  # fmt: skip
    rows = photographs.rows(range(8))
    right = (2 * np.log(prior)).tolist()
    best = loss_of(lesson, right, rows)
    for diagnosis in (4, 5):
        for change in (-0.3, 0.3):
            other = right.copy()
            other[diagnosis] += change
            assert loss_of(lesson, other, rows) > best


def test_figures_do_without_classes_that_do_not_occur():
    truth = np.array([4, 4, 5, 5])
    logits = np.full((4, 7), -9.0)
    logits[np.arange(4), [4, 5, 5, 5]] = 0.0
    figures = class_figures(logits, truth, np.full(7, 1 / 7))
    assert figures["balanced_accuracy"] == pytest.approx(0.75)
    assert figures["melanoma_auc"] == pytest.approx(0.75)


def test_figures_of_a_single_class_have_no_auc():
    figures = class_figures(np.zeros((3, 7)), np.array([5, 5, 5]), np.full(7, 1 / 7))
    assert np.isnan(figures["macro_auc"])
    assert np.isnan(figures["melanoma_auc"])
    assert figures["log_loss"] == pytest.approx(np.log(7))


def test_corrections_are_drawn_in_their_share(make_photographs):
    photographs = make_photographs({"ham": 700, "corrections": 35})
    rows = photographs.rows(range(8))
    weights = mixed_weights(photographs, rows, 0.5, 0.6)
    corrections = is_correction(photographs, rows)
    assert weights[corrections].sum() == pytest.approx(0.5)
    drawn = np.concatenate(
        [draw_mixed(photographs, rows, weights, np.random.default_rng(i)) for i in range(50)]
    )
    assert is_correction(photographs, drawn).mean() == pytest.approx(0.5, abs=0.04)


def test_without_reference_data_only_corrections_are_drawn(make_photographs):
    photographs = make_photographs({"corrections": 35})
    weights = mixed_weights(photographs, np.arange(35), 0.5)
    assert weights.sum() == pytest.approx(1)
    assert np.allclose(weights, 1 / 35)


def test_rare_classes_are_drawn_more_often_than_they_occur(make_photographs):
    photographs = make_photographs({"ham": 700})
    photographs.diagnosis[7:] = 5
    weights = mixed_weights(photographs, np.arange(700), 0.5, 0.6)
    assert weights[0] > 10 * weights[-1]


def test_the_examined_part_holds_all_classes_and_corrections_first(make_photographs):
    photographs = make_photographs({"ham": 700, "corrections": 70})
    photographs.diagnosis[35:700] = CLASSES.index("nv")
    chosen = most_even(photographs, np.arange(770), 70)
    counts = np.bincount(photographs.diagnosis[chosen], minlength=7)
    assert counts.min() == counts.max() == 10
    assert is_correction(photographs, chosen).all()


def test_the_examined_part_keeps_its_members_when_others_are_added(make_photographs):
    before = make_photographs({"ham": 300})
    after = make_photographs({"ham": 400})
    chosen = {before.image_id[row] for row in most_even(before, np.arange(300), 100)}
    still = {after.image_id[row] for row in most_even(after, np.arange(400), 100)}
    assert len(chosen & still) > 60
