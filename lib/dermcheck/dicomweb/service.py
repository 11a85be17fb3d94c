"""What serves DICOMweb for one store: our own origin over a folder, or an archive's through a proxy."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from pydicom import Dataset

from dermcheck.datastore import StudyStore
from dermcheck.datastore.archive_access import ArchiveAccess
from dermcheck.datastore.folder_archive import FolderArchive
from dermcheck.datastore.instances import Instance
from dermcheck.datastore.outbox_archive import OutboxArchive
from dermcheck.dicomweb.metadata import instance_address
from dermcheck.dicomweb.origin import FolderOrigin
from dermcheck.dicomweb.plain_rgb import is_described_as_rgb, rgb_json
from dermcheck.dicomweb.proxy import ArchiveProxy
from dermcheck.dicomweb.storing import Receiver
from dermcheck.errors import NotFoundError

__all__ = ["DicomWebService"]

_UIDS: Final = ("0020000D", "0020000E", "00080018")
"""Tags of study, series and instance."""
_MOST_NOTED: Final = 200_000
"""Instances of which is remembered whether browsers are offered them as RGB: 20 MB."""


@dataclass(frozen=True)
class DicomWebService:
    """Exactly one of `origin` and `proxy` is there."""

    store: StudyStore
    receiver: Receiver
    origin: FolderOrigin | None
    proxy: ArchiveProxy | None
    _as_rgb: dict[str, bool] = field(default_factory=dict, repr=False)
    """By SOPInstanceUID, of the archive's instances that were asked for: see `is_offered_as_rgb`."""

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

    def rgb_photograph(self, study: str, series: str, instance: str) -> Dataset | None:
        """Retrieve the instance named from the archive if browsers are offered it as RGB, else None.

        Whether it is, the archive is asked once for each instance; usually its metadata have gone by
        before. Raises StorageError if the archive does not answer.
        """
        archive = self.store.archive
        if instance not in self._as_rgb:
            known = self.store.catalogue.find(instance)
            if known is not None and known.kind != "photograph":
                return None
            try:
                described = archive.retrieve_instance_metadata(study, series, instance)
            except NotFoundError:
                return None  # the archive says so itself when it is asked for the frame
            self._note(instance, is_described_as_rgb(described))
        return archive.retrieve_instance(study, series, instance) if self._as_rgb[instance] else None

    def _note(self, instance: str, as_rgb: bool) -> None:
        if len(self._as_rgb) >= _MOST_NOTED:
            self._as_rgb.clear()  # the archive is asked again
        self._as_rgb[instance] = as_rgb

    def with_rgb(self, metadata: bytes, root: str) -> bytes:
        """Describe as RGB those photographs in an archive's metadata that are offered so.

        Parameters
        ----------
        metadata
            A JSON array, as the archive gives it. Anything else is returned as it is.
        root
            URL of this server's service.
        """
        try:
            described = json.loads(metadata)
        except ValueError:
            return metadata
        if not isinstance(described, list):
            return metadata
        changed = [self._offered(one, root) for one in described]
        return metadata if changed == described else json.dumps(changed, ensure_ascii=False).encode()

    def _offered(self, described: Any, root: str) -> Any:
        """Return one instance's metadata, as RGB if it is offered so."""
        try:
            uids = [described[tag]["Value"][0] for tag in _UIDS]
        except (LookupError, TypeError):
            return described
        as_rgb = is_described_as_rgb(described)
        self._note(uids[-1], as_rgb)
        if not as_rgb:
            return described
        return rgb_json(described, instance_address(root, *uids))

    def _known(self, study: str, series: str | None, instance: str | None) -> Iterator[Instance]:
        """Yield what the catalogue has of a study, of a series, or the instance named."""
        for found in self.store.catalogue.study(study):
            if series in (None, found.series_instance_uid) and instance in (None, found.sop_instance_uid):
                yield found
