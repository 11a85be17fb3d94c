"""Writes masks as 8-bit PNG, quickly: from their edges, not from their pixels.

A mask is a few runs of equal pixels in each row. PNG's compression (zlib, RFC 1950 and 1951) writes a run as
one byte and "repeat it", so that all it needs to know are the places where the value changes. Its sum
over the pixels follows from these places too. A general encoder looks at each byte: at 24 megapixels that
takes as long as decoding the photograph.
"""

from __future__ import annotations

import heapq
import struct
import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

from dermcheck.dicom.segmentation import LesionMask

__all__ = ["mask_of_png", "mask_png"]

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_GREY_8_BIT: Final = b"\x08\0\0\0\0"
"""Bit depth 8, colour type grey, and the only methods of compression, filter and interlace (PNG 11.2.1)."""
_INSIDE: Final = 255

_SMALL_PX: Final = 1 << 18
"""Up to here zlib is quicker."""
_STRIP_PX: Final = 1 << 18

_ZLIB_HEADER: Final = b"\x78\x01"
_ADLER: Final = 65521
_LONGEST: Final = 258
"""Bytes that one "repeat" of deflate stands for at most; it stands for 3 at least."""
_END: Final = 256
_SYMBOLS: Final = 286
_LENGTH_BASES: Final = np.array(
    [
        *range(3, 11),
        *range(11, 19, 2),
        *range(19, 35, 4),
        *range(35, 67, 8),
        *range(67, 131, 16),
        *range(131, 258, 32),
        258,
    ]
)
"""The shortest length of each symbol from 257 on (RFC 1951, 3.2.5)."""
_LENGTH_BITS: Final = np.array([0] * 8 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 + [5] * 4 + [0])
"""How many bits after the symbol say how much longer it is."""
_DEEPEST: Final = 15
_LENGTH_ORDER: Final = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
_LENGTH_CODE: Final = dict.fromkeys(range(13), 4) | dict.fromkeys(range(13, 19), 5)
"""How many bits the lengths of codes themselves take: always the same, since there are few."""

_Integers = npt.NDArray[np.int64]


def mask_png(mask: LesionMask) -> bytes:
    """Encode a mask as ISIC wants it: 8-bit grey, 0 outside and 255 inside.

    Parameters
    ----------
    mask
        (rows, columns) bool.
    """
    rows, columns = mask.shape
    data = _compressed_by_zlib(mask) if mask.size <= _SMALL_PX else _compressed(mask)
    header = struct.pack(">II", columns, rows) + _GREY_8_BIT
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def mask_of_png(content: bytes) -> LesionMask:
    """Return the mask that `mask_png` made these bytes of."""
    columns, rows = struct.unpack_from(">II", content, len(_SIGNATURE) + 8)
    start = content.index(b"IDAT") + 4
    lines = np.frombuffer(zlib.decompress(content[start:-16]), np.uint8).reshape(rows, columns + 1)
    return np.asarray(lines[:, 1:] != 0)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def _compressed_by_zlib(mask: LesionMask) -> bytes:
    lines = np.zeros((mask.shape[0], mask.shape[1] + 1), np.uint8)  # the first byte of each: no filter
    np.multiply(mask, np.uint8(_INSIDE), out=lines[:, 1:])
    deflate = zlib.compressobj(level=1, strategy=zlib.Z_RLE)
    return deflate.compress(lines.data) + deflate.flush()


def _compressed(mask: LesionMask) -> bytes:
    begins, ends = _runs_inside(mask)
    total = mask.shape[0] * (mask.shape[1] + 1)
    return _ZLIB_HEADER + _deflate(begins, ends, total) + struct.pack(">I", _adler32(begins, ends, total))


def _runs_inside(mask: LesionMask) -> tuple[_Integers, _Integers]:
    """Return where runs of the lesion begin and end among the bytes of the picture."""
    lines = np.flatnonzero(mask.any(axis=1))
    if not len(lines):
        nothing = np.empty(0, np.int64)
        return nothing, nothing
    top, bottom = int(lines[0]), int(lines[-1]) + 1
    places = np.flatnonzero(mask[top:bottom].any(axis=0))
    left, right = int(places[0]), int(places[-1]) + 1
    wide = right - left
    step = max(1, _STRIP_PX // wide)  # strip by strip, each of which the processor's cache holds
    framed = np.zeros((step, wide + 2), np.bool_)
    found = []
    for first in range(top, bottom, step):
        strip = framed[: min(step, bottom - first)]
        strip[:, 1:-1] = mask[first : first + len(strip), left:right]
        changes = np.flatnonzero(strip[:, 1:] != strip[:, :-1])  # of each row an even number
        row, column = np.divmod(changes, wide + 1)
        found.append((row + first) * (mask.shape[1] + 1) + 1 + left + column)
    edges = np.concatenate(found)
    return edges[::2], edges[1::2]


def _adler32(begins: _Integers, ends: _Integers, total: int) -> int:
    """Return zlib's sum over all bytes (RFC 1950): `_INSIDE` in the runs, 0 elsewhere."""
    lengths = ends - begins
    inside = int(lengths.sum())
    # Each byte counts as often as there are bytes from it to the end.
    weighted = int((lengths * (2 * total - begins - ends + 1) // 2 % _ADLER).sum())
    low = (1 + _INSIDE * inside) % _ADLER
    high = (total + _INSIDE * weighted) % _ADLER
    return high << 16 | low


def _deflate(begins: _Integers, ends: _Integers, total: int) -> bytes:
    """Write the runs and what lies between them as one block with a code of its own (RFC 1951, 3.2.7)."""
    edges = np.empty(2 * len(begins) + 2, np.int64)
    edges[0], edges[-1] = 0, total
    edges[1:-1:2], edges[2:-1:2] = begins, ends
    symbols, extra, extra_bits = _tokens(np.diff(edges))
    counts = np.bincount(symbols, minlength=_SYMBOLS)
    lengths = _code_lengths(counts)
    codes = _codes(lengths)
    repeats = symbols > _END  # one bit follows: the only distance, 1
    bits = lengths[symbols] + extra_bits + repeats
    values = codes[symbols] | extra << lengths[symbols]
    header, header_bits = _block_header(lengths)
    return _packed(np.concatenate([header, values]), np.concatenate([header_bits, bits]))


def _tokens(runs: _Integers) -> tuple[_Integers, _Integers, _Integers]:
    """Say each run as symbols: the byte, as many full repeats as there are, and the rest.

    Parameters
    ----------
    runs
        Lengths; outside and inside in turns, beginning outside. Only the last one may be 0.

    Returns
    -------
    tuple
        Symbols, the values of the bits that follow them, and how many these are.
    """
    literals = np.where(np.arange(len(runs)) % 2, _INSIDE, 0)
    repeated = np.maximum(runs - 1, 0)
    full, rest = np.divmod(repeated, _LONGEST)
    spelt = np.where(rest < 3, rest, 0)  # too short to be repeated
    partial = rest >= 3
    of_each = (runs > 0) + full + spelt + partial
    first = np.cumsum(of_each) - of_each
    symbols = np.full(int(of_each.sum()) + 1, _END - 1 + len(_LENGTH_BASES) + 1)  # full repeats
    symbols[-1] = _END
    for number in range(3):  # the byte itself and up to two more
        some = np.flatnonzero((runs > 0) & (spelt >= number))
        symbols[first[some] + number] = literals[some]
    last = (first + of_each - 1)[partial]
    kind = np.searchsorted(_LENGTH_BASES, rest[partial], side="right") - 1
    symbols[last] = _END + 1 + kind
    extra, extra_bits = np.zeros_like(symbols), np.zeros_like(symbols)
    extra[last] = rest[partial] - _LENGTH_BASES[kind]
    extra_bits[last] = _LENGTH_BITS[kind]
    return symbols, extra, extra_bits


def _code_lengths(counts: _Integers) -> _Integers:
    """Give frequent symbols short codes (Huffman), none longer than deflate allows."""
    used = np.flatnonzero(counts).tolist()
    lengths = np.zeros(_SYMBOLS, np.int64)
    weights = [int(counts[symbol]) for symbol in used]
    while True:
        depths = _depths(weights)
        if max(depths) <= _DEEPEST:
            lengths[used] = depths
            return lengths
        weights = [weight // 2 + 1 for weight in weights]  # flatter, until it fits


def _depths(weights: list[int]) -> list[int]:
    """Return how deep each leaf is in a Huffman tree of at least two."""
    heap: list[tuple[int, int, list[int]]] = [(weight, n, [n]) for n, weight in enumerate(weights)]
    heapq.heapify(heap)
    depths = [0] * len(weights)
    while len(heap) > 1:
        (light, number, some), (heavy, _, others) = heapq.heappop(heap), heapq.heappop(heap)
        for leaf in some + others:
            depths[leaf] += 1
        heapq.heappush(heap, (light + heavy, number, some + others))
    return depths


def _codes(lengths: _Integers) -> _Integers:
    """Give each symbol its code (RFC 1951, 3.2.2), its first bit lowest, as it is written."""
    codes = np.zeros(len(lengths), np.int64)
    code = 0
    for length in range(1, int(lengths.max()) + 1):
        code <<= 1
        for symbol in np.flatnonzero(lengths == length).tolist():
            codes[symbol] = int(f"{code:0{length}b}"[::-1], 2)
            code += 1
    return codes


def _block_header(lengths: _Integers) -> tuple[_Integers, _Integers]:
    """Describe the code of a last block: values, and of how many bits each."""
    parts: list[tuple[int, int]] = [(1, 1), (2, 2), (_SYMBOLS - 257, 5), (0, 5), (len(_LENGTH_ORDER) - 4, 4)]
    parts += [(_LENGTH_CODE[symbol], 3) for symbol in _LENGTH_ORDER]
    code = _codes(np.array([_LENGTH_CODE[symbol] for symbol in range(19)])).tolist()

    def say(symbol: int) -> None:
        parts.append((code[symbol], _LENGTH_CODE[symbol]))

    say(int(lengths[0]))
    for zeros in (138, 116):  # the bytes 1 to 254 do not occur
        say(18)
        parts.append((zeros - 11, 7))
    for length in lengths[_INSIDE:].tolist():
        say(length)
    say(1)  # the only distance
    values, bits = zip(*parts, strict=True)
    return np.array(values), np.array(bits)


def _packed(values: _Integers, bits: _Integers) -> bytes:
    """Write values one after the other, the lowest bit first."""
    places = np.cumsum(bits) - bits
    stream = np.zeros(int(bits.sum()), np.uint8)
    longer = np.arange(len(values))
    for bit in range(int(bits.max())):
        longer = longer[bits[longer] > bit]
        stream[places[longer] + bit] = values[longer] >> bit & 1
    return np.packbits(stream, bitorder="little").tobytes()
