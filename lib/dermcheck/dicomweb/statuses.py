"""Errors as HTTP statuses, one table for the whole server."""

import errno
from typing import ClassVar, Final

from dermcheck.errors import (
    ArgumentError,
    DermCheckError,
    MaskError,
    ModelError,
    NotFoundError,
    StorageError,
    UnreadableImageError,
)

__all__ = [
    "BusyError",
    "HttpError",
    "NotAcceptableError",
    "TooLargeError",
    "UnsupportedMediaTypeError",
    "http_status",
    "is_disk_full",
]

_STATUSES: Final = {
    ArgumentError: 400,
    NotFoundError: 404,
    UnreadableImageError: 422,
    MaskError: 422,
    ModelError: 503,
    StorageError: 503,
}
_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class HttpError(DermCheckError):
    """An error that HTTP has a status of its own for (RFC 9110 section 15, PS3.18 section 8.5)."""

    http_status: ClassVar[int] = 400


class NotAcceptableError(HttpError):
    """Nothing that the client accepts can be made of the resource."""

    http_status = 406


class TooLargeError(HttpError):
    """The request's body is beyond the limit."""

    http_status = 413


class UnsupportedMediaTypeError(HttpError):
    """The request's body is of a kind that is not taken."""

    http_status = 415


class BusyError(HttpError):
    """There is too much to do at this moment."""

    http_status = 503
    retry_after_s: ClassVar[int] = 5


def http_status(error: DermCheckError) -> int:
    """Return the HTTP status of an error.

    400 for a wrong argument, 404 for an unknown name, 422 for an image or mask that cannot be
    used, 503 for storage or models that fail, 507 for a full disk; an `HttpError`'s own.

    >>> http_status(NotFoundError("...")), http_status(TooLargeError("..."))
    (404, 413)
    """
    if isinstance(error, HttpError):
        return error.http_status
    if isinstance(error, StorageError) and is_disk_full(error):
        return 507
    return next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 400)


def is_disk_full(error: BaseException | None) -> bool:
    """Tell whether the first system error behind an error is that of a full disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno in _DISK_FULL
        error = error.__cause__
    return False
