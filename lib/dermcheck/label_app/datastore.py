"""MONAI Label's view of the studies.

MONAI Label thinks of images and labels as files, DermCheck keeps DICOM objects. The files are made
here on demand, into a bounded cache outside the studies folder: an RGB volume of a photograph, since
3D Slicer opens no Dermoscopic Photography, and a label map of a segmentation. What a viewer submits
becomes a new DICOM Segmentation; the file itself is not kept.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from pydicom import Dataset, dcmwrite

from dermcheck.datastore.file_cache import DEFAULT_LIMIT_BYTES
from dermcheck.datastore.label_files import UNCLASSIFIED_VALUE, read_label_file
from dermcheck.datastore.notes import Notes
from dermcheck.dicom.annotation_record import AnnotationRecord, write_record
from dermcheck.dicom.author import Clinician
from dermcheck.dicom.segmentation import write_segmentation
from dermcheck.dicom.segments import union_of
from dermcheck.errors import ArgumentError, NotFoundError, StorageError
from dermcheck.label_app.infer_tasks import DIAGNOSES, LESION
from dermcheck.label_app.proposals import RecentProposals
from dermcheck.label_app.source_image import read_upload
from dermcheck.label_app.submissions import read_algorithm, read_clinician, to_dicom, without_details
from dermcheck.label_app.viewer_files import IMAGE_SUFFIX, LABEL_SUFFIX, ViewerFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from dermcheck.datastore import StoredLabel, StudyStore
    from dermcheck.dicom.header import PhotographHeader
    from dermcheck.dicom.segments import LesionSegment

__all__ = ["DermCheckDatastore"]

_logger = logging.getLogger(__name__)

_ORIGINAL: Final[str] = DefaultLabelTag.ORIGINAL.value
_FINAL: Final[str] = DefaultLabelTag.FINAL.value
_LABEL_NAMES: Final = {**DIAGNOSES, LESION: UNCLASSIFIED_VALUE}
"""Segment name -> value, in the order of the values: what 3D Slicer names the segments by."""
_STORE, _UPLOADS = "datastore", "uploads"
"""Subjects of notes that are not about one instance."""


class DermCheckDatastore(Datastore):  # type: ignore[misc]  # monailabel has no types
    """Photographs, and the segmentations made of them, as images and labels.

    An image's id is the photograph's SOPInstanceUID, a label's the segmentation's; the tag is
    ``original`` for a prediction and ``final`` for what a human made. In the place of a label's id
    an image's may be given (3D Slicer does): then the newest label of the tag is meant.

    Nothing is ever removed or replaced. Every method may be called from any thread.

    Parameters
    ----------
    store
        The studies; closed by whoever opened them.
    limit_bytes
        Size that the cache of files for viewers is kept below.
    proposals
        What the models have answered, so that it can be told what a person changed.
    """

    def __init__(
        self,
        store: StudyStore,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
        proposals: RecentProposals | None = None,
    ) -> None:
        self.store = store
        self._proposals = proposals or RecentProposals()
        self._files = ViewerFiles(store, limit_bytes)
        self._notes = Notes(store.cache / "notes.sqlite")

    # ---- the datastore itself ----

    def name(self) -> str:
        """Return the name, made up by an administrator or the same for all."""
        return str(self._notes.get(_STORE).get("name", "DermCheck studies"))

    def set_name(self, name: str) -> None:
        """Set the name."""
        self._notes.update(_STORE, {"name": name})

    def description(self) -> str:
        """Return the description."""
        return str(self._notes.get(_STORE).get("description", "DICOM photographs of skin lesions"))

    def set_description(self, description: str) -> None:
        """Set the description."""
        self._notes.update(_STORE, {"description": description})

    def refresh(self) -> None:
        """Look now for new, changed and removed studies. Raises StorageError if they cannot be reached."""
        self.store.refresh()

    def status(self) -> dict[str, Any]:
        """Count photographs, those with a final label, and labels by tag."""
        image_ids = self.store.image_ids()
        labels = [label for image_id in image_ids for label in self.store.labels(image_id)]
        automatic = sum(label.automatic for label in labels)
        return {
            "total": len(image_ids),
            "completed": len(self.store.finished_ids().intersection(image_ids)),
            "label_tags": {_ORIGINAL: automatic, _FINAL: len(labels) - automatic},
        }

    def json(self) -> dict[str, Any]:
        """List everything: images, their newest labels by tag, and what is wrong with the studies."""
        return {
            "name": self.name(),
            "description": self.description(),
            "objects": {image_id: self._listed(image_id) for image_id in self.store.image_ids()},
            "problems": [*self.store.problems(), *self._files.problems()],
        }

    def _listed(self, image_id: str) -> dict[str, Any]:
        labels = {
            tag: {"ext": LABEL_SUFFIX, "info": self._label_info(label)}
            for tag, label in self._newest(image_id).items()
        }
        return {"image": {"ext": IMAGE_SUFFIX, "info": self._image_info(image_id)}, "labels": labels}

    def datalist(self) -> list[dict[str, Any]]:
        """Pair each photograph that has a final label with that label, both as files for viewers."""
        return [
            {"image": self.get_image_uri(image_id), "label": self.get_label_uri(image_id, _FINAL)}
            for image_id in self.get_labeled_images()
        ]

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """Make a ZIP file of the photographs with a final label and these labels, as DICOM.

        Raises
        ------
        NotFoundError
            If no photograph has a final label.
        """
        limit = limit_cases if limit_cases and limit_cases > 0 else None
        image_ids = self.get_labeled_images()[:limit]
        cases = [(image_id, label) for image_id in image_ids if (label := self.store.latest_final(image_id))]
        if not cases:
            raise NotFoundError("No photograph has a final label yet, so there is nothing to download.")
        content = "".join(f"{image_id}{self.store.revision(image_id)}{label}" for image_id, label in cases)
        name = f"dataset-{hashlib.sha256(content.encode()).hexdigest()[:16]}.zip"
        return str(self._files.other(name, lambda path: self._write_archive(cases, path)))

    def _write_archive(self, cases: Iterable[tuple[str, StoredLabel]], path: Path) -> None:
        objects = {}
        with zipfile.ZipFile(path, "w") as archive:
            for image_id, label in cases:
                for folder, uid, dataset in (
                    ("image", image_id, self.store.retrieve(image_id)),
                    ("label", label.sop_instance_uid, self.store.retrieve_label(label.sop_instance_uid)),
                ):
                    archive.writestr(f"{folder}/{uid}.dcm", _part_10(dataset))
                objects[image_id] = {"label": label.sop_instance_uid}
            archive.writestr("metadata.json", json.dumps({"name": self.name(), "objects": objects}, indent=1))

    # ---- images ----

    def list_images(self) -> list[str]:
        """Return the ids of all photographs."""
        return self.store.image_ids()

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Return the ids of photographs with a label of the tag (default ``final``); `labels` is ignored."""
        has_label = self._has_label(label_tag)
        return [image_id for image_id in self.store.image_ids() if has_label(image_id)]

    def get_unlabeled_images(
        self, label_tag: str | None = None, labels: list[str] | None = None
    ) -> list[str]:
        """Return the ids of photographs without a label of the tag (default ``final``); `labels` is ignored.

        Left out are those that turned out to be undecodable, and multi-frame ones, of which no viewer
        opens one frame: nobody can label them.
        """
        has_label = self._has_label(label_tag)
        left_out = self.store.multi_frame_ids() | self._files.undecodable_ids()
        return [
            image_id
            for image_id in self.store.image_ids()
            if image_id not in left_out and not has_label(image_id)
        ]

    def _has_label(self, tag: str | None) -> Callable[[str], bool]:
        if _check_tag(tag or _FINAL) == _FINAL:
            return self.store.finished_ids().__contains__
        return lambda image_id: any(label.automatic for label in self.store.labels(image_id))

    def get_image(self, image_id: str, params: object = None) -> io.BytesIO:
        """Return the content of `get_image_uri`."""
        return io.BytesIO(Path(self.get_image_uri(image_id)).read_bytes())

    def get_image_uri(self, image_id: str) -> str:
        """Return the path of the photograph as RGB volume (`.nrrd`).

        Raises
        ------
        NotFoundError
            If there is no such photograph.
        UnreadableImageError, StorageError
            If it cannot be decoded, or the volume not be written.
        """
        return str(self._files.image(self.resolve(image_id)))

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """Return name, path and checksum of the volume, the photograph's size, and what clients noted.

        The checksum is there once `get_image_uri` has made the volume. Raises NotFoundError if there
        is no such photograph.
        """
        return self._image_info(self.resolve(image_id))

    def _image_info(self, image_id: str) -> dict[str, Any]:
        return {**self._notes.get(image_id), **self._files.image_info(image_id)}

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Note something about a photograph, outside the studies. Raises NotFoundError if there is none."""
        self._notes.update(self.resolve(image_id), info)

    def resolve(self, image_id: str) -> str:
        """Return the SOPInstanceUID of an image, which may be called by the name it was uploaded under.

        Raises
        ------
        NotFoundError
            If there is no such photograph.
        """
        if not self.store.has_image(image_id):
            image_id = self._notes.get(_UPLOADS).get(image_id, image_id)
            self.store.revision(image_id)  # raises if unknown
        return image_id

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Add a photograph: DICOM as it is, a photo or a viewer's volume made into DICOM.

        Parameters
        ----------
        image_id
            A name by which the client will go on calling it; may be empty.
        image_filename
            DICOM, JPEG, PNG, TIFF, `.nrrd`, `.nii.gz`.
        image_info
            For what is not DICOM: the fields of `PhotoDetails`. Anything else is noted.

        Returns
        -------
        str
            The photograph's SOPInstanceUID; the same if it is added again.

        Raises
        ------
        UnreadableImageError, ArgumentError
            If it is not a photograph, or a detail is wrong.
        StorageError
            If it cannot be stored, or there is another instance of this UID.
        """
        path, info = Path(image_filename), image_info or {}
        source = read_upload(path)
        dataset = source.dataset if source.dataset is not None else to_dicom(path, source, info)
        uid = str(dataset.SOPInstanceUID)
        if not self.store.has_image(uid):
            self.store.store(dataset)
            _logger.info("Photograph %s added", uid)
        elif source.dataset is not None and self.store.retrieve(uid).PixelData != dataset.PixelData:
            raise StorageError(
                f"instance {uid}: a different photograph with this SOPInstanceUID is in the studies, and "
                "nothing stored is ever replaced. Export it again under a new UID."
            )
        self._notes.update(uid, _as_json(without_details(info)))
        if image_id and image_id != uid:
            self._notes.update(_UPLOADS, {image_id: uid})
        return uid

    def remove_image(self, image_id: str) -> None:
        """Refuse: photographs are documents, and removing them is for whoever keeps the archive."""
        raise ArgumentError(
            f"image {self.resolve(image_id)}: DermCheck never removes a photograph. Remove its file from the "
            "studies folder, or the instance from the archive; it then disappears here by itself."
        )

    # ---- labels ----

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """Return the id of the newest label of each tag. Raises NotFoundError if there is no such image."""
        return {tag: label.sop_instance_uid for tag, label in self._newest(self.resolve(image_id)).items()}

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        """Return the id of the newest label of a tag, empty if there is none."""
        return self.get_labels_by_image_id(image_id).get(_check_tag(tag), "")

    def _newest(self, image_id: str) -> dict[str, StoredLabel]:
        return {
            _tag(label): label for label in self.store.labels(image_id)
        }  # oldest first: newer ones replace

    def _label(self, label_id: str, tag: str) -> StoredLabel:
        """Find a label by its own id, or as the newest of its tag by the image's."""
        if not self.store.has_image(label_id) and label_id not in self._notes.get(_UPLOADS):
            return self.store.label(label_id)
        newest = self._newest(self.resolve(label_id)).get(_check_tag(tag))
        if newest is None:
            raise NotFoundError(f"image {label_id}: it has no label with the tag {tag} yet.")
        return newest

    def get_label(self, label_id: str, label_tag: str, params: object = None) -> io.BytesIO:
        """Return the content of `get_label_uri`."""
        return io.BytesIO(Path(self.get_label_uri(label_id, label_tag)).read_bytes())

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Return the path of a label as label map (`.nii.gz`); values as in `write_label_file`.

        Raises
        ------
        NotFoundError
            If there is no such label.
        MaskError, StorageError
            If it cannot be read, or the file not be written.
        """
        return str(self._files.label(self._label(label_id, label_tag)))

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """Return who made a label and when, names of its values, and what clients noted."""
        return self._label_info(self._label(label_id, label_tag))

    def _label_info(self, label: StoredLabel) -> dict[str, Any]:
        noted = self._notes.get(label.sop_instance_uid)
        params = noted.get("params")
        return {
            **noted,
            "id": label.sop_instance_uid,
            "image": label.image_id,
            "tag": _tag(label),
            "creator": label.creator,
            "ts": _seconds(label.created),
            "params": {**(params if isinstance(params, dict) else {}), "label_names": _LABEL_NAMES},
        }

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Note something about a label, outside the studies."""
        self._notes.update(self._label(label_id, label_tag).sop_instance_uid, info)

    def save_label(
        self,
        image_id: str,
        label_filename: str,
        label_tag: str,
        label_info: dict[str, Any],
        label_id: str = "",
    ) -> str:
        """Store what was drawn on a photograph as a new DICOM Segmentation beside it.

        Parameters
        ----------
        label_filename
            See `read_label_file`, also for where the diagnoses come from.
        label_tag
            ``final``: a human made it. ``original``: a model did.
        label_info
            What the client sent along: names of the segments; who made it as `clinician`, `user` or
            `client_id`; `edited_from_prediction` (default true); for a prediction `algorithm` with
            `name`, `version` and `model_hash`, or our models' answer as `params`.
        label_id
            Ignored: each label gets an id of its own.

        Returns
        -------
        str
            The segmentation's SOPInstanceUID.

        Raises
        ------
        NotFoundError
            If there is no such photograph.
        MaskError
            If the file does not fit it, or cannot be read.
        ArgumentError
            If the tag is another one, or a prediction does not say whose it is.
        StorageError
            If it cannot be stored. Nothing is left then.
        """
        image_id, info = self.resolve(image_id), label_info or {}
        author = read_clinician(info) if _check_tag(label_tag) == _FINAL else read_algorithm(info)
        header = self.store.header(image_id)
        segments = read_label_file(Path(label_filename), header, info)
        segmentation = write_segmentation(
            self.store.retrieve(image_id),
            segments,
            author,
            edited_from_prediction=bool(info.get("edited_from_prediction", True)),
        )
        if isinstance(author, Clinician) and info.get("edited_from_prediction", True):
            write_record(segmentation, self._record(segments, header))
        self.store.store(segmentation)
        uid = str(segmentation.SOPInstanceUID)
        self._notes.update(uid, _as_json(info))
        _logger.info("Label %s (%s) of photograph %s stored", uid, label_tag, image_id)
        return uid

    def _record(self, segments: list[LesionSegment], header: PhotographHeader) -> AnnotationRecord:
        """Say what a person changed of the proposal that the viewer was sent, if it was sent one."""
        proposal = self._proposals.sent_as_file(header)
        if proposal is None:
            return AnnotationRecord()
        return AnnotationRecord.compare(
            proposal.mask,
            union_of(segments, header),
            proposal.lesion_class,
            seconds=proposal.seconds_ago,
            started_from="prediction",
        )

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Refuse: every label is kept, so that it can be told who decided what and when."""
        raise ArgumentError(
            f"label {self._label(label_id, label_tag).sop_instance_uid}: DermCheck never removes a label. "
            "Submit a corrected one: the newest counts. To take one back without another: dermcheck labels "
            "withdraw."
        )


def _check_tag(tag: str) -> str:
    value = str(tag.value) if isinstance(tag, DefaultLabelTag) else tag
    if value not in (_ORIGINAL, _FINAL):
        raise ArgumentError(
            f"the tag is {value!r}, expected {_FINAL} (made by a human) or {_ORIGINAL} (by a model)."
        )
    return value


def _tag(label: StoredLabel) -> str:
    return _ORIGINAL if label.automatic else _FINAL


def _seconds(moment: datetime) -> int:
    """Return Unix time; 0 where a label does not say when it was made."""
    return int(moment.timestamp()) if moment.year > 1 else 0


def _as_json(info: dict[str, Any]) -> dict[str, Any]:
    """Reduce what a client sent to what JSON holds."""
    reduced: dict[str, Any] = json.loads(json.dumps(info, default=str))
    return reduced


def _part_10(dataset: Dataset) -> bytes:
    content = io.BytesIO()
    dcmwrite(content, dataset, enforce_file_format=True)
    return content.getvalue()
