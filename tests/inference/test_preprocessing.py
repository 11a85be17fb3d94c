import dataclasses
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from dermcheck.inference import prepare
from dermcheck.networks import InputSpec

HALF = (0.5, 0.5, 0.5)
SQUARE = InputSpec(side=128, mean=HALF, std=HALF, geometry="centre_square")
WHOLE = InputSpec(side=192, mean=HALF, std=HALF, geometry="short_side")


def as_training_does(pixels, rows, columns):
    """(x / 255 resized as floats - 0.5) / 0.5, spelled out."""
    floats = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    return (F.interpolate(floats, (rows, columns), mode="bilinear", antialias=True) - 0.5) / 0.5


def test_a_square_photograph_is_prepared_exactly_as_in_training(noise):
    pixels = noise(256, 256)
    torch.testing.assert_close(prepare(pixels, SQUARE).pixels, as_training_does(pixels, 128, 128))


def test_the_classifier_sees_the_centre_square(noise):
    pixels = noise(450, 600)
    expected = as_training_does(pixels[:, 75:525], 128, 128)
    torch.testing.assert_close(prepare(pixels, SQUARE).pixels, expected)


def test_the_classifier_sees_the_centre_square_of_a_portrait(noise):
    pixels = noise(600, 450)
    expected = as_training_does(pixels[75:525], 128, 128)
    torch.testing.assert_close(prepare(pixels, SQUARE).pixels, expected)


def test_the_outliner_sees_the_whole_photograph_in_proportion(noise):
    pixels = noise(450, 600)
    seen = prepare(pixels, WHOLE)
    assert (seen.rows, seen.columns) == (192, 256)
    torch.testing.assert_close(seen.pixels, as_training_does(pixels, 192, 256))


def test_padding_mirrors_the_photograph_at_the_bottom_and_right(noise):
    seen = prepare(noise(601, 450), WHOLE)
    assert (seen.rows, seen.columns) == (256, 192)
    seen = prepare(noise(450, 640), WHOLE)
    assert (seen.rows, seen.columns, *seen.pixels.shape[2:]) == (192, 273, 192, 288)
    inside, outside = seen.pixels[..., 258:272], seen.pixels[..., 273:287]
    torch.testing.assert_close(outside, inside.flip(3))


@pytest.mark.parametrize("spec", [SQUARE, WHOLE], ids=["classifier", "outliner"])
@pytest.mark.parametrize("shape", [(2400, 3600), (3599, 2401)])
def test_reducing_a_large_photograph_first_changes_hardly_anything(noise, spec, shape):
    pixels = noise(*shape)
    rng = np.random.default_rng(1)  # fine detail, which a careless reduction would alias
    pixels = np.clip(pixels + rng.normal(0, 40, shape)[..., None], 0, 255).astype(np.uint8)
    seen = prepare(pixels, spec)
    if spec is SQUARE:
        side = min(shape)
        top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    expected = as_training_does(pixels, seen.rows, seen.columns)
    difference = (seen.pixels[..., : seen.rows, : seen.columns] - expected).abs()
    assert difference.max() < 0.05  # of a range of 2
    assert difference.mean() < 0.005


def test_mean_and_deviation_come_from_the_card(noise):
    pixels = noise(128, 128)
    spec = dataclasses.replace(SQUARE, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0))
    seen = prepare(pixels, spec).pixels
    red, green, blue = (pixels[..., i].astype(np.float32) / 255 for i in range(3))
    np.testing.assert_allclose(seen[0, 0], red - 0.1, atol=1e-6)
    np.testing.assert_allclose(seen[0, 1], (green - 0.2) / 2, atol=1e-6)
    np.testing.assert_allclose(seen[0, 2], (blue - 0.3) / 4, atol=1e-6)


def test_side_and_multiple_come_from_the_card(noise):
    spec = dataclasses.replace(WHOLE, side=100, multiple=32)
    seen = prepare(noise(450, 600), spec)
    assert (seen.rows, seen.columns, *seen.pixels.shape[2:]) == (100, 133, 128, 160)


@given(rows=st.integers(1, 300), columns=st.integers(1, 300))
@settings(max_examples=40, deadline=None)
def test_every_size_is_accepted_in_proportion_and_bounded(rows, columns):
    pixels = np.full((rows, columns, 3), 128, np.uint8)
    square, whole = prepare(pixels, SQUARE), prepare(pixels, WHOLE)
    assert square.pixels.shape == (1, 3, 128, 128)
    assert all(size % 16 == 0 for size in whole.pixels.shape[2:])
    assert max(whole.rows, whole.columns) <= 4 * 192
    assert whole.pixels.shape[2] - whole.rows in range(16)
    assert whole.pixels.shape[3] - whole.columns in range(16)
    # In proportion: the shorter side differs by rounding only.
    assert (
        abs(whole.rows * columns - whole.columns * rows) <= max(rows, columns)
        or min(whole.rows, whole.columns) == 1
    )
    # A grey picture stays grey whatever is done to it.
    for seen in (square, whole):
        torch.testing.assert_close(
            seen.pixels, torch.full_like(seen.pixels, 128 / 255 * 2 - 1), atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("shape", [(100, 2000), (2000, 100), (900, 18_000)])
def test_a_panorama_of_twenty_to_one_is_seen_whole_smaller_and_in_proportion(shape):
    seen = prepare(np.zeros((*shape, 3), np.uint8), WHOLE)
    assert sorted((seen.rows, seen.columns)) == [38, 768]
    assert sorted(seen.pixels.shape[2:]) == [48, 768]


@pytest.mark.parametrize("spec", [SQUARE, WHOLE], ids=["classifier", "outliner"])
def test_read_only_and_strided_arrays_are_accepted_silently(noise, spec):
    pixels = noise(300, 400)
    expected = prepare(pixels, spec).pixels
    mirrored = np.ascontiguousarray(pixels[:, ::-1])[:, ::-1]
    read_only = pixels.copy()
    read_only.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(prepare(mirrored, spec).pixels, expected)
        torch.testing.assert_close(prepare(read_only, spec).pixels, expected)


@pytest.mark.parametrize("spec", [SQUARE, WHOLE], ids=["classifier", "outliner"])
@pytest.mark.parametrize("shape", [(192, 192), (300, 400), (1200, 1300)])
def test_the_photograph_is_not_changed(noise, spec, shape):
    pixels = noise(*shape)
    before = pixels.copy()
    prepare(pixels, spec)
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_photograph_is_refused(pixels):
    with pytest.raises(ValueError, match=r"expected uint8 \(rows, columns, 3\)"):
        prepare(pixels, SQUARE)
