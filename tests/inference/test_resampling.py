import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from dermcheck.inference.resampling import resample

sizes = st.integers(1, 40)


@given(height=sizes, width=sizes, rows=sizes, columns=sizes)
def test_equal_columns_are_resized_as_one_of_them_is(height, width, rows, columns):
    # torch 2.13: interpolate([[1.5], [-0.5]], (3, 1), antialias=True) gives 1.5 three times.
    column = torch.randn(1, 1, height, 1, generator=torch.Generator().manual_seed(height))
    resized = resample(column.repeat(1, 1, 1, width), rows, columns)
    expected = F.interpolate(column.double().repeat(1, 1, 1, 2), (rows, 2), mode="bilinear", antialias=True)
    torch.testing.assert_close(resized, expected[..., :1].float().repeat(1, 1, 1, columns))


@pytest.mark.parametrize(("rows", "columns"), [(20, 30), (7, 5), (60, 80)])
def test_it_is_the_resampling_of_the_training(rows, columns):
    picture = torch.rand(1, 3, 21, 34)
    expected = F.interpolate(picture, (rows, columns), mode="bilinear", antialias=True)
    torch.testing.assert_close(resample(picture, rows, columns), expected, rtol=0, atol=0)


def test_uint8_stays_uint8():
    assert resample(torch.zeros(1, 3, 9, 9, dtype=torch.uint8), 4, 4).dtype == torch.uint8
