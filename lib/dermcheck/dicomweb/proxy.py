"""An archive's own DICOMweb answers, passed on: one origin and one log-in for the browser."""

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import requests

from dermcheck.datastore.archive_access import ArchiveAccess
from dermcheck.errors import ArgumentError, NotFoundError, StorageError

__all__ = ["ArchiveProxy", "Passed"]

_PATH: Final = re.compile(r"/(studies|series|instances)(/[0-9A-Za-z.,]+)*")
_ASKED: Final = ("Accept", "If-None-Match", "Range")
"""Headers of a request that are passed on; log-ins and cookies of ours are none of the archive's business."""
_ANSWERED: Final = ("Content-Type", "ETag", "Last-Modified", "Warning", "Content-Range")
_PIECE_BYTES: Final = 1 << 16
_JSON: Final = ("application/dicom+json", "application/json")


@dataclass(frozen=True)
class Passed:
    """An archive's answer."""

    status: int
    headers: dict[str, str]
    content: Iterator[bytes]


class ArchiveProxy:
    """Asks an archive on behalf of browsers: searches and retrievals only; any thread may call it."""

    def __init__(self, access: ArchiveAccess) -> None:
        self._access = access
        self._own = threading.local()

    def get(self, path: str, query: str, headers: Mapping[str, str], root: str) -> Passed:
        """Pass a request on.

        Parameters
        ----------
        path
            Below the service's address, e.g. ``/studies``.
        query
            As in the address.
        root
            URL that this server gives the service: takes the place of the archive's own in JSON answers.

        Raises
        ------
        NotFoundError
            If no resource of DICOMweb has such a path.
        StorageError
            If the archive does not answer, or does not let us in.
        """
        if not _PATH.fullmatch(path) or ".." in path:
            raise NotFoundError(f"{path[:80]}: there is no such resource.")
        url = f"{self._access.url}{path}" + (f"?{query}" if query else "")
        asked = {name: headers[name] for name in _ASKED if name in headers}
        asked.setdefault("Accept", "*/*")
        with self._asking():
            answer = self._session().get(url, headers=asked, stream=True, allow_redirects=False)
        if answer.status_code in (401, 403):
            answer.close()
            raise StorageError(
                f"{self._access.url}: the archive answers with HTTP status {answer.status_code}, "
                "expected 200. Check user name and password."
            )
        passed = {name: answer.headers[name] for name in _ANSWERED if name in answer.headers}
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind in _JSON:
            with self._asking(), answer:
                content = answer.content.replace(self._access.url.encode(), root.encode())
            return Passed(answer.status_code, passed, iter([content]))
        return Passed(answer.status_code, passed, _pieces(answer))

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those of photographs."""
        return self._access.modalities

    def search(self, path: str, keys: Sequence[tuple[str, str]], root: str) -> list[dict[str, Any]]:
        """Search, as a client of the archive does.

        Raises
        ------
        ArgumentError
            If the archive says that the search is wrong.
        StorageError
            If it does not answer, or with something else than a list.
        """
        passed = self.get(path, urlencode(keys, safe="*?"), {"Accept": _JSON[0]}, root)
        content = b"".join(passed.content)
        if passed.status == 204:
            return []
        try:
            found = json.loads(content) if passed.status == 200 else None
        except ValueError:
            found = None
        if isinstance(found, list) and all(isinstance(row, dict) for row in found):
            return found
        if passed.status == 400:
            raise ArgumentError(
                f"{self._access.url}: the archive does not know this search (HTTP status 400)."
            )
        raise StorageError(
            f"{self._access.url}: the archive answers a search with HTTP status {passed.status} and no list. "
            "Ask its administrator."
        )

    def _session(self) -> requests.Session:
        if not hasattr(self._own, "session"):
            self._own.session = self._access.session()
        session: requests.Session = self._own.session
        return session

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except requests.RequestException as error:
            raise StorageError(
                f"{self._access.url}: the archive does not answer ({type(error).__name__}). "
                "Check the address, and that it is running."
            ) from error


def _pieces(answer: requests.Response) -> Iterator[bytes]:
    with answer:
        yield from answer.iter_content(_PIECE_BYTES)
