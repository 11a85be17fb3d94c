"""What serves DICOMweb for one store: our own origin over a folder, or an archive's through a proxy."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import Dataset

from dermcheck.datastore import StudyStore
from dermcheck.datastore.archive_access import ArchiveAccess
from dermcheck.datastore.folder_archive import FolderArchive
from dermcheck.datastore.instances import Instance
from dermcheck.datastore.outbox_archive import OutboxArchive
from dermcheck.dicomweb.origin import FolderOrigin
from dermcheck.dicomweb.proxy import ArchiveProxy
from dermcheck.dicomweb.storing import Receiver
from dermcheck.errors import NotFoundError

__all__ = ["DicomWebService"]


@dataclass(frozen=True)
class DicomWebService:
    """Exactly one of `origin` and `proxy` is there."""

    store: StudyStore
    receiver: Receiver
    origin: FolderOrigin | None
    proxy: ArchiveProxy | None

    @classmethod
    def of(cls, store: StudyStore, location: str) -> "DicomWebService":
        """Make the service of a store that was opened at a location."""
        archive, receiver = store.archive, Receiver(store, store.originals)
        if isinstance(archive, FolderArchive):
            return cls(store, receiver, FolderOrigin(archive, store.catalogue), None)
        return cls(store, receiver, None, ArchiveProxy(ArchiveAccess.from_environment(location)))

    def unsent(self, study: str, series: str, instance: str | None = None) -> list[Dataset]:
        """Return objects that wait to be sent to the archive, which therefore cannot answer for them."""
        archive = self.store.archive
        if not isinstance(archive, OutboxArchive):
            return []
        found = (archive.read_unsent(one.sop_instance_uid) for one in self._known(study, series, instance))
        return [dataset for dataset in found if dataset is not None]

    def first_photograph(self, study: str, series: str | None = None, instance: str | None = None) -> Dataset:
        """Retrieve the first photograph of a study, of a series, or the one named.

        Raises
        ------
        NotFoundError
            If there is none.
        StorageError
            If the archive does not answer.
        """
        for found in self._known(study, series, instance):
            if found.kind == "photograph":
                return self.store.retrieve(found.sop_instance_uid)
        named = f"instance {instance}" if instance else f"series {series}" if series else f"study {study}"
        raise NotFoundError(f"{named}: there is no photograph of it in the studies. Refresh the list.")

    def _known(self, study: str, series: str | None, instance: str | None) -> Iterator[Instance]:
        """Yield what the catalogue has of a study, of a series, or the instance named."""
        for found in self.store.catalogue.study(study):
            if series in (None, found.series_instance_uid) and instance in (None, found.sop_instance_uid):
                yield found
