"""The few errors that a user can cause or must act upon.

Each message is one or two plain sentences: which instance or file, which attribute, the value
found, the value expected, and what to do. It never holds a patient's name. The command line turns
these errors into one line and exit status 1 (or 2), the server into an HTTP status with the
sentence as JSON. Every other exception is a bug and keeps its traceback.
"""

__all__ = [
    "ArgumentError",
    "DermCheckError",
    "MaskError",
    "ModelError",
    "NotAPhotographError",
    "NotFoundError",
    "StorageError",
    "UnreadableImageError",
]


class DermCheckError(Exception):
    """Base of all errors whose message is meant for the user."""


class ArgumentError(DermCheckError, ValueError):
    """An argument or setting is wrong (exit status 2, HTTP 400)."""


class UnreadableImageError(DermCheckError, ValueError):
    """A file or instance cannot be read as a photograph: damaged, too large, unknown (HTTP 422)."""


class NotAPhotographError(UnreadableImageError):
    """Valid DICOM, but not a photograph: CT, SEG, SR, presentation state, video (HTTP 422)."""


class MaskError(DermCheckError, ValueError):
    """A mask or label map does not fit its photograph or cannot be read (HTTP 422)."""


class NotFoundError(DermCheckError, LookupError):
    """No image, label, model or strategy has this name (HTTP 404)."""


class StorageError(DermCheckError, OSError):
    """Something could not be read from or written to the disk or archive (HTTP 503 or 507)."""


class ModelError(DermCheckError, RuntimeError):
    """A model's weights or card are missing, damaged or do not belong together."""
