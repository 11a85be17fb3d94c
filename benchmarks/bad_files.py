"""Files of which no prediction is possible, of every kind that folders hold, and odd ones of which it is."""

from __future__ import annotations

import itertools
import os
import shutil
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.uid import UID, CTImageStorage, generate_uid

__all__ = ["ODD", "spoil"]

_TEXT = b"Dear colleague, thank you for the referral. " * 10
_LOCKED_ARCHIVE = b"PK\x03\x04\x14\0\x01\0" + bytes(400)
"""The beginning of a ZIP file; its first flag says that a password is needed."""
_PAGES = [Image.new("RGB", (64, 48), (200, shade, shade)) for shade in (60, 90, 120)]


def spoil(pictures: list[Path], instance: Path, folder: Path) -> Counter[str]:
    """Copy pictures with one bad file beside every tenth of them, of all kinds in turns.

    Returns
    -------
    Counter
        How many there are of each kind.
    """
    folder.mkdir(parents=True)
    made: Counter[str] = Counter()
    kinds = itertools.cycle(_makers(instance).items())
    for number, path in enumerate(pictures):
        shutil.copy(path, folder)
        if number % 10 == 0:
            kind, make = next(kinds)
            make(folder / f"{path.stem} bad", path.read_bytes())
            made[kind] += 1
    return made


def _makers(instance: Path) -> dict[str, Callable[[Path, bytes], object]]:
    """Give what makes each kind, from a path without suffix and a good JPEG."""
    dicom = instance.read_bytes()

    def content(suffix: str, make: Callable[[bytes], bytes]) -> Callable[[Path, bytes], object]:
        return lambda path, good: _with(path, suffix).write_bytes(make(good))

    def changed(**changes: Any) -> Callable[[Path, bytes], object]:
        return lambda path, good: _changed(instance, _with(path, ".dcm"), changes)

    def pages(suffix: str) -> Callable[[Path, bytes], object]:
        return lambda path, good: _PAGES[0].save(_with(path, suffix), save_all=True, append_images=_PAGES[1:])

    makers: dict[str, Callable[[Path, bytes], object]] = {
        "empty JPEG": content(".jpg", lambda good: b""),
        "empty DICOM": content(".dcm", lambda good: b""),
        "text called .jpg": content(".jpg", lambda good: _TEXT),
        "text called .dcm": content(".dcm", lambda good: _TEXT),
        "cut JPEG": content(".jpg", lambda good: good[: len(good) // 2]),
        "cut DICOM": content(".dcm", lambda good: dicom[: len(dicom) // 2]),
        "archive with a password called .dcm": content(".dcm", lambda good: _LOCKED_ARCHIVE),
        "DICOM of a CT": changed(SOPClassUID=CTImageStorage),
        "DICOM of several frames": changed(NumberOfFrames=3),
        "DICOM without pixels": changed(PixelData=None),
        "DICOM of absurd size": changed(Rows=65535, Columns=65535),
        "PNG of absurd size": content(".png", lambda good: _huge_png()),
        "JPEG of absurd size": content(".jpg", _huge_jpeg),
        "animated GIF": pages(".gif"),
        "animated PNG": pages(".png"),
        "TIFF of several pages": pages(".tiff"),
        "transparent PNG": lambda path, good: Image.new("RGBA", (64, 48), (200, 90, 90, 40)).save(
            _with(path, ".png")
        ),
        "HEIC": content(".HEIC", lambda good: b"\0\0\0\x18ftypheic" + bytes(100)),
        "camera's raw file": content(".nef", lambda good: b"MM\0*" + bytes(400)),
        "link to nowhere": lambda path, good: _with(path, ".jpg").symlink_to("nowhere.jpg"),
        "link to itself": lambda path, good: _with(path, ".jpg").symlink_to(f"{path.name}.jpg"),
        "odd name, cut": lambda path, good: path.with_name(
            f"{path.name} \u202e\U0001f9b4 a\u0308 '\";.jpg"
        ).write_bytes(good[:300]),
        "name with a line break, cut": lambda path, good: path.with_name(f"{path.name}\n.jpg").write_bytes(
            good[:300]
        ),
        "name that is no text, cut": lambda path, good: Path(
            os.fsdecode(os.fsencode(path) + b" \xff\xfe.jpg")
        ).write_bytes(good[:300]),
    }
    if not (hasattr(os, "geteuid") and os.geteuid() == 0):  # an administrator may read everything
        makers["no permission"] = _forbidden
    return makers


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _changed(instance: Path, path: Path, changes: dict[str, Any]) -> None:
    dataset = dcmread(instance)
    for keyword, value in changes.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = UID(dataset.SOPClassUID)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.save_as(path)


def _forbidden(path: Path, good: bytes) -> None:
    forbidden = _with(path, ".jpg")
    forbidden.write_bytes(good)
    forbidden.chmod(0)


def _huge_png() -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    return start + struct.pack(">I", zlib.crc32(header)) + bytes(1000)


def _huge_jpeg(good: bytes) -> bytes:
    content = bytearray(good)
    frame = next(at for at in range(len(good)) if good[at : at + 2] in (b"\xff\xc0", b"\xff\xc2"))
    content[frame + 5 : frame + 9] = struct.pack(">HH", 65_000, 65_000)
    return bytes(content)


ODD: dict[str, Callable[[Path, Path], object]] = {
    "CMYK": lambda path, good: Image.open(good).convert("CMYK").save(_with(path, ".jpg")),
    "grey": lambda path, good: Image.open(good).convert("L").save(_with(path, ".png")),
    "16 bits": lambda path, good: Image.fromarray(np.full((64, 80), 9000, np.uint16)).save(
        _with(path, ".png")
    ),
    "odd name": lambda path, good: shutil.copy(good, path.with_name("\u202e\U0001f9b4 a\u0308 ';.jpg")),
    "no suffix": lambda path, good: shutil.copy(good, path),
}
"""Makers of what looks bad and is to be predicted all the same: each gets a path and a good JPEG."""
