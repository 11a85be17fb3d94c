"""What a place that holds studies must offer: the part of `dicomweb_client`'s protocol that we use.

The three methods have the names, arguments and answers of `dicomweb_client.protocol.DICOMClient`, so
that `DICOMwebClient` and `DICOMfileClient` fit as they are; see `dermcheck.datastore.folder_archive`
for why a folder is not left to the latter.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from pydicom import Dataset

__all__ = ["Archive", "InstanceClient"]


class InstanceClient(Protocol):
    """The instance level of DICOMweb: QIDO-RS, WADO-RS and STOW-RS (PS3.18 chapter 10)."""

    def search_for_instances(
        self,
        study_instance_uid: str | None = None,
        series_instance_uid: str | None = None,
        fuzzymatching: bool | None = None,
        limit: int | None = None,
        offset: int | None = None,
        fields: Sequence[str] | None = None,
        search_filters: dict[str, Any] | None = None,
        get_remaining: bool = False,
    ) -> list[dict[str, dict[Any, Any]]]:
        """Return one DICOM JSON object for each matching instance."""

    def retrieve_instance(
        self,
        study_instance_uid: str,
        series_instance_uid: str,
        sop_instance_uid: str,
        media_types: tuple[str | tuple[str, str], ...] | None = None,
    ) -> Dataset:
        """Return one instance with its pixel data."""

    def retrieve_instance_metadata(
        self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str
    ) -> dict[str, dict[Any, Any]]:
        """Return one instance without its pixel data, as DICOM JSON."""

    def store_instances(self, datasets: Sequence[Dataset], study_instance_uid: str | None = None) -> Dataset:
        """Store instances; the answer lists what was stored and what was not (PS3.18 table 10.5.3-1)."""


class Archive(InstanceClient, Protocol):
    """A client that also keeps a `Catalogue` of its instances up to date."""

    def begin(self) -> None:
        """Learn enough of what is there for work to begin, in seconds; raises as `update`."""

    def update(self) -> None:
        """Bring the catalogue up to date.

        Raises
        ------
        StorageError
            If the place cannot be reached; the catalogue then stays as it was.
        """

    def problems(self) -> list[str]:
        """Say in words what could not be read."""

    def path(self, key: str) -> Path | None:
        """Return the file at a place of the catalogue, or None where there are no files."""
