"""Puts Segmentations and reports to their photographs, into the archive or the folder that these came from.

It comes after all predictions, from the files in the output folder, so that a slow archive slows down no
prediction. Nothing is stored twice: the journal remembers what was stored, and the place itself is asked for
each object's UID, which follows from photograph and models (`batch.identity`). So an answer that got lost,
or an output folder that was deleted, makes no second copy either; another model's results are new objects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from pydicom import Dataset

from dermcheck.batch.encoding import ResultKind
from dermcheck.batch.inputs import LocalSource, Source
from dermcheck.batch.inputs_archive import ArchiveSource
from dermcheck.batch.journal import Journal
from dermcheck.batch.results import ResultFolder
from dermcheck.datastore import StudyStore
from dermcheck.datastore.web_archive import RefusedError, WebArchive
from dermcheck.dicom.attributes import read_uid
from dermcheck.dicom.photograph import read_dataset
from dermcheck.errors import ArgumentError, StorageError

__all__ = ["OnStored", "StoreTally", "check_can_store", "store_results"]

_KINDS: Final[tuple[ResultKind, ...]] = ("seg", "sr")


@dataclass
class StoreTally:
    """What became of the photographs whose results are to be stored."""

    stored: int = 0
    """Photographs of which something was stored in this run."""
    already: int = 0
    """Photographs whose results the place had already."""
    not_dicom: int = 0
    """Photos that are no DICOM instances: there is nothing that the results could refer to."""
    refused: list[str] = field(default_factory=list)
    """Why the archive did not take an object, a sentence each."""


OnStored: TypeAlias = Callable[[StoreTally, int], object]


class _Place(Protocol):
    def holds(self, dataset: Dataset) -> bool: ...

    def put(self, dataset: Dataset) -> None: ...


class _ArchivePlace:
    """An archive with DICOMweb: QIDO-RS and STOW-RS."""

    def __init__(self, archive: WebArchive) -> None:
        self._archive = archive

    def holds(self, dataset: Dataset) -> bool:
        found = self._archive.search_for_instances(
            read_uid(dataset, "StudyInstanceUID"),
            read_uid(dataset, "SeriesInstanceUID"),
            search_filters={"SOPInstanceUID": read_uid(dataset, "SOPInstanceUID")},
        )
        return bool(found)

    def put(self, dataset: Dataset) -> None:
        self._archive.store_instances([dataset])


class _FolderPlace:
    """A studies folder: files beside the photographs."""

    def __init__(self, source: LocalSource) -> None:
        self._store = StudyStore.open(source.path, watch=False)

    def holds(self, dataset: Dataset) -> bool:
        return self._store.catalogue.find(read_uid(dataset, "SOPInstanceUID")) is not None

    def put(self, dataset: Dataset) -> None:
        self._store.archive.store_instances([dataset])


def check_can_store(source: Source) -> None:
    """Refuse an input into which nothing can be stored, before any work is done."""
    if isinstance(source, ArchiveSource) or (isinstance(source, LocalSource) and source.folder):
        return
    raise ArgumentError(
        f"{source.name}: --store needs a folder or an archive's address as INPUT, so that it is clear where "
        "results belong. Leave out --store; with --dicom they are in the output folder."
    )


def store_results(
    source: Source,
    journal: Journal,
    results: ResultFolder,
    on_stored: OnStored = lambda tally, total: None,
) -> StoreTally:
    """Store the SEG and SR of every prediction that is not stored yet.

    Parameters
    ----------
    on_stored
        Called before the first photograph and after each, with the number of all of them.

    Raises
    ------
    StorageError
        If the place cannot be reached or is full. The next run goes on from there.
    """
    place = _open(source)
    tally = StoreTally()
    total = journal.count_to_be_stored()
    on_stored(tally, total)
    for key, image in journal.to_be_stored():
        if results.path_of(image, "photo").exists():
            tally.not_dicom += 1
        else:
            _store_one(place, journal, results, (key, image), tally)
        on_stored(tally, total)
    return tally


def _open(source: Source) -> _Place:
    check_can_store(source)
    if isinstance(source, ArchiveSource):
        return _ArchivePlace(source.archive)
    assert isinstance(source, LocalSource)  # noqa: S101 (for the type checker)
    return _FolderPlace(source)


def _store_one(
    place: _Place, journal: Journal, results: ResultFolder, one: tuple[bytes, str], tally: StoreTally
) -> None:
    key, image = one
    put = 0
    try:
        for kind in _KINDS:
            dataset = read_dataset(results.path_of(image, kind))
            if not place.holds(dataset):
                place.put(dataset)
                put += 1
    except RefusedError as error:  # this object only; asked again by the next run
        tally.refused.append(str(error))
        return
    except StorageError as error:
        raise StorageError(f"{error} Run the same command again: it goes on where it stopped.") from error
    journal.mark_stored(key)
    if put:
        tally.stored += 1
    else:
        tally.already += 1
