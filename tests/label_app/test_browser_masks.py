import base64
import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dermcheck.errors import MaskError
from dermcheck.label_app.browser_masks import decode_label_map, encode_label_map


@given(arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_label_maps_survive_the_way_to_the_browser_and_back(label_map):
    np.testing.assert_array_equal(decode_label_map(encode_label_map(label_map), *label_map.shape), label_map)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no base64!",
        base64.b64encode(b"no gzip").decode(),
        encode_label_map(np.zeros((5, 4), np.uint8))[:-8],
    ],
    ids=["empty", "no base64", "no gzip", "cut"],
)
def test_what_arrives_damaged_is_refused(text):
    with pytest.raises(MaskError, match=r"damaged|other than 20"):
        decode_label_map(text, 5, 4)


def test_another_size_is_refused_with_both_sizes():
    with pytest.raises(MaskError, match="14 pixels, the photograph 3 × 5 = 15"):
        decode_label_map(encode_label_map(np.zeros((7, 2), np.uint8)), 5, 3)


def test_no_more_is_unpacked_than_the_photograph_has_pixels():
    bomb = base64.b64encode(gzip.compress(bytes(50_000_000))).decode()
    with pytest.raises(MaskError, match="other than 20"):
        decode_label_map(bomb, 5, 4)
