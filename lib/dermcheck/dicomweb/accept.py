"""What a client accepts: media types with their parameters, as DICOMweb uses them (PS3.18 8.3.3, 8.7).

Python's standard library splits a list of quoted items and reads the parameters of one; what is
DICOM's own, `type` and `transfer-syntax` inside `multipart/related`, is put on top here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from urllib.request import parse_http_list

from pydicom.uid import ExplicitVRLittleEndian

from dermcheck.dicomweb.statuses import NotAcceptableError

__all__ = ["MediaRange", "PartKind", "choose_part", "choose_whole", "parse_accept", "parse_media_type"]


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One acceptable kind of answer."""

    kind: str
    """The media type of a single part: that of the parts where `multipart` is true; may be ``*/*``."""
    multipart: bool
    transfer_syntax: str | None
    """A UID, ``*`` for any, or None where the client does not say."""
    quality: float
    """0 (refused) to 1."""

    def matches(self, kind: str) -> bool:
        """Tell whether a media type without parameters is within the range."""
        return self.kind in (kind, "*/*", f"{kind.partition('/')[0]}/*")


def parse_media_type(text: str) -> tuple[str, dict[str, str]]:
    """Split a media type from its parameters; names of both in lower case.

    >>> parse_media_type('multipart/Related; type="application/dicom"; boundary=x')
    ('multipart/related', {'type': 'application/dicom', 'boundary': 'x'})
    """
    message = Message()
    message["Content-Type"] = text
    parameters = message.get_params(failobj=[], unquote=True)
    return (parameters[0][0].strip().lower() if parameters else ""), {
        name.lower(): value for name, value in parameters[1:]
    }


def parse_accept(header: str | None, query: str | None = None) -> list[MediaRange]:
    """Read what is accepted, the preferred first.

    Parameters
    ----------
    header
        Value of the Accept header.
    query
        Value of the query parameter ``accept``, which outranks the header (PS3.18 8.3.3.1): a
        browser's address line cannot set a header.

    >>> parse_accept('multipart/related; type="image/jpeg"; q=0.5, image/png')
    [MediaRange(kind='image/png', multipart=False, transfer_syntax=None, quality=1.0), \
MediaRange(kind='image/jpeg', multipart=True, transfer_syntax=None, quality=0.5)]
    """
    ranges = [_media_range(item) for item in parse_http_list(query or header or "*/*")]
    return sorted((found for found in ranges if found.quality > 0), key=lambda found: -found.quality)


def _media_range(text: str) -> MediaRange:
    kind, parameters = parse_media_type(text)
    is_multipart = kind == "multipart/related"
    try:
        quality = min(max(float(parameters.get("q", 1)), 0.0), 1.0)
    except ValueError:
        quality = 1.0
    return MediaRange(
        kind=parameters.get("type", "*/*").lower() if is_multipart else kind,
        multipart=is_multipart or kind == "*/*",
        transfer_syntax=parameters.get("transfer-syntax") or None,
        quality=quality,
    )


def choose_whole(accepted: Iterable[MediaRange], offered: Iterable[str]) -> str:
    """Choose the media type of an answer that is not multipart.

    Parameters
    ----------
    accepted
        As `parse_accept` gives them.
    offered
        What can be made, the default first.

    Raises
    ------
    NotAcceptableError
        If none of these is accepted.
    """
    offers = list(offered)
    for found in accepted:
        if not found.multipart or found.kind == "*/*":
            for kind in offers:
                if found.matches(kind):
                    return kind
    raise NotAcceptableError(
        f"The request accepts none of {', '.join(offers)}, which is what there is here. Ask for one of these."
    )


@dataclass(frozen=True, slots=True)
class PartKind:
    """What each part of a multipart answer is."""

    kind: str
    """Media type."""
    transfer_syntax: str

    @property
    def content_type(self) -> str:
        """Value of the part's Content-Type header."""
        return f"{self.kind}; transfer-syntax={self.transfer_syntax}"


def choose_part(
    accepted: Iterable[MediaRange], kind: str, stored: str, compressed_kind: str = ""
) -> PartKind:
    """Choose how an instance or a frame is sent as part of a multipart answer (PS3.18 section 8.7.3).

    As it is stored where the client takes that, else uncompressed in explicit VR little endian, which
    is also what a client gets that names a media type without a transfer syntax. One that says
    nothing at all gets what is stored.

    Parameters
    ----------
    accepted
        As `parse_accept` gives them.
    kind
        Media type of the thing in any transfer syntax: ``application/dicom`` or ``application/octet-stream``.
    stored
        Its transfer syntax UID.
    compressed_kind
        For a frame the media type of its compressed stream, e.g. ``image/jpeg``; else empty.

    Raises
    ------
    NotAcceptableError
        If neither is accepted.
    """
    native = str(ExplicitVRLittleEndian)
    for found in accepted:
        if not found.multipart:
            continue
        if found.kind == "*/*" and found.transfer_syntax in (None, "*", stored):
            return PartKind(compressed_kind or kind, stored)
        if (
            compressed_kind
            and found.matches(compressed_kind)
            and found.transfer_syntax in (None, "*", stored)
        ):
            return PartKind(compressed_kind, stored)
        if found.matches(kind):
            if found.transfer_syntax in ("*", stored):
                return PartKind(kind, stored)
            if found.transfer_syntax in (None, native):
                return PartKind(kind, native)
    syntaxes = f"{stored} (as stored) or {native}" if stored != native else native
    raise NotAcceptableError(
        f"The request accepts neither of what there is here: multipart/related; type={kind!r} with "
        f"transfer-syntax {syntaxes}. Ask for one of these, or for transfer-syntax=*."
    )
