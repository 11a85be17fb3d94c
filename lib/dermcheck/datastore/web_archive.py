"""An archive (PACS) with DICOMweb behind the same methods as a studies folder.

Lists come from searches by modality, which every archive keeps an index of. Instances in an archive
do not change, so each label is asked about once; what was answered is kept between starts.
"""

import threading
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset

from dermcheck.datastore.archive import InstanceClient
from dermcheck.datastore.archive_access import MODALITIES, ArchiveAccess
from dermcheck.datastore.catalogue import Catalogue
from dermcheck.datastore.folder_walk import Stamp
from dermcheck.datastore.index_cache import IndexCache, IndexedFile
from dermcheck.datastore.instance_json import from_dicom_json
from dermcheck.datastore.instances import Instance, Kind, describe
from dermcheck.dicom.attributes import read_text, read_uid
from dermcheck.dicom.segmentation_reading import is_segmentation
from dermcheck.dicom.sop_classes import is_photograph
from dermcheck.errors import DermCheckError, NotFoundError, StorageError, UnreadableImageError

__all__ = ["RefusedError", "WebArchive", "instance_key"]

_LABELS: Final = "SEG"
_PAGE: Final = 1000
_FIRST_PAGE: Final = 200
_OUT_OF_RESOURCES: Final = 0xA7
"""Upper byte of the failure reasons for that (PS3.18 table I.2-2)."""
_REFUSALS: Final = (400, 409, 413, 415, 422)
"""Statuses that are about what was sent, not about the archive."""
_INDEX_VERSION: Final = 1
_UNCHANGING: Final = Stamp(0, 0, 0)
_FIELDS: Final = ("SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality")
_AS_STORED: Final = (("application/dicom", "*"),)
"""Ask for the transfer syntax that is stored: some archives else decompress, which is slow and large."""


class RefusedError(StorageError):
    """The archive works, but does not take this object."""


class WebArchive:
    """The photographs and segmentations of one archive.

    Parameters
    ----------
    make_client
        Makes a DICOMweb client; called once in each thread, as clients do not promise to be
        thread-safe.
    address
        For messages.
    catalogue
        Is kept up to date by `update` and `store_instances`.
    modalities
        Of photographs: what is searched for.
    cache_file
        Where to remember what labels say; without it they are asked about again by the next process.
    """

    def __init__(
        self,
        make_client: Callable[[], InstanceClient],
        address: str,
        catalogue: Catalogue,
        modalities: Sequence[str] = MODALITIES,
        cache_file: Path | None = None,
    ) -> None:
        self._make_client = make_client
        self._modalities = tuple(modalities)
        self._address = address
        self._catalogue = catalogue
        self._own = threading.local()
        self._updating = threading.Lock()
        self._known: set[str] = set()
        self._problems: dict[str, str] = {}
        self._cache = IndexCache(cache_file, _INDEX_VERSION) if cache_file else None
        self._remembered = self._cache.load() if self._cache else {}
        self._unsaved: dict[str, IndexedFile] = {}

    @classmethod
    def connect(
        cls, access: ArchiveAccess, catalogue: Catalogue, cache_file: Path | None = None
    ) -> "WebArchive":
        """Make an archive of what is needed to reach it."""
        return cls(lambda: _make_client(access), access.url, catalogue, access.modalities, cache_file)

    @property
    def _client(self) -> InstanceClient:
        if not hasattr(self._own, "client"):
            self._own.client = self._make_client()
        client: InstanceClient = self._own.client
        return client

    # ---- the archive as it is now ----

    def begin(self) -> None:
        """Search for the first photographs of each kind only, so that work can begin; raises as `update`.

        An archive may hold hundreds of thousands; `update` finds the others afterwards.
        """
        with self._updating:
            for modality in self._modalities:
                for listed in next(self._pages(modality, _FIRST_PAGE), []):
                    self._add_new(_listed_key(listed, self._address), listed)

    def update(self) -> None:
        """Search the archive again, photographs first, then the labels of their studies.

        What is found is in the catalogue at once, not only when everything has been found.

        Raises
        ------
        StorageError
            If it does not answer or refuses. Nothing is then taken for removed.
        """
        with self._updating:
            before = set(self._known)  # not what is stored during the search
            found: set[str] = set()
            try:
                for modality in (*self._modalities, _LABELS):
                    for listed in self._search(modality, found):
                        self._add_new(_listed_key(listed, self._address), listed)
            finally:
                self._remember()  # also where the archive went away half-way
            for key in before - found:
                self._known.discard(key)
                self._problems.pop(key, None)
                self._catalogue.drop(key)
            self._forget(self._remembered.keys() - found - self._known)

    def _remember(self) -> None:
        if self._cache and self._unsaved:
            self._cache.save(self._unsaved, ())
            self._remembered |= self._unsaved
        self._unsaved = {}

    def _forget(self, gone: Set[str]) -> None:
        if self._cache and gone:
            self._cache.save({}, gone)
            for key in gone:
                del self._remembered[key]

    def _search(self, modality: str, found: set[str]) -> Iterator[Dataset]:
        for page in self._pages(modality, _PAGE):
            keys = {_listed_key(listed, self._address) for listed in page}
            if keys <= found:
                break  # an archive that ignores the offset would send the same page for ever
            found |= keys
            yield from page

    def _pages(self, modality: str, size: int) -> Iterator[list[Dataset]]:
        """Search until nothing is left: archives limit their answers, some to less than is asked for."""
        offset = 0
        while answers := self.search_for_instances(
            search_filters={"Modality": modality}, fields=_FIELDS, limit=size, offset=offset or None
        ):
            yield [from_dicom_json(answer, self._address) for answer in answers]
            offset += len(answers)

    def _add_new(self, key: str, listed: Dataset) -> None:
        if key in self._known:
            return
        study = key.partition("/")[0]
        if is_segmentation(listed) and not any(
            one.kind == "photograph" for one in self._catalogue.study(study)
        ):
            return  # an outline of a CT, or of a photograph that is not known yet: looked at next time
        self._add(key, listed)

    def _add(self, key: str, listed: Dataset) -> None:
        try:
            instance = self._describe(key, listed)
        except StorageError:
            raise
        except DermCheckError as error:
            self._problems[key] = str(error)
        else:
            self._catalogue.put(instance)
        self._known.add(key)
        if len(self._unsaved) >= _PAGE:
            self._remember()

    def _describe(self, key: str, listed: Dataset) -> Instance:
        """Describe a search result; only labels need more than it holds."""
        if is_segmentation(listed):
            known = self._remembered.get(key)
            return known.instance if known and known.instance else self._ask_about(key)
        kind: Kind = "photograph" if is_photograph(listed) else "other"
        return Instance(
            key=key,
            revision="",
            stored_ns=0,
            kind=kind,
            sop_class_uid=read_uid(listed, "SOPClassUID"),
            study_instance_uid=read_uid(listed, "StudyInstanceUID"),
            series_instance_uid=read_uid(listed, "SeriesInstanceUID"),
            sop_instance_uid=read_uid(listed, "SOPInstanceUID"),
            modality=read_text(listed, "Modality") or "",
        )

    def _ask_about(self, key: str) -> Instance:
        study, series, instance = key.split("/")
        metadata = self.retrieve_instance_metadata(study, series, instance)
        described = describe(from_dicom_json(metadata, f"instance {instance}"), key)
        self._unsaved[key] = IndexedFile(_UNCHANGING, described, None)
        return described

    def problems(self) -> list[str]:
        """Say which instances cannot be used, and why."""
        return list(self._problems.values())

    def path(self, key: str) -> None:
        """Return None: an archive has no files."""

    # ---- the DICOMweb client protocol ----

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
        """Search (QIDO-RS, PS3.18 10.6). Raises StorageError if the archive does not answer or refuses."""
        with self._asking():
            return self._client.search_for_instances(
                study_instance_uid,
                series_instance_uid,
                fuzzymatching=fuzzymatching,
                limit=limit,
                offset=offset,
                fields=fields,
                search_filters=search_filters,
                get_remaining=get_remaining,
            )

    def retrieve_instance(
        self,
        study_instance_uid: str,
        series_instance_uid: str,
        sop_instance_uid: str,
        media_types: tuple[str | tuple[str, str], ...] | None = None,
    ) -> Dataset:
        """Retrieve one instance as stored (WADO-RS, PS3.18 10.4).

        Raises
        ------
        NotFoundError
            If the archive does not have it (any more).
        StorageError
            If the archive does not answer or refuses.
        """
        with self._asking(sop_instance_uid):
            return self._client.retrieve_instance(
                study_instance_uid,
                series_instance_uid,
                sop_instance_uid,
                media_types=media_types or _AS_STORED,
            )

    def retrieve_instance_metadata(
        self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str
    ) -> dict[str, dict[Any, Any]]:
        """Retrieve one instance without its pixel data. Raises as `retrieve_instance`."""
        with self._asking(sop_instance_uid):
            return self._client.retrieve_instance_metadata(
                study_instance_uid, series_instance_uid, sop_instance_uid
            )

    def store_instances(self, datasets: Sequence[Dataset], study_instance_uid: str | None = None) -> Dataset:
        """Store instances (STOW-RS, PS3.18 10.5).

        Raises
        ------
        RefusedError
            If the archive did not store one of them, for what it is.
        StorageError
            If the archive does not answer, refuses everything, or is full.
        """
        for dataset in datasets:
            if not getattr(dataset, "preamble", None):
                dataset.preamble = bytes(128)  # the client writes it only if set
        with self._asking(is_storing=True):
            response = self._client.store_instances(datasets, study_instance_uid)
        for failure in response.get("FailedSOPSequence") or []:
            uid, reason = failure.get("ReferencedSOPInstanceUID"), failure.get("FailureReason")
            is_full = isinstance(reason, int) and reason >> 8 == _OUT_OF_RESOURCES
            raise (StorageError if is_full else RefusedError)(
                f"instance {uid}: the archive {self._address} did not store it (reason {reason}, "
                "see PS3.18 table I.2-2). Ask its administrator."
            )
        for dataset in datasets:
            key = instance_key(dataset)
            self._known.add(key)
            self._catalogue.put(describe(dataset, key))
        return response

    @contextmanager
    def _asking(self, sop_instance_uid: str | None = None, *, is_storing: bool = False) -> Iterator[None]:
        """Turn what can go wrong on the way into sentences."""
        try:
            yield
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            if status == requests.codes.not_found and sop_instance_uid:
                raise NotFoundError(f"instance {sop_instance_uid}: the archive does not have it.") from error
            advice = "Check user name and password" if status in (401, 403) else "Ask its administrator"
            kind = RefusedError if is_storing and status in _REFUSALS else StorageError
            raise kind(
                f"{self._address}: the archive answers with HTTP status {status}, expected 200. {advice}."
            ) from error
        except requests.JSONDecodeError as error:
            raise StorageError(
                f"{self._address}: it does not answer as DICOMweb does, but with something that is not JSON. "
                "Check the address."
            ) from error
        except requests.RequestException as error:
            raise StorageError(
                f"{self._address}: the archive does not answer ({type(error).__name__}). "
                "Check the address, and that it is running."
            ) from error


def _make_client(access: ArchiveAccess) -> DICOMwebClient:
    client = DICOMwebClient(access.url, session=access.session(), permissive_uid=True)
    # Two more attempts within two seconds; the client's own thirty would leave a clinician waiting.
    client.set_http_retry_params(max_attempts=3, wait_exponential_multiplier=250)
    return client


def instance_key(dataset: Dataset) -> str:
    """Return the place of an archive's instance in the catalogue: its three UIDs with slashes between."""
    return "/".join(read_uid(dataset, f"{level}InstanceUID") for level in ("Study", "Series", "SOP"))


def _listed_key(dataset: Dataset, address: str) -> str:
    """Return the key of a search result, whose UIDs are required (PS3.18 table 10.6.3-5)."""
    try:
        return instance_key(dataset)
    except UnreadableImageError as error:
        raise StorageError(
            f"{address}: it does not answer as DICOMweb does; in a search result {error}"
        ) from error
