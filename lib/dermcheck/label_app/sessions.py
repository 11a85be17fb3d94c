"""Photographs that a viewer sends to be looked at once: kept for an hour, never among the studies."""

from __future__ import annotations

import logging
import re
import shutil
import time
import uuid
from pathlib import Path
from typing import Any, BinaryIO, Final

from monailabel.utils.sessions import SessionInfo, Sessions

from dermcheck.datastore.locations import cache_root
from dermcheck.errors import ArgumentError, NotFoundError, StorageError
from dermcheck.label_app.source_image import SentPhotograph, read_sent, read_upload

__all__ = ["PhotographSessions", "safe_file_name"]

logger = logging.getLogger(__name__)

_LONGEST_NAME: Final = 100


class PhotographSessions(Sessions):  # type: ignore[misc]  # monailabel has no types
    """MONAI Label's sessions, restricted to one readable photograph each.

    MONAI Label joins the id that a client sends to a path; here an id is a UUID or nobody's. It
    also unpacks archives on request; here that is refused.
    """

    def __init__(self, folder: str, expiry: int) -> None:
        super().__init__(folder or str(cache_root() / "sessions"), expiry)
        try:
            Path(self.store_path).mkdir(mode=0o700, parents=True, exist_ok=True)  # patients' photographs
        except OSError as error:
            raise StorageError(
                f"{self.store_path}: the folder for uploaded photographs cannot be made ({error.strerror}). "
                "Make it writable, or set MONAI_LABEL_SESSION_PATH to another folder."
            ) from error

    def keep(self, upload: BinaryIO, name: str, expiry: int = 0) -> tuple[str, SessionInfo]:
        """Keep an uploaded photograph, if it can be read as one.

        Parameters
        ----------
        name
            As the client names the file; only its last part is used.
        expiry
            Seconds without use until it is removed; 0, or more than the server's own, means the latter.

        Raises
        ------
        UnreadableImageError
            If it is not a photograph. Nothing is kept then.
        """
        session_id = str(uuid.uuid4())
        folder = Path(self.store_path) / session_id
        folder.mkdir(mode=0o700)
        try:
            path = folder / safe_file_name(name)
            with path.open("wb") as file:
                shutil.copyfileobj(upload, file)
            read_upload(path)
            info = self._register(session_id, path, expiry)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return session_id, info

    def photograph(self, session_id: str) -> SentPhotograph:
        """Return the photograph of a session.

        Raises
        ------
        NotFoundError
            If there is no such session (any more).
        """
        info = self.get_session(session_id)
        if info is None:
            raise NotFoundError(
                f"There is no session {session_id[:40]!r}, or it has expired. Send the photograph again."
            )
        return read_sent(Path(info.image))

    def get_session(
        self, session_id: str, update_ts: bool = True, fetch_cache: bool = True
    ) -> SessionInfo | None:
        """Return a session, or None if there is none of this id."""
        try:
            is_id = str(uuid.UUID(session_id)) == session_id
        except ValueError:
            is_id = False
        return super().get_session(session_id, update_ts, fetch_cache) if is_id else None

    def add_session(
        self, data_file: str, expiry: int = 0, uncompress: bool = False, session_id: str | None = None
    ) -> tuple[str, SessionInfo]:
        """Refuse MONAI Label's own way, which takes folders and archives; `keep` replaces it."""
        raise ArgumentError("A session holds one photograph: send a single file, not a folder or an archive.")

    def remove_session(self, session_id: str) -> None:
        """Remove a session and its photograph; unknown ids are ignored."""
        if self.get_session(session_id, update_ts=False) is not None:
            super().remove_session(session_id)

    def remove_expired(self) -> int:
        """Remove what has not been used for its time, and folders left by a crash; return how many."""
        count = 0
        for folder in Path(self.store_path).iterdir():
            info = self.get_session(folder.name, update_ts=False)
            last_used = info.last_access_ts + info.expiry if info else folder.stat().st_mtime + self.expiry
            if last_used < time.time():
                self.pop(folder.name, None)
                shutil.rmtree(folder, ignore_errors=True)
                count += 1
        return count

    def _register(self, session_id: str, path: Path, expiry: int) -> SessionInfo:
        now = int(time.time())
        info = SessionInfo(_session_fields(session_id, path, now))
        info.expiry = min(expiry, self.expiry) if expiry > 0 else self.expiry
        self._write_meta_info(session_id, info)
        self[session_id] = info
        return info


def safe_file_name(name: str) -> str:
    r"""Return the last part of a client's file name, without what a path could make of it.

    >>> safe_file_name("C:\\Photos\\Großer Fleck 1.nii.gz")
    'Großer Fleck 1.nii.gz'
    >>> safe_file_name("../../etc/passwd"), safe_file_name("..")
    ('passwd', 'upload')
    """
    last = re.split(r"[\\/]", name)[-1]
    kept = "".join(character for character in last if character.isprintable()).strip(" .")
    return kept[-_LONGEST_NAME:] if kept else "upload"


def _session_fields(session_id: str, path: Path, now: int) -> dict[str, Any]:
    return {
        "name": session_id,
        "path": str(path.parent),
        "image": str(path),
        "meta": {},
        "create_ts": now,
        "last_access_ts": now,
    }
