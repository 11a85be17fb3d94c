"""What a compressed stream says of itself, read without decoding it.

A DICOM header and the stream inside it can disagree, by a defect or by design ("100 × 100" outside,
60,000 × 60,000 inside). Decoders believe the stream, so the stream's own size is compared first.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Codestream", "parse_jpeg", "parse_jpeg2000"]

_SOI: Final = b"\xff\xd8"
_EOI: Final = b"\xff\xd9"
_SOS: Final = 0xDA
_APP0, _APP14 = 0xE0, 0xEE
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, RST0-7, SOI: without a length
_SOF: Final = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}  # 0xF7 is JPEG-LS
_NEXT_MARKER: Final = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
"""In scans, smaller second bytes are stuffing (JPEG 0x00, JPEG-LS below 0x80), 0xD0 to 0xD7 restarts."""
_J2K_START: Final = b"\xff\x4f\xff\x51"


@dataclass(frozen=True, slots=True)
class Codestream:
    """The frame header of a JPEG, JPEG-LS or JPEG 2000 stream."""

    rows: int
    columns: int
    components: int
    precision: int
    """Bits of one sample."""
    process: int | None = None
    """Low byte of the start-of-frame marker: 0xC0 baseline, 0xC1 extended, 0xC2 progressive, 0xC3
    lossless, 0xF7 JPEG-LS; None for JPEG 2000."""
    sampling: tuple[tuple[int, int], ...] = ()
    """Sampling factors (horizontal, vertical) of each component."""
    colour_claims: frozenset[str] = field(default_factory=frozenset)
    """What the markers say the three components are: ``RGB``, ``YBR``, both (a contradiction), or nothing."""
    length: int | None = None
    """Bytes up to the end of the end-of-image marker; None where it is missing: the stream was cut off."""

    @property
    def has_end(self) -> bool:
        """Whether the stream is complete."""
        return self.length is not None


def parse_jpeg(stream: bytes) -> Codestream:
    """Read the frame header of a JPEG or JPEG-LS stream (ISO/IEC 10918-1 Annex B, 14495-1 Annex C).

    Pillow reads neither lossless JPEG nor JPEG-LS, and pydicom keeps its parser private.

    Raises
    ------
    ValueError
        If it does not start as one, or is cut off before the pixels start.
    """
    if stream[:2] != _SOI:
        raise ValueError("it does not begin with the marker of a JPEG stream")
    claims: set[str] = set()
    frame: tuple[int, bytes] | None = None
    start_of_scan = 0
    for marker, segment, end in _segments(stream):
        start_of_scan = end
        if marker in _SOF:
            frame = marker, segment
        elif marker == _APP0 and segment[:5] == b"JFIF\0":
            claims.add("YBR")
        elif marker == _APP14 and segment[:5] == b"Adobe" and len(segment) >= 12:
            claims.add("RGB" if segment[11] == 0 else "YBR")
    if frame is None:
        raise ValueError("it holds no frame header (SOF)")
    return _codestream(*frame, claims, _end(stream, start_of_scan))


def _segments(stream: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield marker, content and end of each segment up to the header of the first scan."""
    position, marker = 2, 0
    while marker != _SOS:
        if position + 4 > len(stream):
            raise ValueError("it is cut off before the pixels begin")
        if stream[position] != 0xFF:
            raise ValueError(f"it has no marker at byte {position}")
        marker = stream[position + 1]
        if marker == 0xFF:  # a fill byte before the marker
            position += 1
            continue
        if marker in _STANDALONE:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", stream, position + 2)
        end = position + 2 + length
        if length < 2 or end > len(stream):
            raise ValueError("it is cut off before the pixels begin")
        yield marker, stream[position + 4 : end], end
        position = end


def _end(stream: bytes, position: int) -> int | None:
    """Find the end marker behind the scans. Thumbnails and trailing pictures have one too."""
    while found := _NEXT_MARKER.search(stream, position):
        position = found.end()
        if found.group() == _EOI:
            return position
        if position + 2 > len(stream):
            return None
        position += struct.unpack_from(">H", stream, position)[0]
    return None


def _codestream(marker: int, segment: bytes, claims: set[str], length: int | None) -> Codestream:
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        raise ValueError("its frame header (SOF) is cut off")
    precision, rows, columns, components = struct.unpack_from(">BHHB", segment)
    specifications = [segment[6 + 3 * index : 9 + 3 * index] for index in range(components)]
    if bytes(specification[0] for specification in specifications).upper() == b"RGB":
        claims = claims | {"RGB"}
    return Codestream(
        rows=rows,
        columns=columns,
        components=components,
        precision=precision,
        process=marker,
        sampling=tuple((specification[1] >> 4, specification[1] & 15) for specification in specifications),
        colour_claims=frozenset(claims) if components == 3 else frozenset(),
        length=length,
    )


def parse_jpeg2000(stream: bytes) -> Codestream:
    """Read the SIZ segment of a JPEG 2000 or HTJ2K codestream (ISO/IEC 15444-1 A.5.1).

    By hand, since OpenJPEG sets up every tile before it tells the size. A JP2 wrapper around the
    codestream, against PS3.5 A.4.4 but met, is tolerated.

    Raises
    ------
    ValueError
        If it holds no readable header.
    """
    start = stream[:65536].find(_J2K_START)
    if start < 0:
        raise ValueError("it does not begin with the marker of a JPEG 2000 codestream")
    siz = stream[start + 6 : start + 43]
    if len(siz) < 37:
        raise ValueError("its header (SIZ) is cut off")
    _, right, bottom, left, top, _, _, _, _, components, depth = struct.unpack(">HIIIIIIIIHB", siz)
    return Codestream(
        rows=bottom - top,
        columns=right - left,
        components=components,
        precision=(depth & 0x7F) + 1,  # the top bit says signed
        length=end + 2 if (end := stream.rfind(_EOI)) > 0 else None,
    )
