"""multipart/related, written and read again."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermcheck.dicomweb.multipart import read_part_places, write_parts
from dermcheck.errors import ArgumentError

contents = st.lists(st.binary(max_size=60), min_size=1, max_size=4)


def read(body: bytes, boundary: str) -> list[tuple[str, bytes]]:
    return [(kind, body[start:end]) for kind, start, end in read_part_places(body, boundary)]


@given(contents, st.sampled_from([b"", b"preamble\r\n", b"\r\n"]), st.sampled_from([b"", b"epilogue"]))
def test_what_is_written_is_read(parts, before, after):
    boundary = "----B0undary"
    body = before + b"".join(write_parts((("application/dicom", part) for part in parts), boundary)) + after
    if any(b"\r\n--" + boundary.encode() in part for part in parts):
        return
    assert read(body, boundary) == [("application/dicom", part) for part in parts]


@pytest.mark.parametrize("headers", [b"", b"content-TYPE:  Application/DICOM ; x=y\r\n", b"X-Other: 1\r\n"])
def test_headers_may_be_missing_or_written_otherwise(headers):
    body = b"--b  \r\n" + headers + b"\r\ncontent\r\n--b--"
    ((kind, content),) = read(body, "b")
    assert (kind, content) == ("application/dicom" if b"TYPE" in headers else "", b"content")


@given(st.data())
def test_a_body_that_is_cut_off_is_refused(data):
    body = b"".join(write_parts([("application/dicom", b"one"), ("application/dicom", b"two")], "b"))
    end = data.draw(st.integers(0, len(body) - 5))
    with pytest.raises(ArgumentError, match=r"ends within a part|holds no part"):
        read(body[:end], "b")


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_read_but_never_hangs(body):
    with suppress(ArgumentError):
        read(body, "b")


def test_another_boundary_than_announced_is_refused():
    with pytest.raises(ArgumentError, match="boundary"):
        read(b"".join(write_parts([("application/dicom", b"x")], "other")), "b")
