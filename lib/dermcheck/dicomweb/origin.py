"""A studies folder as a DICOMweb origin server: what is searched for and retrieved."""

import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydicom import Dataset

from dermcheck.datastore.catalogue import Catalogue
from dermcheck.datastore.folder_archive import FolderArchive
from dermcheck.datastore.instances import Instance
from dermcheck.dicom.attributes import dataset_meta
from dermcheck.dicomweb.accept import MediaRange, PartKind, choose_part, choose_whole
from dermcheck.dicomweb.frames import NATIVE, frame_parts, instance_bytes
from dermcheck.dicomweb.levels import Level, Rows
from dermcheck.dicomweb.metadata import bulk_data, instance_address, metadata_json
from dermcheck.dicomweb.plain_rgb import is_offered_as_rgb, rgb_frames, rgb_header
from dermcheck.dicomweb.query import parse_query, search
from dermcheck.dicomweb.rendering import PICTURE_KINDS, Rendering, render
from dermcheck.errors import NotFoundError

__all__ = ["FolderOrigin", "Found"]

_RETRIEVE_URL: Final = "00081190"
_PIXEL_DATA: Final = "7FE00010"
_MOST_KEPT: Final = 4000
"""Instances whose metadata are remembered as text: a few kilobytes each."""


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a search."""

    content: bytes
    """A JSON array."""
    empty: bool
    more: bool
    """Whether there are further results."""
    fuzzy: bool
    """Whether fuzzy matching was asked for, which is not done."""


class FolderOrigin:
    """Answers searches and retrievals from a studies folder; any thread may call it.

    Parameters
    ----------
    archive
        The folder.
    catalogue
        What is in it.
    """

    def __init__(self, archive: FolderArchive, catalogue: Catalogue) -> None:
        self._archive = archive
        self._catalogue = catalogue
        self._rows = Rows(catalogue)
        self._kept: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()
        self._lock = threading.Lock()

    # ---- QIDO-RS ----

    def search(
        self,
        level: Level,
        parameters: Iterable[tuple[str, str]],
        root: str,
        study: str | None = None,
        series: str | None = None,
    ) -> Found:
        """Search; see `parse_query` and `search`.

        Parameters
        ----------
        root
            URL of the service, without a slash at its end.
        study, series
            The UIDs in the address of the request.

        Raises
        ------
        NotFoundError
            If the study or series in the address does not exist.
        ArgumentError
            If a parameter is wrong.
        """
        query = parse_query(level, parameters)
        if study is not None:
            self.select(study, series)
        results, more = search(self._rows, query, study, series)
        for result in results:
            result[_RETRIEVE_URL] = {"vr": "UR", "Value": [_address(root, result, level)]}
        return Found(_dumps(results), empty=not results, more=more, fuzzy=query.fuzzy)

    # ---- WADO-RS ----

    def select(
        self, study: str, series: str | None = None, instance: str | None = None
    ) -> tuple[Instance, ...]:
        """Return the instances of a study, of one of its series, or the one named.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        found = self._catalogue.study(study)
        if not found:
            raise NotFoundError(f"study {study}: there is no such study. Refresh the list.")
        if series is not None:
            found = tuple(one for one in found if one.series_instance_uid == series)
        if not found:
            raise NotFoundError(
                f"series {series}: there is no such series in study {study}. Refresh the list."
            )
        if instance is not None:
            found = tuple(one for one in found if one.sop_instance_uid == instance)
        if not found:
            raise NotFoundError(
                f"instance {instance}: there is no such instance in series {series}. Refresh the list."
            )
        return found

    def metadata(self, instances: Sequence[Instance], root: str) -> bytes:
        """Return the attributes of instances as a JSON array; raises as `read`."""
        return b"[" + b",".join(self._metadata(instance, root) for instance in instances) + b"]"

    def _metadata(self, instance: Instance, root: str) -> bytes:
        key = (instance.key, instance.revision, root)
        with self._lock:
            if (kept := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return kept
        dataset = self.read(instance, header_only=True)
        if is_offered_as_rgb(dataset):
            dataset = rgb_header(dataset)
        address = instance_address(
            root, instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid
        )
        content = _dumps(metadata_json(dataset, address))
        with self._lock:
            self._kept[key] = content
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return content

    def read(self, instance: Instance, *, header_only: bool = False) -> Dataset:
        """Read one instance.

        Raises
        ------
        NotFoundError
            If its file was removed or replaced a moment ago.
        UnreadableImageError, StorageError
            If it cannot be read.
        """
        return self._archive.read(instance, stop_before_pixels=header_only)

    def instances(
        self, instances: Sequence[Instance], accepted: Iterable[MediaRange]
    ) -> Iterator[tuple[str, bytes]]:
        """Return Content-Type and content of each instance, read one after the other as they are asked for.

        Raises
        ------
        NotAcceptableError
            If one of them cannot be sent as accepted; before the first is read whole.
        """
        ranges = list(accepted)
        kinds = [
            choose_part(ranges, "application/dicom", _syntax(self.read(instance, header_only=True)))
            for instance in instances
        ]
        return self._instances(instances, kinds)

    def _instances(
        self, instances: Sequence[Instance], kinds: Sequence[PartKind]
    ) -> Iterator[tuple[str, bytes]]:
        for instance, kind in zip(instances, kinds, strict=True):
            dataset = self.read(instance)
            if kind.transfer_syntax == _syntax(dataset):
                yield kind.content_type, self._file_bytes(instance, dataset)
            else:
                yield kind.content_type, instance_bytes(dataset, kind.transfer_syntax)

    def _file_bytes(self, instance: Instance, dataset: Dataset) -> bytes:
        """Return the file as it is, unless it lacks what a Part 10 file must have."""
        try:
            content = self._archive.path(instance.key).read_bytes()
        except OSError as error:
            raise NotFoundError(
                f"instance {instance.sop_instance_uid}: its file is gone ({error.strerror}). "
                "Refresh the list."
            ) from error
        is_complete = content[128:132] == b"DICM" and "MediaStorageSOPInstanceUID" in dataset_meta(dataset)
        return content if is_complete else instance_bytes(dataset, _syntax(dataset))

    def frames(
        self, instance: Instance, numbers: Iterable[int], accepted: Iterable[MediaRange]
    ) -> tuple[PartKind, list[bytes]]:
        """Return frames of one instance, each a part of the same kind; raises as `read` and `frame_parts`."""
        dataset = self.read(instance)
        if is_offered_as_rgb(dataset):
            kind = choose_part(accepted, "application/octet-stream", NATIVE)
            return kind, rgb_frames(dataset, numbers)
        return frame_parts(dataset, numbers, accepted)

    def bulk_data(self, instance: Instance, path: str) -> bytes:
        """Return one binary value by its tag; raises as `read`."""
        dataset = self.read(instance)
        if path == _PIXEL_DATA and is_offered_as_rgb(dataset):
            return b"".join(rgb_frames(dataset))
        content = bulk_data(dataset, path)
        if content is None:
            raise NotFoundError(
                f"instance {instance.sop_instance_uid}: it has no bulk data at {path[:40]!r}, expected the "
                "tag of a binary attribute like 7FE00010."
            )
        return content

    def picture(
        self,
        instances: Sequence[Instance],
        accepted: Iterable[MediaRange],
        rendering: Rendering,
        frame: int | None = None,
    ) -> tuple[str, bytes]:
        """Draw the first photograph among instances; return media type and content.

        Raises
        ------
        NotAcceptableError
            If there is no photograph among them, or no kind of picture that is accepted.
        """
        kind = choose_whole(accepted, PICTURE_KINDS)
        instance = min(instances, key=lambda found: found.kind != "photograph")
        return kind, render(self.read(instance), kind, rendering, frame)


def _syntax(dataset: Dataset) -> str:
    return str(dataset_meta(dataset).TransferSyntaxUID)


def _address(root: str, result: dict[str, Any], level: Level) -> str:
    names = ("studies", "series", "instances")
    tags = ("0020000D", "0020000E", "00080018")
    return root + "".join(
        f"/{name}/{result[tag]['Value'][0]}" for name, tag in zip(names[: level + 1], tags, strict=False)
    )


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
