"""multipart/related, written and read (RFC 2387, RFC 2046 section 5.1, PS3.18 section 8.6.1.2)."""

import secrets
from collections.abc import Iterable, Iterator
from mmap import mmap

from dermcheck.dicomweb.accept import parse_media_type
from dermcheck.errors import ArgumentError

__all__ = ["multipart_type", "new_boundary", "read_part_places", "write_parts"]


def new_boundary() -> str:
    """Return a boundary that no content holds, but by a chance of 2^-128."""
    return secrets.token_hex(16)


def multipart_type(kind: str, boundary: str) -> str:
    """Return the Content-Type of an answer whose parts are of one kind."""
    return f'multipart/related; type="{kind}"; boundary={boundary}'


def write_parts(parts: Iterable[tuple[str, bytes]], boundary: str) -> Iterator[bytes]:
    r"""Yield the body: Content-Type and content of each part.

    >>> b"".join(write_parts([("text/plain", b"x")], "b"))
    b'--b\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx\r\n--b--\r\n'
    """
    for kind, content in parts:
        head = f"--{boundary}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
        yield head.encode("ascii")
        yield content
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode("ascii")


def read_part_places(body: bytes | mmap, boundary: str) -> Iterator[tuple[str, int, int]]:
    """Yield media type (lower case, without parameters), start and end of each part's content.

    Raises
    ------
    ArgumentError
        If the body is not made of parts with this boundary, or ends within one.
    """
    delimiter = b"--" + boundary.encode("latin-1")
    at_start = body[: len(delimiter)] == delimiter
    start = 0 if at_start else body.find(b"\r\n" + delimiter)
    if not boundary or start < 0:
        raise ArgumentError(
            "The body holds no part that begins with the boundary named in its Content-Type. Send it again."
        )
    position = start + len(delimiter) + (0 if at_start else 2)
    while body[position : position + 2] != b"--":
        line_end = body.find(b"\r\n", position)
        # Without headers, the empty line follows the delimiter's own line break at once.
        headers_end = body.find(b"\r\n\r\n", position)
        end = body.find(b"\r\n" + delimiter, headers_end + 2)
        if line_end < 0 or headers_end < 0 or end < 0 or body[position:line_end].strip(b" \t"):
            raise ArgumentError(
                "The body ends within a part: it is cut off, or its boundary is wrong. Send it again."
            )
        begin = headers_end + 4
        yield _part_kind(body[line_end:headers_end]), begin, max(end, begin)
        position = end + 2 + len(delimiter)


def _part_kind(headers: bytes) -> str:
    for line in headers.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-type":
            return parse_media_type(value.decode("latin-1").strip())[0]
    return ""
