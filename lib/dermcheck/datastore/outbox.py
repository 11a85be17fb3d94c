"""Objects on their way to an archive, on disk until it has confirmed them."""

import io
import logging
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import Dataset, dcmwrite

from dermcheck.dicom.attributes import read_uid
from dermcheck.dicom.new_file import write_new_file
from dermcheck.dicom.photograph import read_dataset
from dermcheck.errors import DermCheckError, NotFoundError, StorageError

__all__ = ["Outbox", "Waiting"]

_logger = logging.getLogger(__name__)

_NAME: Final = re.compile(r"(\d{10})-([0-9.]{1,64})\.dcm")


@dataclass(frozen=True, slots=True)
class Waiting:
    """One object that waits."""

    number: int
    """They are sent in this order."""
    sop_instance_uid: str
    path: Path


class Outbox:
    """A folder of numbered DICOM files; any thread may use it, and one process at a time.

    Parameters
    ----------
    folder
        Made when needed. Its files are the whole truth: they survive a crash and a restart.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._waiting = {found.sop_instance_uid: found for found in self._list()}

    def _list(self) -> list[Waiting]:
        try:
            paths = sorted(self._folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(
                f"{self._folder}: what waits for the archive cannot be read ({error.strerror}). "
                "Make the folder readable, and start again."
            ) from error
        matches = ((_NAME.fullmatch(path.name), path) for path in paths)
        return [Waiting(int(match[1]), match[2], path) for match, path in matches if match]

    def waiting(self) -> list[Waiting]:
        """Return what waits, in the order in which it is sent."""
        with self._lock:
            return sorted(self._waiting.values(), key=lambda found: found.number)

    def __contains__(self, sop_instance_uid: str) -> bool:
        """Tell whether an object waits."""
        with self._lock:
            return sop_instance_uid in self._waiting

    def put(self, dataset: Dataset) -> Waiting:
        """Keep an object durably, behind those that wait; one that waits already is not put again.

        Raises
        ------
        StorageError
            If it cannot be written. Nothing is left then.
        """
        uid = read_uid(dataset, "SOPInstanceUID")
        content = io.BytesIO()
        dcmwrite(content, dataset, enforce_file_format=True)
        with self._lock:
            if uid in self._waiting:
                return self._waiting[uid]
            number = max((found.number for found in self._waiting.values()), default=0) + 1
            path = self._folder / f"{number:010d}-{uid}.dcm"
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(
                    f"{self._folder}: the folder cannot be made ({error.strerror}). "
                    "Make it writable, and send it again."
                ) from error
            write_new_file(path, content.getvalue())
            self._waiting[uid] = Waiting(number, uid, path)
            return self._waiting[uid]

    def read(self, sop_instance_uid: str) -> Dataset | None:
        """Return a waiting object, or None if it does not wait (any more).

        Raises
        ------
        DermCheckError
            If its file is damaged or cannot be read.
        """
        with self._lock:
            found = self._waiting.get(sop_instance_uid)
        if found is None:
            return None
        try:
            return read_dataset(found.path)
        except NotFoundError:  # sent and removed a moment ago, perhaps by another server of this account
            with self._lock:
                self._waiting.pop(sop_instance_uid, None)
            return None

    def remove(self, sop_instance_uid: str) -> None:
        """Forget an object: the archive has it.

        Raises
        ------
        StorageError
            If its file cannot be removed.
        """
        with self._lock:
            found = self._waiting.pop(sop_instance_uid, None)
            if found is None:
                return
            try:
                found.path.unlink(missing_ok=True)
            except OSError as error:
                self._waiting[sop_instance_uid] = found
                raise StorageError(
                    f"{found.path}: the archive has it, but the file cannot be removed ({error.strerror})."
                ) from error

    def datasets(self) -> list[Dataset]:
        """Return all waiting objects that can be read, without their pixels."""
        found = []
        for one in self.waiting():
            dataset = _header(one)
            if dataset is not None:
                found.append(dataset)
        return found


def _header(waiting: Waiting) -> Dataset | None:
    try:
        return read_dataset(waiting.path, stop_before_pixels=True)
    except DermCheckError as error:
        _logger.error("%s", error)
        return None
