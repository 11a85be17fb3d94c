"""How an archive is reached: address, log-in, certificates. The only module that reads them from outside."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from dermcheck.datastore.locations import without_password
from dermcheck.errors import ArgumentError

__all__ = ["ACCESS_VARIABLES", "MODALITIES", "ArchiveAccess", "TimedSession"]

MODALITIES: Final = ("DMS", "XC", "ES", "GM", "SM", "OT")
"""Searched for: dermoscopy, photography, endoscopy, microscopy, other (Secondary Capture)."""

_USER: Final = "DERMCHECK_PACS_USER"
_PASSWORD: Final = "DERMCHECK_PACS_PASSWORD"  # noqa: S105 - a variable's name
_PASSWORD_FILE: Final = "DERMCHECK_PACS_PASSWORD_FILE"  # noqa: S105
_TOKEN: Final = "DERMCHECK_PACS_TOKEN"  # noqa: S105
_TOKEN_FILE: Final = "DERMCHECK_PACS_TOKEN_FILE"  # noqa: S105
_CA: Final = "DERMCHECK_PACS_CA"
_MODALITIES: Final = "DERMCHECK_PACS_MODALITIES"
ACCESS_VARIABLES: Final = (_USER, _PASSWORD, _PASSWORD_FILE, _TOKEN, _TOKEN_FILE, _CA, _MODALITIES)
"""Environment variables: a password in an address is seen by everybody who can list processes."""

_CONNECT_S: Final = 5.0
_READ_S: Final = 60.0


class TimedSession(requests.Session):
    """A session whose requests end: without a limit one archive that hangs would hang everything."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request, as all methods do in the end, with a time limit unless one is given."""
        if options.get("timeout") is None:
            options["timeout"] = (_CONNECT_S, _READ_S)
        return super().send(request, **options)


class _Bearer(AuthBase):
    """Sends a token, read anew for each request: programs that renew tokens rewrite the file."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token()}"
        return request


@dataclass(frozen=True)
class ArchiveAccess:
    """Everything needed to talk to one archive."""

    url: str
    """DICOMweb address without user name and password, and without a slash at its end."""
    auth: AuthBase | None = None
    ca: Path | None = None
    """Certificates (PEM) to trust in place of the usual ones."""
    modalities: tuple[str, ...] = MODALITIES

    @classmethod
    def from_environment(cls, location: str) -> "ArchiveAccess":
        """Take the log-in from the address, else from the environment.

        - ``DERMCHECK_PACS_USER`` with ``DERMCHECK_PACS_PASSWORD`` or ``…_PASSWORD_FILE``: basic
          authentication.
        - ``DERMCHECK_PACS_TOKEN`` or ``…_TOKEN_FILE``: a bearer token (RFC 6750); the file is read for
          each request.
        - ``DERMCHECK_PACS_CA``: a file of certificates.
        - ``DERMCHECK_PACS_MODALITIES``: e.g. ``DMS,XC``, in place of `MODALITIES`.

        Raises
        ------
        ArgumentError
            If a file that is named cannot be read, or a value is malformed.
        """
        location = location.rstrip("/")
        ca = Path(named) if (named := os.environ.get(_CA)) else None
        if ca is not None and not ca.is_file():
            raise ArgumentError(f"{_CA} is {ca}: there is no such file of certificates (PEM).")
        return cls(without_password(location), _auth(location), ca, _modalities())

    def session(self) -> TimedSession:
        """Make a session that logs in."""
        session = TimedSession()
        session.auth = self.auth
        if self.ca is not None:
            session.verify = str(self.ca)
            session.trust_env = False  # else REQUESTS_CA_BUNDLE would outrank it
        return session


def _auth(location: str) -> AuthBase | None:
    parts = urlsplit(location)
    if parts.username:
        return HTTPBasicAuth(unquote(parts.username), unquote(parts.password or ""))
    environment = os.environ
    if (named := environment.get(_TOKEN_FILE)) and _read_secret(_TOKEN_FILE, named):
        return _Bearer(lambda: _read_secret(_TOKEN_FILE, named))
    if token := environment.get(_TOKEN):
        return _Bearer(lambda: token)
    if user := environment.get(_USER):
        password_file = environment.get(_PASSWORD_FILE)
        password = (
            _read_secret(_PASSWORD_FILE, password_file) if password_file else environment.get(_PASSWORD, "")
        )
        return HTTPBasicAuth(user.encode(), password.encode())
    return None


def _read_secret(variable: str, path: str) -> str:
    try:
        secret = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise ArgumentError(f"{variable} is {path}: the file cannot be read ({error}).") from error
    if not secret or not secret.isprintable():
        raise ArgumentError(f"{variable} is {path}: the file is empty or holds several lines, expected one.")
    return secret


def _modalities() -> tuple[str, ...]:
    text = os.environ.get(_MODALITIES, "")
    found = tuple(dict.fromkeys(part.strip().upper() for part in text.split(",") if part.strip()))
    if any(not part.replace("_", "").isalnum() or len(part) > 16 for part in found):
        raise ArgumentError(f"{_MODALITIES} is {text[:60]!r}, expected codes like DMS,XC.")
    return found or MODALITIES
