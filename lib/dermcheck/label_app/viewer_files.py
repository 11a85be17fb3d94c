"""The files that viewers open in place of DICOM objects, made on demand and kept for a while.

A photograph becomes an RGB volume (`.nrrd`), since 3D Slicer opens no Dermoscopic Photography, and a
segmentation a label map (`.nii.gz`) of the same geometry.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from monailabel.utils.others.generic import file_checksum

from dermcheck.datastore.file_cache import DEFAULT_LIMIT_BYTES, FileCache
from dermcheck.datastore.label_files import write_label_file
from dermcheck.dicom.photograph import read_photograph
from dermcheck.dicom.segmentation import read_segmentation
from dermcheck.dicom.viewer_masks import write_companion
from dermcheck.errors import UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dermcheck.datastore import StoredLabel, StudyStore

__all__ = ["IMAGE_SUFFIX", "LABEL_SUFFIX", "ViewerFiles"]

IMAGE_SUFFIX: Final = ".nrrd"
LABEL_SUFFIX: Final = ".nii.gz"


class ViewerFiles:
    """Volumes and label maps of one store.

    Parameters
    ----------
    store
        The studies.
    limit_bytes
        Size that all files together are kept below.
    """

    def __init__(self, store: StudyStore, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._store = store
        folder = store.cache / "viewer"
        self._files = FileCache(folder, limit_bytes)
        self._prefix = f"{folder}/"  # joining paths takes half the time of listing 10,000 images
        self._checksums: dict[str, str] = {}
        self._undecodable: dict[str, tuple[str, str]] = {}  # image id -> the revision tried, and why not

    def image(self, image_id: str) -> Path:
        """Return the volume of a photograph.

        Raises
        ------
        NotFoundError
            If there is no such photograph.
        UnreadableImageError
            If it cannot be decoded; `undecodable_ids` then names it until its file is exchanged.
        StorageError
            If the studies cannot be reached or the volume not be written.
        """
        revision = self._store.revision(image_id)
        try:
            path = self._files.get(
                self._image_name(image_id), lambda unfinished: self._write_image(image_id, unfinished)
            )
        except UnreadableImageError as error:
            self._undecodable[image_id] = revision, str(error)
            raise
        if path.name not in self._checksums:
            self._checksums[path.name] = file_checksum(path)
        return path

    def undecodable_ids(self) -> frozenset[str]:
        """Return the ids of photographs whose volume could not be made, and could not be made now."""
        return frozenset(self._undecodable_now())

    def problems(self) -> list[str]:
        """Say which photographs could not be decoded when they were asked for, and why."""
        return list(self._undecodable_now().values())

    def _undecodable_now(self) -> dict[str, str]:
        return {
            image_id: reason
            for image_id, (revision, reason) in list(self._undecodable.items())
            if self._store.has_image(image_id) and revision == self._store.revision(image_id)
        }

    def image_info(self, image_id: str) -> dict[str, str]:
        """Return name and path that the volume has or will have, and, if it was made, its checksum.

        The checksum reads ``SHA256:`` and the digest in hexadecimal, as 3D Slicer checks it.
        """
        name = self._image_name(image_id)
        info = {"name": name, "path": self._prefix + name}
        if checksum := self._checksums.get(name):
            info["checksum"] = checksum
        return info

    def _image_name(self, image_id: str) -> str:
        """Name the volume: another name once the photograph's file is exchanged under the same UID."""
        revision = self._store.revision(image_id)
        return f"{image_id}-{_digest(revision)}{IMAGE_SUFFIX}" if revision else f"{image_id}{IMAGE_SUFFIX}"

    def _write_image(self, image_id: str, path: Path) -> None:
        photograph = read_photograph(self._store.retrieve(image_id))
        write_companion(photograph.pixels, photograph.header.pixel_spacing_mm, path)

    def label(self, label: StoredLabel) -> Path:
        """Return the label map of a segmentation; values as in `write_label_file`.

        Raises
        ------
        NotFoundError
            If the label or its photograph is gone.
        MaskError, StorageError
            If it cannot be read, or the file not be written.
        """
        name = f"{label.sop_instance_uid}-{_digest(repr(label))}{LABEL_SUFFIX}"
        return self._files.get(name, lambda unfinished: self._write_label(label, unfinished))

    def _write_label(self, label: StoredLabel, path: Path) -> None:
        header = self._store.header(label.image_id)
        segmentation = self._store.retrieve_label(label.sop_instance_uid)
        write_label_file(read_segmentation(segmentation, header), header, path)

    def other(self, name: str, make: Callable[[Path], None]) -> Path:
        """Return another file kept under the same limit; see `FileCache.get`."""
        return self._files.get(name, make)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
