import csv
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from dermcheck.training.configuration import Schedule
from dermcheck.training.examination import jaccards
from dermcheck.training.fitting import fit
from dermcheck.training.numerics import Numerics
from dermcheck.training.segmentation import SegmentationLesson

PLAIN = Numerics(torch.device("cpu"))


def test_an_outliner_learns(photographs, tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 1, 1))
    schedule = Schedule(epochs=4, sides=(32,), batch=16, rate=2e-2, warm_up=5, averaging=0.8)
    lesson = SegmentationLesson(photographs=photographs, seed=0, side=32)
    trained = fit(network, schedule, lesson, tmp_path)
    assert jaccards(trained, photographs, photographs.rows(range(9, 10)), 64, PLAIN).mean() > 0.6
    with (tmp_path / "log.csv").open() as file:
        assert {"jaccard", "jaccard_ham"} <= set(next(csv.DictReader(file)))


def test_photographs_without_a_mask_or_all_foreground_do_not_teach(photographs):
    masks = np.array(photographs.masks)
    masks[3] = 1
    has_mask = photographs.has_mask.copy()
    has_mask[5] = False
    lesson = SegmentationLesson(photographs=replace(photographs, masks=masks, has_mask=has_mask), seed=0)
    drawn = set(lesson.draw(0).tolist())
    assert not drawn & {3, 5}
    assert {0, 1, 2, 4} <= drawn


def test_a_perfect_outline_has_the_jaccard_index_1_and_the_opposite_0(photographs):
    class Discs(nn.Module):
        def __init__(self, sign):
            super().__init__()
            self.sign = sign

        def forward(self, pixels):
            return self.sign * (0.5 - pixels[:, :1])  # skin is bright in the red channel

    rows = np.array([0, 1, 2])  # classes of little red
    assert jaccards(Discs(1), photographs, rows, 64, PLAIN).min() > 0.95
    assert jaccards(Discs(-1), photographs, rows, 64, PLAIN).max() < 0.05
