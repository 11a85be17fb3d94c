"""The store of all studies: what the rest of DermCheck asks for photographs and labels."""

import logging
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from pydicom import Dataset

from dermcheck.datastore.archive import Archive
from dermcheck.datastore.archive_access import ArchiveAccess
from dermcheck.datastore.catalogue import Catalogue
from dermcheck.datastore.folder_archive import FolderArchive
from dermcheck.datastore.instance_json import from_dicom_json
from dermcheck.datastore.instances import Instance, StoredLabel, describe
from dermcheck.datastore.locations import is_url, studies_cache, studies_data
from dermcheck.datastore.outbox_archive import OutboxArchive, Unsent
from dermcheck.datastore.web_archive import WebArchive
from dermcheck.dicom.files import file_name
from dermcheck.dicom.header import PhotographHeader, read_header
from dermcheck.errors import ArgumentError, DermCheckError, NotFoundError, StorageError

__all__ = ["StudyStore"]

_logger = logging.getLogger(__name__)

_FOLDER_PAUSE_S: Final = 2.0
_ARCHIVE_PAUSE_S: Final = 30.0
_OWN_FOLDER: Final = ".dermcheck"
"""Inside a studies folder, so that a copy of it holds everything; hidden, so that it is not searched."""
_IDLE_SHARE: Final = 20
"""The pause between two looks at the studies is at least this many times what a look takes."""


class StudyStore:
    """Photographs and their labels, in a folder or in an archive (PACS) with DICOMweb.

    All of it works on one `Archive`, whichever kind it is. An image is a photograph, its id the
    SOPInstanceUID; a label is a segmentation that refers to it. Objects are only ever added.

    Every method may be called from any thread. Several processes may open the same studies.

    Parameters
    ----------
    archive
        Where the studies are.
    catalogue
        The one that `archive` keeps up to date.
    cache
        Folder for what belongs to these studies and can be rebuilt.
    kept
        Folder for what cannot (made when needed); that of the cache if None.
    """

    def __init__(self, archive: Archive, catalogue: Catalogue, cache: Path, kept: Path | None = None) -> None:
        self._archive = archive
        self._catalogue = catalogue
        self._headers: dict[str, PhotographHeader] = {}
        self._unreachable: str | None = None
        self._closing = threading.Event()
        self._watcher: threading.Thread | None = None
        self.cache = cache
        self.originals = (kept or cache) / "originals"
        """Folder of Segmentations as viewers sent them, where a conformant one was stored instead."""

    @classmethod
    def open(cls, location: str | Path, cache: Path | None = None, *, watch: bool = True) -> "StudyStore":
        """Open a studies folder, or an archive by its DICOMweb address.

        Of a folder, all that is there is known when this returns. The first time each file's header is
        read; later only those of new and changed files. Of an archive the beginning is known, or with
        `watch` off all of it.

        Parameters
        ----------
        location
            A folder, or an ``http(s)`` URL.
        cache
            Where to keep the index and other things that can be rebuilt; see `cache_root`.
        watch
            Look every few seconds, in a thread of its own, for what others add, change or remove, and
            send to an archive from an outbox. Without it only `refresh` looks, and storing waits for
            the archive.

        Raises
        ------
        ArgumentError
            If there is no such folder, or the cache would lie inside it.
        StorageError
            If the folder cannot be read, the archive does not answer, or no cache can be made.
        """
        catalogue = Catalogue()
        archive: Archive
        if is_url(location):
            cached, kept = studies_cache(location, cache), studies_data(str(location), cache)
            access, pause_s = ArchiveAccess.from_environment(str(location)), _ARCHIVE_PAUSE_S
            archive = WebArchive.connect(access, catalogue, cached / "labels.sqlite")
            if watch:  # somebody works with it: nothing may keep them waiting, and nothing be lost
                archive = OutboxArchive(archive, catalogue, kept / "outbox")
        else:
            folder = _existing_folder(location)
            cached, kept = studies_cache(folder, cache), folder / _OWN_FOLDER
            archive, pause_s = FolderArchive(folder, cached / "index.sqlite", catalogue), _FOLDER_PAUSE_S
        store = cls(archive, catalogue, cached, kept)
        if watch:
            archive.begin()
            store._watch(pause_s)
        else:
            store.refresh()
        return store

    @property
    def archive(self) -> Archive:
        """Where the studies are."""
        return self._archive

    @property
    def catalogue(self) -> Catalogue:
        """What is known of all instances."""
        return self._catalogue

    # ---- photographs ----

    def image_ids(self) -> list[str]:
        """Return the SOPInstanceUIDs of all photographs, in the order of their files."""
        return self._catalogue.image_ids()

    def has_image(self, image_id: str) -> bool:
        """Tell whether there is a photograph with this SOPInstanceUID."""
        found = self._catalogue.find(image_id)
        return found is not None and found.kind == "photograph"

    def header(self, image_id: str) -> PhotographHeader:
        """Return the header of a photograph.

        Raises
        ------
        NotFoundError
            If there is no such photograph.
        StorageError, UnreadableImageError
            If an archive has to be asked, and it does not answer or answers with something else.
        """
        found = self._photograph(image_id)
        if found.header:
            return found.header
        if image_id not in self._headers:  # archives list instances without their headers
            self._headers[image_id] = read_header(self.attributes(image_id))
        return self._headers[image_id]

    def attributes(self, image_id: str) -> Dataset:
        """Return all attributes of a photograph without its pixel data. Raises as `header`."""
        metadata = self._archive.retrieve_instance_metadata(*_place(self._photograph(image_id)))
        return from_dicom_json(metadata, f"instance {image_id}")

    def retrieve(self, image_id: str) -> Dataset:
        """Return a photograph as a dataset with its pixel data.

        Raises
        ------
        NotFoundError
            If there is no such photograph.
        UnreadableImageError, StorageError
            If it cannot be read, or the archive does not answer.
        """
        return self._archive.retrieve_instance(*_place(self._photograph(image_id)))

    def path(self, image_id: str) -> Path | None:
        """Return the file of a photograph, or None in an archive. Raises NotFoundError as `header`."""
        return self._archive.path(self._photograph(image_id).key)

    def revision(self, image_id: str) -> str:
        """Return a text that changes when the photograph's file does. Raises NotFoundError as `header`."""
        return self._photograph(image_id).revision

    def multi_frame_ids(self) -> frozenset[str]:
        """Return the ids of photographs with several frames; in an archive that is not known in advance."""
        return self._catalogue.multi_frame()

    def _photograph(self, image_id: str) -> Instance:
        found = self._catalogue.find(image_id)
        if found is None or found.kind != "photograph":
            raise NotFoundError(
                f"image {image_id}: there is no such photograph in the studies. Refresh the list."
            )
        return found

    # ---- labels ----

    def labels(self, image_id: str) -> list[StoredLabel]:
        """Return a photograph's labels that nobody has withdrawn, oldest first; none for an unknown id."""
        return self._catalogue.labels(image_id)

    def label_history(self, image_id: str) -> list[StoredLabel]:
        """Return all labels of a photograph, also withdrawn ones and what withdraws them, oldest first."""
        return self._catalogue.label_history(image_id)

    def latest_final(self, image_id: str) -> StoredLabel | None:
        """Return the label that counts: the newest one made by a human."""
        return next((label for label in reversed(self.labels(image_id)) if not label.automatic), None)

    def finished_ids(self) -> frozenset[str]:
        """Return the ids of the photographs that have a label made by a human."""
        return self._catalogue.finished()

    def label(self, sop_instance_uid: str) -> StoredLabel:
        """Return what is listed of one label. Raises NotFoundError if there is none with this UID."""
        return self._label(sop_instance_uid)[1]

    def retrieve_label(self, sop_instance_uid: str) -> Dataset:
        """Return a label as a dataset with its pixel data. Raises as `retrieve`."""
        return self._archive.retrieve_instance(*_place(self._label(sop_instance_uid)[0]))

    def _label(self, sop_instance_uid: str) -> tuple[Instance, StoredLabel]:
        found = self._catalogue.find(sop_instance_uid)
        if found is None or found.label is None:
            raise NotFoundError(
                f"label {sop_instance_uid}: there is no such label in the studies. Refresh the list."
            )
        return found, found.label

    # ---- storing ----

    def store(self, dataset: Dataset) -> None:
        """Store a photograph, a label or a report: all of it or, after an error, nothing.

        It is in `image_ids` or `labels` when this returns.

        Raises
        ------
        UnreadableImageError, MaskError
            If the object lacks what every instance needs.
        NotFoundError
            If it is a label of a photograph that is not in the studies.
        StorageError
            If the instance is there already (nothing is ever replaced), or cannot be stored.
        """
        instance = describe(dataset, "")
        if self._catalogue.find(instance.sop_instance_uid):
            raise StorageError(
                f"instance {instance.sop_instance_uid}: it is stored already, and nothing stored is ever "
                "replaced. Give a changed object a new SOPInstanceUID."
            )
        if instance.label and not self.has_image(instance.label.image_id):
            raise NotFoundError(
                f"label {instance.sop_instance_uid}: it belongs to photograph {instance.label.image_id}, "
                "which is not in the studies. Add the photograph first."
            )
        self._archive.store_instances([dataset])

    # ---- staying up to date ----

    def refresh(self) -> None:
        """Look now for what others added, changed or removed.

        Raises
        ------
        StorageError
            If the folder or archive cannot be reached. What was known stays known.
        """
        try:
            self._archive.update()
        except StorageError as error:
            self._unreachable = str(error)
            raise
        self._unreachable = None

    def problems(self) -> list[str]:
        """Say in words what is wrong with the studies: one sentence for each file or instance."""
        unreachable = [self._unreachable] if self._unreachable else []
        return [*unreachable, *self._archive.problems(), *self._duplicates(), *self._stray_labels()]

    def _duplicates(self) -> list[str]:
        return [
            f"{self._name(keys[0])}: its SOPInstanceUID {uid} is also in "
            f"{', '.join(map(self._name, keys[1:]))}. Only the first is used: remove or re-export the others."
            for uid, keys in self._catalogue.duplicates().items()
        ]

    def _stray_labels(self) -> list[str]:
        return [
            f"{self._name(stray.key)}: it is a label of photograph {stray.label.image_id}, which is not in "
            "the studies. Add the photograph or remove the label."
            for stray in self._catalogue.stray_labels()
            if stray.label
        ]

    def _name(self, key: str) -> str:
        path = self._archive.path(key)
        return file_name(path) if path else f"instance {key.rpartition('/')[2]}"

    def _watch(self, pause_s: float) -> None:
        self._watcher = threading.Thread(
            target=self._keep_looking, args=(pause_s,), name="studies", daemon=True
        )
        self._watcher.start()

    def _keep_looking(self, pause_s: float) -> None:
        """Refresh again and again. Polling, as notifications of changes do not exist on network shares."""
        pause_now_s = (
            pause_s if isinstance(self._archive, FolderArchive) else 0.0
        )  # only its beginning is known
        while not self._closing.wait(pause_now_s):
            started = time.monotonic()
            try:
                self.refresh()
            except DermCheckError as error:
                _logger.warning("%s", error)  # is in `problems` too, and tried again
            except Exception:
                _logger.exception("Looking at the studies failed")
            pause_now_s = max(pause_s, _IDLE_SHARE * (time.monotonic() - started))

    def unsent(self) -> list[Unsent]:
        """Return what waits to be sent to the archive, in order; none for a folder."""
        return self._archive.unsent() if isinstance(self._archive, OutboxArchive) else []

    def close(self) -> None:
        """Stop looking for changes, and sending. Reading and storing still work."""
        self._closing.set()
        if isinstance(self._archive, OutboxArchive):
            self._archive.close()
        if self._watcher:
            self._watcher.join()

    def __enter__(self) -> "StudyStore":
        """Return the store itself; it is closed at the end of the ``with`` block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store."""
        self.close()


def _existing_folder(location: str | Path) -> Path:
    folder = Path(location).expanduser().absolute()
    if not folder.is_dir():
        found = "a file" if folder.exists() else "missing"
        raise ArgumentError(
            f"{file_name(folder)}: the studies folder is {found}, expected a folder. "
            "Make it, or check the spelling."
        )
    return folder


def _place(instance: Instance) -> tuple[str, str, str]:
    return instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid
