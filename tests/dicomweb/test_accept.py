"""What a client accepts, and what it gets."""

import pytest

from dermcheck.dicomweb.accept import choose_part, choose_whole, parse_accept
from dermcheck.dicomweb.statuses import NotAcceptableError

JPEG, NATIVE = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.1"


def frame(header: str | None, stored: str = JPEG, kind: str = "image/jpeg") -> str:
    return choose_part(parse_accept(header), "application/octet-stream", stored, kind).content_type


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        (None, f"image/jpeg; transfer-syntax={JPEG}"),
        ("*/*", f"image/jpeg; transfer-syntax={JPEG}"),
        (
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
            f"application/octet-stream; transfer-syntax={JPEG}",
        ),
        (
            'multipart/related; type="application/octet-stream"',
            f"application/octet-stream; transfer-syntax={NATIVE}",
        ),
        ('multipart/related; type="image/*"', f"image/jpeg; transfer-syntax={JPEG}"),
        (
            f'multipart/related; type="image/jpeg"; transfer-syntax="{JPEG}"',
            f"image/jpeg; transfer-syntax={JPEG}",
        ),
        (
            'multipart/related; type="image/jp2", multipart/related; type="application/octet-stream"; q=0.5',
            f"application/octet-stream; transfer-syntax={NATIVE}",
        ),
    ],
)
def test_a_jpeg_frame_is_sent_as_accepted(accept, given):
    assert frame(accept) == given


def test_the_better_liked_kind_wins():
    accept = ", ".join(
        f'multipart/related; type="{kind}"; q={quality}'
        for kind, quality in (("application/octet-stream", 0.2), ("image/jpeg", 0.9))
    )
    assert frame(accept).startswith("image/jpeg")


@pytest.mark.parametrize(
    "accept",
    [
        'multipart/related; type="image/jp2"',
        "text/html",
        "image/jpeg",
        'multipart/related; type="application/octet-stream"; transfer-syntax="1.2.840.10008.1.2.5"',
        "*/*; q=0",
    ],
)
def test_what_cannot_be_made_is_refused_with_what_can(accept):
    with pytest.raises(NotAcceptableError, match=r"as stored|transfer-syntax"):
        frame(accept)


def test_the_query_outranks_the_header():
    assert choose_whole(parse_accept("image/png", "image/jpeg"), ["image/png", "image/jpeg"]) == "image/jpeg"


@pytest.mark.parametrize("header", [";;;", "a/b; q=x", '"', "multipart/related; type=a/b", "\xff"])
def test_a_wild_header_is_a_refusal(header):
    with pytest.raises(NotAcceptableError, match="application/json"):
        choose_whole(parse_accept(header), ["application/json"])


@pytest.mark.parametrize("header", ["", "*/*;q=2", "multipart/related", "application/*; x"])
def test_a_vague_header_takes_what_there_is(header):
    assert choose_whole(parse_accept(header), ["application/json"]) == "application/json"
