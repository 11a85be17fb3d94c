import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dermcheck.inference import mask_at_size, postprocessing, without_islands
from dermcheck.inference.resampling import resample


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    rows=st.integers(1, 90),
    columns=st.integers(1, 90),
    strip=st.integers(1, 500),
    seed=st.integers(0, 99),
)
@settings(max_examples=150, deadline=None)
def test_strips_give_what_resampling_the_whole_gives(height, width, rows, columns, strip, seed):
    logits = torch.randn(height, width, generator=torch.Generator().manual_seed(seed))
    whole = resample(logits[None, None], rows, columns)[0, 0].numpy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postprocessing, "_STRIP_PX", strip)
        mask = mask_at_size(logits, rows, columns)
    assert mask.shape == (rows, columns)
    assert mask.dtype == np.bool_
    certain = abs(whole) > 1e-4  # elsewhere rounding decides
    np.testing.assert_array_equal(mask[certain], whole[certain] > 0)


def test_without_a_lesion_the_mask_is_empty():
    assert not mask_at_size(torch.full((192, 288), -3.0), 4000, 6000).any()


def test_a_logit_of_zero_is_skin():
    assert not mask_at_size(torch.zeros(4, 4), 9, 9).any()


def lesions(*boxes):
    """Logits of 2 inside the boxes (top, bottom, left, right) and -1 elsewhere, on 64 x 96 pixels."""
    logits = torch.full((64, 96), -1.0)
    for top, bottom, left, right in boxes:
        logits[top:bottom, left:right] = 2
    return logits


LESION = (10, 40, 20, 50)  # 900 pixels


def test_an_island_much_smaller_than_the_lesion_is_dropped_without_a_trace():
    tidy = without_islands(lesions(LESION, (55, 60, 70, 80), (0, 1, 0, 1)))
    np.testing.assert_array_equal(mask_at_size(tidy, 640, 960), mask_at_size(lesions(LESION), 640, 960))


def test_a_second_lesion_of_a_fair_size_is_kept():
    both = lesions(LESION, (50, 60, 70, 80))
    torch.testing.assert_close(without_islands(both), both, rtol=0, atol=0)


def test_a_single_small_lesion_is_kept():
    small = lesions((5, 6, 7, 8))
    torch.testing.assert_close(without_islands(small), small, rtol=0, atol=0)


def test_a_hole_stays_a_hole():
    ring = lesions(LESION)
    ring[20:25, 30:35] = -1
    torch.testing.assert_close(without_islands(ring), ring, rtol=0, atol=0)


def test_logits_without_a_lesion_stay_as_they_are():
    torch.testing.assert_close(without_islands(lesions()), lesions(), rtol=0, atol=0)


def test_dropping_islands_leaves_the_networks_output_unchanged():
    logits = lesions(LESION, (60, 61, 90, 91))
    before = logits.clone()
    without_islands(logits)
    torch.testing.assert_close(logits, before, rtol=0, atol=0)
