"""What DermCheck refuses to decode, checked from headers before anything is allocated.

A header of a few bytes can promise gigabytes ("decompression bomb"): these limits are compared
with the sizes that a file *states*, in its DICOM header and in its compressed stream, before a
decoder sees them.
"""

from typing import Final

from dermcheck.errors import UnreadableImageError

__all__ = ["MAX_FILE_BYTES", "MAX_PIXELS", "check_file_size", "check_size"]

MAX_PIXELS: Final = 150_000_000
"""Most pixels (rows × columns) of one photograph; decoded, it takes 450 MB.

Medium-format cameras end at about 150 megapixels, a dermatoscope's camera at 24. The value stays
below Pillow's own fixed limit (179 megapixels), so that all formats share one rule.
"""

MAX_FILE_BYTES: Final = 2 * 2**30
"""Largest file, and largest inflated content of a deflated one (2 GiB): all of it is read into memory."""


def check_size(rows: int, columns: int, where: str) -> None:
    """Refuse sizes that no photograph has.

    Parameters
    ----------
    rows, columns
        Size in pixels as stated by a header or a compressed stream.
    where
        The file or instance and the attribute that states the size, for the message.

    Raises
    ------
    UnreadableImageError
        If either is less than 1, or their product is more than `MAX_PIXELS`.

    >>> check_size(4000, 6000, "photo.jpg")
    >>> check_size(65535, 65535, "photo.jpg")
    Traceback (most recent call last):
    dermcheck.errors.UnreadableImageError: photo.jpg: the size is 65535 × 65535 pixels ...
    """
    if rows < 1 or columns < 1:
        raise UnreadableImageError(
            f"{where}: the size is {rows} × {columns} pixels (rows × columns), expected at least 1 × 1. "
            "The header is damaged: export the photograph again."
        )
    if rows * columns > MAX_PIXELS:
        raise UnreadableImageError(
            f"{where}: the size is {rows} × {columns} pixels (rows × columns), expected at most "
            f"{MAX_PIXELS:,} pixels in all. The header is damaged, or the photograph must be made smaller."
        )


def check_file_size(size: int, where: str) -> None:
    """Refuse an empty file and one of more than `MAX_FILE_BYTES`.

    Raises
    ------
    UnreadableImageError
        With the size found and the size allowed.
    """
    if size == 0:
        raise UnreadableImageError(f"{where}: the file is empty (0 bytes). Copy or export it again.")
    if size > MAX_FILE_BYTES:
        raise UnreadableImageError(
            f"{where}: the file holds {size:,} bytes, expected at most {MAX_FILE_BYTES:,}. "
            "A single photograph is never that large: check what the file is."
        )
