import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from dermcheck.training.augmentation import centre_view, normalise, random_view


@given(seed=st.integers(0, 2**31), scale=st.floats(0.5, 1.4))
def test_image_and_mask_move_together(seed, scale):
    mask = np.zeros((1, 64, 64), np.uint8)
    mask[0, 12:40, 20:52] = 1
    image = np.repeat(mask[..., None] * 255, 3, axis=3)
    pixels, moved = random_view(
        image, 48, torch.Generator().manual_seed(seed), mask, smallest_scale=scale, largest_scale=scale
    )
    brightness = pixels[0].mean(0)
    middle = (brightness.max() + brightness.min()) / 2
    assume(brightness.max() - brightness.min() >= 0.3)  # else the view holds only lesion or only skin
    assert ((brightness > middle) == (moved[0, 0] > 0.5)).float().mean() > 0.97


def test_the_same_seed_draws_the_same_view():
    image = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    views = [random_view(image, 24, torch.Generator().manual_seed(7))[0] for _ in range(2)]
    torch.testing.assert_close(views[0], views[1], rtol=0, atol=0)


def test_networks_see_the_range_minus_one_to_one():
    pixels = normalise(centre_view(np.array([[[[0, 127, 255]]]], np.uint8), 1))
    torch.testing.assert_close(pixels[0, :, 0, 0], torch.tensor([-1.0, -1 / 255, 1.0]))


def test_views_reach_past_the_border_without_black():
    image = np.full((4, 32, 32, 3), 200, np.uint8)
    pixels, _ = random_view(
        image, 32, torch.Generator().manual_seed(0), smallest_scale=1.4, largest_scale=1.4
    )
    assert pixels.min() > 0.4
