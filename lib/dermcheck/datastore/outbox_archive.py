"""An archive behind an outbox: what is stored is safe on this machine's disk before it is sent.

So a clinician never waits for an archive that is slow, away, full, or refuses an object; and what was
submitted is not lost when this machine stops before the archive has confirmed it.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom import Dataset

from dermcheck.datastore.archive import Archive
from dermcheck.datastore.catalogue import Catalogue
from dermcheck.datastore.instances import describe
from dermcheck.datastore.outbox import Outbox, Waiting
from dermcheck.datastore.web_archive import RefusedError, instance_key
from dermcheck.dicom.attributes import read_uid
from dermcheck.errors import DermCheckError, StorageError

__all__ = ["OutboxArchive", "Unsent"]

_logger = logging.getLogger(__name__)

_PATIENCE_S: Final = 2.0
"""How long storing waits for the archive's confirmation: usually it comes at once."""
_FIRST_PAUSE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Unsent:
    """An object that the archive does not have yet."""

    sop_instance_uid: str
    reason: str
    """Why in words; empty while it has not been tried."""


class OutboxArchive:
    """Stores into an outbox and sends from there, in order and exactly once; reads from both.

    An archive that is away holds up all objects. One object that it refuses does not hold up the
    others: it stays, is tried again with ever longer pauses, and is among the problems until then.

    Whether an object whose confirmation was lost arrived is asked before it is sent again, by its
    SOPInstanceUID.

    Parameters
    ----------
    archive
        Where it goes.
    catalogue
        The one that `archive` keeps up to date; holds what waits as well.
    folder
        Of the outbox.
    """

    def __init__(self, archive: Archive, catalogue: Catalogue, folder: Path) -> None:
        self._archive = archive
        self._catalogue = catalogue
        self._outbox = Outbox(folder)
        self._reasons: dict[str, str] = {}
        self._tried: set[str] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._put = 0  # counts, so that the sender sees what came while it was sending
        for dataset in self._outbox.datasets():
            self._list(dataset)
        self._tried.update(found.sop_instance_uid for found in self._outbox.waiting())
        self._sender = threading.Thread(target=self._keep_sending, name="outbox", daemon=True)
        self._sender.start()

    def _list(self, dataset: Dataset) -> None:
        try:
            self._catalogue.put(describe(dataset, instance_key(dataset), stored_ns=time.time_ns()))
        except DermCheckError as error:
            _logger.error("%s", error)

    # ---- storing and sending ----

    def store_instances(self, datasets: Sequence[Dataset], study_instance_uid: str | None = None) -> Dataset:
        """Keep instances, and wait a moment for the archive to confirm them.

        Raises
        ------
        StorageError
            If they cannot be written to this machine's disk.
        """
        uids = [self._outbox.put(dataset).sop_instance_uid for dataset in datasets]
        for dataset in datasets:
            self._list(dataset)
        with self._changed:
            self._put += 1
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: not any(uid in self._outbox and uid not in self._reasons for uid in uids), _PATIENCE_S
            )
        response = Dataset()
        response.ReferencedSOPSequence = [_reference(dataset) for dataset in datasets]
        return response

    def unsent(self) -> list[Unsent]:
        """Return what waits, in order."""
        return [
            Unsent(found.sop_instance_uid, self._reasons.get(found.sop_instance_uid, ""))
            for found in self._outbox.waiting()
        ]

    def read_unsent(self, sop_instance_uid: str) -> Dataset | None:
        """Return an object that the archive does not have yet; None for all others."""
        return self._outbox.read(sop_instance_uid)

    def close(self) -> None:
        """Stop sending; what waits is sent after the next start."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._sender.join(_PATIENCE_S)

    def _keep_sending(self) -> None:
        pause_s, seen = _FIRST_PAUSE_S, 0
        while True:
            with self._changed:
                if self._closed:
                    return
                seen = self._put
            is_everything_sent = self._send_waiting()
            with self._changed:
                self._changed.notify_all()
                pause_s = _FIRST_PAUSE_S if is_everything_sent else min(2 * pause_s, _LONGEST_PAUSE_S)
                timeout = None if is_everything_sent else pause_s
                self._changed.wait_for(lambda: self._closed or self._put != seen, timeout)  # noqa: B023

    def _send_waiting(self) -> bool:
        """Send what waits; return whether nothing is left."""
        for waiting in self._outbox.waiting():
            if not self._try_to_send(waiting):
                break
        return not self._outbox.waiting()

    def _try_to_send(self, waiting: Waiting) -> bool:
        """Send one object; return whether it makes sense to go on with the next."""
        try:
            self._send(waiting)
        except RefusedError as error:  # this object, whatever becomes of the others
            self._note(waiting, str(error))
        except StorageError as error:  # the archive, so the others would fail too
            for other in self._outbox.waiting():
                self._note(other, str(error))
            return False
        except DermCheckError as error:  # its file is damaged
            self._note(waiting, str(error))
        except Exception as error:
            _logger.exception("Sending %s failed", waiting.sop_instance_uid)
            self._note(waiting, f"It cannot be sent ({type(error).__name__}); details are in the log.")
        return True

    def _send(self, waiting: Waiting) -> None:
        uid = waiting.sop_instance_uid
        dataset = self._outbox.read(uid)
        if dataset is None:
            return
        if uid not in self._tried or not self._is_there(dataset):
            self._tried.add(uid)
            self._archive.store_instances([dataset])
        self._outbox.remove(uid)
        with self._changed:
            self._reasons.pop(uid, None)
            self._tried.discard(uid)
            self._changed.notify_all()

    def _is_there(self, dataset: Dataset) -> bool:
        found = self._archive.search_for_instances(
            read_uid(dataset, "StudyInstanceUID"),
            read_uid(dataset, "SeriesInstanceUID"),
            search_filters={"SOPInstanceUID": read_uid(dataset, "SOPInstanceUID")},
        )
        return bool(found)

    def _note(self, waiting: Waiting, reason: str) -> None:
        with self._changed:
            if self._reasons.get(waiting.sop_instance_uid) != reason:
                _logger.warning("Waits to be sent: instance %s: %s", waiting.sop_instance_uid, reason)
            self._reasons[waiting.sop_instance_uid] = reason
            self._changed.notify_all()

    # ---- the rest of what an archive does ----

    def update(self) -> None:
        """Bring the catalogue up to date; raises as the archive does."""
        self._archive.update()

    def begin(self) -> None:
        """Look at the newest part of the archive only; raises as `update`."""
        self._archive.begin()

    def problems(self) -> list[str]:
        """Say what cannot be used, and what could not be sent."""
        unsent = [
            f"instance {found.sop_instance_uid}: it waits to be sent to the archive. {found.reason}"
            for found in self.unsent()
            if found.reason
        ]
        return [*self._archive.problems(), *unsent]

    def path(self, key: str) -> Path | None:
        """Return None: an archive has no files."""
        return self._archive.path(key)

    def search_for_instances(self, *arguments: Any, **options: Any) -> list[dict[str, dict[Any, Any]]]:
        """Search the archive; what waits is not found there."""
        return self._archive.search_for_instances(*arguments, **options)

    def retrieve_instance(
        self,
        study_instance_uid: str,
        series_instance_uid: str,
        sop_instance_uid: str,
        media_types: tuple[str | tuple[str, str], ...] | None = None,
    ) -> Dataset:
        """Retrieve one instance, also one that waits; raises as the archive does."""
        waiting = self._outbox.read(sop_instance_uid)
        return waiting or self._archive.retrieve_instance(
            study_instance_uid, series_instance_uid, sop_instance_uid, media_types
        )

    def retrieve_instance_metadata(
        self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str
    ) -> dict[str, dict[Any, Any]]:
        """Retrieve one instance without its pixel data, also one that waits; raises as the archive does."""
        waiting = self._outbox.read(sop_instance_uid)
        if waiting is None:
            return self._archive.retrieve_instance_metadata(
                study_instance_uid, series_instance_uid, sop_instance_uid
            )
        waiting.pop("PixelData", None)
        return waiting.to_json_dict()


def _reference(dataset: Dataset) -> Dataset:
    stored = Dataset()
    stored.ReferencedSOPClassUID = dataset.SOPClassUID
    stored.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
    return stored
