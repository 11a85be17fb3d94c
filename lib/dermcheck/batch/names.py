"""What an image is called in the tables, and what its files are called.

In the ISIC formats an image's name is its file stem; a DICOM image's is its SOPInstanceUID. Camera
names repeat (``anna/IMG_0001.jpg``, ``ben/IMG_0001.jpg``), so that a stem alone may name two images.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dermcheck.dicom.files import file_name as printable

__all__ = ["JOURNAL_NAME", "LOCK_NAME", "SCHEMA_VERSION", "comparable", "photo_names", "result_path"]

JOURNAL_NAME: Final = "dermcheck_batch.sqlite"
"""The record of a batch in its output folder, by which such a folder is also recognised."""
SCHEMA_VERSION: Final = 2
"""Of the journal's tables; 1, without a number in the file, was DermCheck's first."""
LOCK_NAME: Final = ".dermcheck_batch.lock"
"""Locked by the one batch that works in an output folder; the file itself stays and means nothing."""

# Not possible in file names of Windows or of its network shares, where results are often opened.
_UNSAFE: Final = re.compile(r'[\x00-\x1f\x7f<>:"\\|?*]')
_LONGEST_BYTES: Final = 200
"""Room for suffixes and temporary names within the 255 bytes that file systems allow."""


def photo_names(relative: Path) -> Iterator[str]:
    """Names for a photo, best first; the first one that no other image has is taken.

    The file stem, then the path inside the input with its suffix, then that path with a number.

    >>> names = photo_names(Path("ben/IMG_0001.jpg"))
    >>> next(names), next(names), next(names)
    ('IMG_0001', 'ben/IMG_0001.jpg', 'ben/IMG_0001.jpg~2')
    """
    yield printable(Path(relative.stem))
    path = printable(relative)
    yield path
    number = 2
    while True:
        yield f"{path}~{number}"
        number += 1


def comparable(image: str) -> str:
    """Form in which two images' names must differ.

    Upper and lower case, and composed and decomposed letters, are one file name on Windows and macOS;
    names that differ only so would overwrite each other's mask there.

    >>> comparable("IMG_1") == comparable("img_1")
    True
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", image).casefold())


def result_path(image: str, ending: str) -> Path:
    """Path of one of an image's files inside the folder for its kind.

    The image's name itself, so that a table's row leads to the mask; a ``/`` in it is a folder. What no
    file system can hold or what would leave the folder is replaced, and a digest of the name appended
    so that two such names stay two files.

    >>> str(result_path("ISIC_0034525", "_segmentation.png"))
    'ISIC_0034525_segmentation.png'
    >>> str(result_path("../a", ".seg.dcm"))
    '_/a-61b4c98b.seg.dcm'
    """
    parts = [_safe_part(part) for part in image.split("/")]
    name = "/".join(parts)
    if name != image:
        parts[-1] += f"-{hashlib.sha256(image.encode()).hexdigest()[:8]}"
    return Path(*parts[:-1], parts[-1] + ending)


def _safe_part(part: str) -> str:
    if part in ("", ".", ".."):
        return "_"
    part = _UNSAFE.sub("_", part)
    return part.encode()[:_LONGEST_BYTES].decode(errors="ignore")
