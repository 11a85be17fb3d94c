"""Agreement of masks, against MONAI's metrics."""

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_dice, compute_iou

from dermcheck.training.evaluation import boundary_distance, dice_index, jaccard_index


def blob(seed: int, rows: int = 48, columns: int = 64) -> np.ndarray:
    """A lesion of a random outline; some reach the picture's border."""
    chance = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    centre = chance.uniform(0.2, 0.8, 2) * (rows, columns)
    angle = np.arctan2(y - centre[0], x - centre[1])
    radius = chance.uniform(6, 20) * (1 + 0.3 * np.sin(3 * angle + chance.uniform(0, 6)))
    return np.hypot(y - centre[0], x - centre[1]) < radius


def one_hot(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([~mask, mask]))[None].float()


@pytest.mark.parametrize("seed", range(8))
def test_agreement_equals_monais(seed):
    mask, expert = blob(seed), blob(seed + 100)
    dice, iou = (
        m(one_hot(mask), one_hot(expert), include_background=False) for m in (compute_dice, compute_iou)
    )
    assert dice_index(mask, expert) == pytest.approx(float(dice))
    assert jaccard_index(mask, expert) == pytest.approx(float(iou))
    distance = compute_average_surface_distance(one_hot(mask), one_hot(expert), symmetric=True)
    assert boundary_distance(mask, expert) == pytest.approx(float(distance), rel=1e-5)


def test_a_shift_by_two_pixels_is_a_distance_of_at_most_two():
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    shifted = np.roll(mask, 2, 1)
    assert 0 < boundary_distance(mask, shifted) <= 2
    assert boundary_distance(mask, mask) == 0


def test_empty_masks():
    empty, mask = np.zeros((8, 8), bool), np.ones((8, 8), bool)
    assert jaccard_index(empty, empty) == dice_index(empty, empty) == 1
    assert jaccard_index(empty, mask) == dice_index(empty, mask) == 0
    assert boundary_distance(empty, empty) == 0
    assert np.isnan(boundary_distance(empty, mask))
    assert np.isnan(boundary_distance(mask, empty))


def test_jaccard_of_halves():
    mask, other = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    mask[:2] = other[1:3] = True
    assert jaccard_index(mask, other) == pytest.approx(1 / 3)
