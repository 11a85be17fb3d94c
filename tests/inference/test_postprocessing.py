import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dermcheck.inference import mask_at_size, postprocessing
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
