"""A folder of DICOM files behind the methods of the DICOMweb client protocol.

`dicomweb_client.file.DICOMfileClient` offers the same methods, and this class replaces it rather than
builds on it. Tried with version 0.61.2 on what clinics have, it

- refuses to retrieve implicit VR and deflated files, and HTJ2K ("500 Server Error"),
- opens every file again at each update (10,015 files: 7 s, where comparing sizes and times takes 0.15 s),
- keeps listing files that were removed, and lists nothing where a folder's name holds ``#`` or ``%``,
- ends at the first file that may not be read, and reports no file that it skips,
- overwrites an instance stored under the same UID, and leaves half a file when the disk is full,
- switches pydicom's process-wide validation while it reads, under all other threads,
- holds a database connection that works in one thread only.

What it answers where it works is the measure: a test compares both, method by method.

The files themselves are the only truth. Which file holds what is remembered in memory and in an
`IndexCache`; size, modification and change time tell which files have to be read again.
"""

import hashlib
import io
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pydicom import Dataset, dcmwrite

from dermcheck.datastore.catalogue import Catalogue
from dermcheck.datastore.folder_walk import FoundFiles, Stamp, walk
from dermcheck.datastore.index_cache import IndexCache, IndexedFile
from dermcheck.datastore.instance_json import matches, referenced_uids, to_dicom_json
from dermcheck.datastore.instances import Instance, describe
from dermcheck.datastore.whole_file import check_whole
from dermcheck.dicom.attributes import read_uid
from dermcheck.dicom.files import file_name
from dermcheck.dicom.header import read_header
from dermcheck.dicom.new_file import write_new_file
from dermcheck.dicom.photo_store import photograph_place
from dermcheck.dicom.photograph import read_dataset
from dermcheck.dicom.sop_classes import is_photograph
from dermcheck.errors import DermCheckError, NotFoundError, StorageError

__all__ = ["FolderArchive"]

_logger = logging.getLogger(__name__)

_INDEX_VERSION: Final = 1
_SAVE_EVERY: Final = 2000
"""Files read between two savings of the index, so that an interrupted first start is not lost."""
_SETTLED_S: Final = 10.0
"""Seconds without a change after which a file that cannot be read counts as broken, not as half copied."""
_LONGEST_STEM: Final = 200
"""Bytes of a photograph's name that its labels' names repeat; most file systems allow 255 in all."""
_LEFTOVER_S: Final = 24 * 3600.0
"""Age of a temporary file that no running process can still be writing."""


class FolderArchive:
    """All DICOM files below one folder.

    Parameters
    ----------
    folder
        The studies folder.
    cache_file
        Where to remember what was read; outside `folder`.
    catalogue
        Is kept up to date by `update` and `store_instances`.
    """

    def __init__(self, folder: Path, cache_file: Path, catalogue: Catalogue) -> None:
        self._folder = folder
        self._catalogue = catalogue
        self._cache = IndexCache(cache_file, _INDEX_VERSION)
        self._updating = threading.Lock()
        self._files = self._cache.load()
        self._unreadable: dict[str, str] = {}
        for file in self._files.values():
            if file.instance:
                catalogue.put(file.instance)

    # ---- the folder as it is now ----

    def begin(self) -> None:
        """Do what `update` does: a folder is read quickly enough."""
        self.update()

    def update(self) -> None:
        """Find new, changed and removed files.

        A file that cannot be read now, e.g. for its permissions, keeps what was known of it and is
        tried again by the next update.

        Raises
        ------
        StorageError
            If the folder itself cannot be read.
        """
        with self._updating:
            # Labels stored during the walk are not in `before`: they cannot be taken for removed ones.
            before = dict(self._files)
            found = walk(self._folder)
            removed = [
                key for key in before if key not in found.stamps and not _is_below(key, found.unreadable)
            ]
            for key in removed:
                self._forget(key)
            if removed:
                self._cache.save({}, removed)
            self._read_changed(found)
            self._unreadable = found.unreadable
            _remove_leftovers(found.leftovers)

    def _read_changed(self, found: FoundFiles) -> None:
        changed: dict[str, IndexedFile] = {}
        for key, stamp in found.stamps.items():
            known = self._files.get(key)
            if known and known.stamp == stamp:
                continue
            if file := self._read(key, stamp, found):
                changed[key] = file
                self._remember(key, file)
            if len(changed) == _SAVE_EVERY:
                _logger.info(
                    "Reading the studies folder: %d of %d files", len(self._files), len(found.stamps)
                )
                self._cache.save(changed, ())
                changed = {}
        if changed:
            self._cache.save(changed, ())

    def _read(self, key: str, stamp: Stamp, found: FoundFiles) -> IndexedFile | None:
        """Describe one file; None where it cannot be opened at this moment or is gone again."""
        path = self._folder / key
        try:
            dataset = read_dataset(path, stop_before_pixels=True)
            instance = describe(dataset, key, _revision(stamp), stamp.modified_ns)
            if instance.kind != "other":
                check_whole(path, dataset)
        except NotFoundError:
            return None
        except StorageError as error:
            found.unreadable[key] = str(error)
            return None
        except DermCheckError as error:
            return IndexedFile(stamp, None, _name_file(path, str(error)))
        return IndexedFile(stamp, instance, None)

    def _remember(self, key: str, file: IndexedFile) -> None:
        self._files[key] = file
        if file.instance:
            self._catalogue.put(file.instance)
        else:
            self._catalogue.drop(key)

    def _forget(self, key: str) -> None:
        del self._files[key]
        self._catalogue.drop(key)

    def problems(self) -> list[str]:
        """Say which files hold no instance, and why. Files changed a moment ago may still be copied."""
        now_ns = time.time_ns()
        broken = [
            file.problem
            for file in list(self._files.values())
            if file.problem and now_ns - max(file.stamp.modified_ns, file.stamp.changed_ns) > _SETTLED_S * 1e9
        ]
        return [*self._unreadable.values(), *broken]

    def path(self, key: str) -> Path:
        """Return the file of a key."""
        return self._folder / key

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
        """Return the attributes of matching instances (QIDO-RS, PS3.18 10.6), by place.

        Filters are exact, on the UIDs, SOP class and modality; matching is never fuzzy, and the
        attributes returned are always the same ones.

        Raises
        ------
        ArgumentError
            If an attribute cannot be searched for.
        """
        filters = dict(search_filters or {})
        filters |= {"StudyInstanceUID": study_instance_uid} if study_instance_uid else {}
        filters |= {"SeriesInstanceUID": series_instance_uid} if series_instance_uid else {}
        matching = [instance for instance in self._catalogue.instances() if matches(instance, filters)]
        start = offset or 0
        end = None if limit is None else start + limit
        return [to_dicom_json(instance) for instance in matching[start:end]]

    def retrieve_instance(
        self,
        study_instance_uid: str,
        series_instance_uid: str,
        sop_instance_uid: str,
        media_types: tuple[str | tuple[str, str], ...] | None = None,
    ) -> Dataset:
        """Read one instance as it is stored (WADO-RS, PS3.18 10.4).

        Raises
        ------
        NotFoundError
            If there is no such instance, or its file was removed or replaced a moment ago.
        UnreadableImageError, StorageError
            If its file cannot be read.
        """
        return self._open(study_instance_uid, series_instance_uid, sop_instance_uid)

    def retrieve_instance_metadata(
        self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str
    ) -> dict[str, dict[Any, Any]]:
        """Read one instance without its pixel data, as DICOM JSON. Raises as `retrieve_instance`."""
        dataset = self._open(
            study_instance_uid, series_instance_uid, sop_instance_uid, stop_before_pixels=True
        )
        return dataset.to_json_dict()

    def _open(self, study: str, series: str, instance: str, *, stop_before_pixels: bool = False) -> Dataset:
        found = self._catalogue.find(instance)
        if not found or (found.study_instance_uid, found.series_instance_uid) != (study, series):
            raise NotFoundError(
                f"instance {instance} of series {series}, study {study}: it is not in the studies."
            )
        return self.read(found, stop_before_pixels=stop_before_pixels)

    def read(self, instance: Instance, *, stop_before_pixels: bool = False) -> Dataset:
        """Read one instance of the catalogue; raises as `retrieve_instance`."""
        path, uid = self.path(instance.key), instance.sop_instance_uid
        dataset = read_dataset(path, stop_before_pixels=stop_before_pixels)
        if read_uid(dataset, "SOPInstanceUID") != uid:
            raise NotFoundError(
                f"{file_name(path)}: instance {uid} was replaced by another one. Refresh the list."
            )
        return dataset

    def store_instances(self, datasets: Sequence[Dataset], study_instance_uid: str | None = None) -> Dataset:
        """Write each instance into a file of its own (STOW-RS, PS3.18 10.5).

        An object that refers to a photograph goes beside it, under its name with an addition, e.g.
        ``back.dcm`` and ``back.seg-1a2b3c4d.dcm``. A photograph goes where `dermcheck import` would
        put it; everything else into the studies folder itself.

        Raises
        ------
        StorageError
            If a file cannot be written. Those before it are stored.
        """
        response = Dataset()
        response.ReferencedSOPSequence = [self._store(dataset) for dataset in datasets]
        return response

    def _store(self, dataset: Dataset) -> Dataset:
        content = io.BytesIO()
        dcmwrite(content, dataset, enforce_file_format=True)
        uid = read_uid(dataset, "SOPInstanceUID")
        key = self._write(dataset, uid, content.getvalue())
        stamp = Stamp.of(self.path(key).stat())
        instance = describe(dataset, key, _revision(stamp), stamp.modified_ns)
        self._remember(key, file := IndexedFile(stamp, instance, None))
        self._cache.save({key: file}, ())
        stored = Dataset()
        stored.ReferencedSOPClassUID = dataset.SOPClassUID
        stored.ReferencedSOPInstanceUID = uid
        return stored

    def _write(self, dataset: Dataset, uid: str, content: bytes) -> str:
        """Write into the first file name that is free, and return its key."""
        for key in self._names(dataset, uid):
            path = self.path(key)
            try:
                _make_folder(path.parent)
                write_new_file(path, content)
            except FileExistsError:
                if read_dataset(path, stop_before_pixels=True).get("SOPInstanceUID") == uid:
                    break  # another process was quicker
            else:
                return key
        raise StorageError(f"instance {uid}: it is stored already, and nothing stored is ever replaced.")

    def _names(self, dataset: Dataset, uid: str) -> Iterator[str]:
        """Yield names for an instance: beside its photograph, with ever more of a digest of its UID."""
        beside = next(
            (found for other in referenced_uids(dataset) if (found := self._photograph(other))), None
        )
        if beside is None:
            yield photograph_place(read_header(dataset)) if is_photograph(dataset) else f"{uid}.dcm"
            return
        folder, _, name = beside.key.rpartition("/")
        stem = name.rpartition(".")[0] or name
        while len(os.fsencode(stem)) > _LONGEST_STEM:
            stem = stem[:-1]
        digest = hashlib.sha256(uid.encode()).hexdigest()
        for length in (8, 16, 24):
            name = f"{stem}.{str(dataset.get('Modality') or 'dcm').lower()}-{digest[:length]}.dcm"
            yield f"{folder}/{name}" if folder else name

    def _photograph(self, uid: str) -> Instance | None:
        found = self._catalogue.find(uid)
        return found if found and found.kind == "photograph" else None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{file_name(folder)}: the folder cannot be made ({error.strerror}). "
            "Make the studies folder writable for the user who runs DermCheck, and save again."
        ) from error


def _remove_leftovers(leftovers: Iterable[Path]) -> None:
    """Remove what a process that was killed while saving left behind."""
    for path in leftovers:
        with suppress(OSError):  # a read-only folder, or another process was quicker
            if time.time() - path.stat().st_mtime > _LEFTOVER_S:
                path.unlink()


def _revision(stamp: Stamp) -> str:
    return f"{stamp.size}-{stamp.modified_ns}"


def _is_below(key: str, folders: Iterable[str]) -> bool:
    """Tell whether a key is one of these, or inside one of these folders."""
    return any(key == folder or key.startswith(f"{folder}/") for folder in folders)


def _name_file(path: Path, sentence: str) -> str:
    """Begin a sentence with the file's name: a UID alone does not say where to look."""
    name = file_name(path)
    return sentence if sentence.startswith(name) else f"{name}: {sentence}"
