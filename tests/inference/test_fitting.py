import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from dermcheck.inference.fitting import Fitter
from dermcheck.networks import InputSpec

HALF = (0.5, 0.5, 0.5)
SQUARE = InputSpec(side=32, mean=HALF, std=HALF, geometry="centre_square")
WHOLE = InputSpec(side=32, mean=HALF, std=HALF, geometry="short_side", multiple=8)


def as_torch_resizes(pixels, rows, columns):
    floats = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    resized = F.interpolate(floats, (rows, columns), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).numpy()


@given(rows=st.integers(2, 120), columns=st.integers(2, 120), seed=st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_pictures_are_resized_as_torch_does_it(rows, columns, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8)
    fitted = Fitter(pixels).fit(WHOLE)
    expected = as_torch_resizes(pixels, fitted.rows, fitted.columns)
    found = fitted.picture[: fitted.rows, : fitted.columns]
    if fitted.columns > 1:  # see `resample`: torch is wrong there
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
    padding = (
        (0, fitted.picture.shape[0] - fitted.rows),
        (0, fitted.picture.shape[1] - fitted.columns),
        (0, 0),
    )
    np.testing.assert_array_equal(fitted.picture, np.pad(found, padding, mode="reflect"))


@pytest.mark.parametrize("shape", [(90, 120), (120, 90), (100, 100), (500, 700), (20, 30)])
def test_fitting_to_two_networks_gives_what_each_alone_gives(noise, shape):
    pixels = noise(*shape)
    fitter = Fitter(pixels)
    together = [fitter.fit(SQUARE), fitter.fit(WHOLE), fitter.fit(SQUARE)]
    for found, spec in zip(together, (SQUARE, WHOLE, SQUARE), strict=True):
        alone = Fitter(pixels).fit(spec)
        assert (found.rows, found.columns) == (alone.rows, alone.columns)
        np.testing.assert_array_equal(found.picture, alone.picture)
        assert found.picture.flags.c_contiguous


def test_networks_that_see_the_same_share_it(noise):
    square, wide = Fitter(noise(100, 100)), Fitter(noise(100, 120))
    assert square.fit(SQUARE) is square.fit(WHOLE)
    assert wide.fit(SQUARE) is not wide.fit(WHOLE)


def test_a_reduced_picture_is_fitted_to_the_size_of_the_photograph_itself(noise):
    # 451 × 1351 decoded at half size is 226 × 676: its own ratio would give one column fewer.
    photograph = noise(451, 1351)
    reduced = torch.nn.functional.interpolate(
        torch.from_numpy(photograph).permute(2, 0, 1)[None].float(), (226, 676), mode="area"
    )
    pixels = reduced[0].permute(1, 2, 0).round().byte().contiguous().numpy()
    whole, small = Fitter(photograph).fit(WHOLE), Fitter(pixels, (451, 1351)).fit(WHOLE)
    assert (small.rows, small.columns) == (whole.rows, whole.columns)
    assert np.abs(whole.picture - small.picture).max() < 0.02
