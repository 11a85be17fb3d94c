"""What is sent to be stored (STOW-RS, PS3.18 section 10.5): checked, cleaned, kept, and answered for."""

import json
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydicom import Dataset

from dermcheck.datastore import StudyStore
from dermcheck.datastore.instances import Instance, describe
from dermcheck.datastore.search_attributes import SEARCH_KEYWORDS
from dermcheck.dicom.attributes import read_text
from dermcheck.dicom.new_file import write_new_file
from dermcheck.dicom.photograph import read_dataset
from dermcheck.dicomweb.cleaning import clean_segmentation
from dermcheck.dicomweb.metadata import instance_address
from dermcheck.errors import DermCheckError, MaskError, NotFoundError, StorageError

__all__ = ["Receiver", "Stored"]

_logger = logging.getLogger(__name__)

_PATIENT_ID: Final = SEARCH_KEYWORDS.index("PatientID")

_OUT_OF_RESOURCES: Final = 0xA700
_DOES_NOT_FIT: Final = 0xA900
_CANNOT_UNDERSTAND: Final = 0xC000
_FAILED: Final = 0x0110
_COERCED: Final = 0xB000
"""Failure and warning reasons (PS3.18 tables I.2-1 and I.2-2)."""


class _Refused(Exception):  # noqa: N818 - not an error of the program, but an answer
    """One object is not stored."""

    def __init__(self, reason: int, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass
class Stored:
    """What became of one request."""

    root: str
    """URL of the service, without a slash at its end."""
    kept: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    """Why objects were not stored, or stored otherwise than sent."""
    labels: list[tuple[str, str]] = field(default_factory=list)
    """Image id and label id of each new label made by a human."""
    studies: set[str] = field(default_factory=set)
    warned: bool = False

    @property
    def http_status(self) -> int:
        """200 all stored; 202 some not, or not as sent; 409 none."""
        if not self.kept:
            return 409
        return 202 if self.failed or self.warned else 200

    def to_json(self) -> bytes:
        """Return the Store Instances Response Module (table 10.5.3-1) as DICOM JSON."""
        answer: dict[str, Any] = {}
        if len(self.studies) == 1:
            answer["00081190"] = {"vr": "UR", "Value": [f"{self.root}/studies/{next(iter(self.studies))}"]}
        for tag, listed in (("00081198", self.failed), ("00081199", self.kept)):
            if listed:
                answer[tag] = {"vr": "SQ", "Value": listed}
        return json.dumps(answer).encode()


class Receiver:
    """Stores what clients send; any thread may call it.

    Parameters
    ----------
    store
        Where it goes.
    originals
        Folder for Segmentations as they came, where a conformant one was stored instead.
    """

    def __init__(self, store: StudyStore, originals: Path) -> None:
        self._store = store
        self._originals = originals
        self._lock = threading.Lock()  # whether an object is there already must stay true until it is stored

    def receive(self, contents: Iterable[bytes], root: str, study: str | None = None) -> Stored:
        """Store DICOM files, each for itself.

        - An object sent again is answered like the first time and stored once; another object under
          the same UID is refused.
        - A Segmentation must belong to a photograph of the studies, and to its patient and study.
        - See `clean_segmentation` for those that are not conformant.

        Parameters
        ----------
        contents
            Part 10 files.
        study
            StudyInstanceUID in the request's address: all must belong to it.

        Raises
        ------
        StorageError
            If the disk is full or the archive away before anything could be stored.
        """
        stored = Stored(root)
        for content in contents:
            dataset: Dataset | None = None
            try:
                dataset = _parse(content)
                self._receive(dataset, content, study, stored)
            except _Refused as refusal:
                _note_failure(stored, dataset, refusal.reason, str(refusal))
            except StorageError as error:
                if not stored.kept:
                    raise
                _note_failure(stored, dataset, _OUT_OF_RESOURCES, str(error))
            except DermCheckError as error:  # e.g. what is stored under its UID cannot be read
                _note_failure(stored, dataset, _FAILED, str(error))
        return stored

    def _receive(self, dataset: Dataset, content: bytes, study: str | None, stored: Stored) -> None:
        try:
            instance = describe(dataset, "")
        except MaskError as error:
            raise _Refused(_DOES_NOT_FIT, str(error)) from error
        except DermCheckError as error:
            raise _Refused(_CANNOT_UNDERSTAND, str(error)) from error
        if study is not None and instance.study_instance_uid != study:
            raise _Refused(
                _DOES_NOT_FIT,
                f"instance {instance.sop_instance_uid}: it belongs to study {instance.study_instance_uid}, "
                f"but was sent to study {study}. Send it to its own.",
            )
        with self._lock:
            if found := self._store.catalogue.find(instance.sop_instance_uid):
                self._check_same(found, dataset, content)
                _note_kept(stored, found, None)
                return
            self._check_patient(dataset, instance)
            if instance.label is None:
                self._store.store(dataset)
                _note_kept(stored, instance, None)
                return
            kept = self._store_label(dataset, content, instance)
        changed = kept is not dataset
        if changed:
            instance = describe(kept, "")
            stored.sentences.append(
                f"Segmentation {instance.sop_instance_uid} was not conformant: it was rebuilt, and the "
                "original is kept"
            )
        _note_kept(stored, instance, _COERCED if changed else None)
        if instance.label and not instance.label.automatic:
            stored.labels.append((instance.label.image_id, instance.sop_instance_uid))

    def _store_label(self, dataset: Dataset, content: bytes, instance: Instance) -> Dataset:
        assert instance.label is not None  # noqa: S101 - the caller looked
        image = instance.label.image_id
        try:
            photograph = self._store.attributes(image)
        except NotFoundError as error:
            raise _Refused(
                _DOES_NOT_FIT,
                f"Segmentation {instance.sop_instance_uid}: it outlines image {image}, which is no "
                "photograph of these studies. Store the photograph first.",
            ) from error
        _check_belongs(dataset, photograph, instance)
        try:
            kept = clean_segmentation(dataset, photograph)
        except DermCheckError as error:
            raise _Refused(_DOES_NOT_FIT, str(error)) from error
        if kept is not dataset:
            self._keep_original(instance.sop_instance_uid, content)
        self._store.store(kept)
        return kept

    def _keep_original(self, uid: str, content: bytes) -> None:
        path = self._original(uid)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_new_file(path, content)
        except FileExistsError:
            _logger.info("Original of %s is kept already: an earlier attempt ended before it was stored", uid)
        except OSError as error:
            raise StorageError(
                f"{path.parent}: the original of Segmentation {uid} cannot be kept ({error.strerror}). "
                "Make the folder writable, and send it again."
            ) from error

    def _original(self, uid: str) -> Path:
        return self._originals / f"{uid}.dcm"

    def _check_same(self, found: Instance, dataset: Dataset, content: bytes) -> None:
        """Refuse another object under the UID of a stored one."""
        uid = found.sop_instance_uid
        original = self._original(uid)
        if original.is_file() and original.read_bytes() == content:
            return
        there = self._store.archive.retrieve_instance(
            found.study_instance_uid, found.series_instance_uid, found.sop_instance_uid
        )
        if there.get("SOPClassUID") == dataset.get("SOPClassUID") and there.get("PixelData") == dataset.get(
            "PixelData"
        ):
            return
        raise _Refused(
            _FAILED,
            f"instance {uid}: a different object with this SOPInstanceUID is stored already, and nothing "
            "stored is ever replaced. Give a changed object a new UID.",
        )

    def _check_patient(self, dataset: Dataset, instance: Instance) -> None:
        """Refuse an object that would put two patients into one study."""
        for other in self._store.catalogue.study(instance.study_instance_uid):
            theirs, ours = (found.texts[_PATIENT_ID] if found.texts else "" for found in (other, instance))
            if theirs and ours and theirs != ours:
                raise _Refused(
                    _DOES_NOT_FIT,
                    f"instance {instance.sop_instance_uid}: its PatientID is not the one of its study "
                    f"{instance.study_instance_uid}. Nothing was stored: check which patient it belongs to.",
                )


def _check_belongs(segmentation: Dataset, photograph: Dataset, instance: Instance) -> None:
    """Refuse a Segmentation of another patient or study than the photograph's."""
    for keyword, what in (("PatientID", "patient"), ("StudyInstanceUID", "study")):
        ours, theirs = read_text(segmentation, keyword) or "", read_text(photograph, keyword) or ""
        if ours and theirs and ours != theirs:  # the sentence names no patient
            raise _Refused(
                _DOES_NOT_FIT,
                f"Segmentation {instance.sop_instance_uid}: its {keyword} is not that of the photograph it "
                f"outlines, so it belongs to another {what}. Nothing was stored: outline the photograph "
                "again.",
            )


def _parse(content: bytes) -> Dataset:
    try:
        return read_dataset(content)
    except DermCheckError as error:
        raise _Refused(_CANNOT_UNDERSTAND, str(error)) from error


def _note_kept(stored: Stored, instance: Instance, warning: int | None) -> None:
    place = instance_address(
        stored.root, instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid
    )
    item = _reference(instance.sop_class_uid, instance.sop_instance_uid)
    item["00081190"] = {"vr": "UR", "Value": [place]}
    if warning is not None:
        item["00081196"] = {"vr": "US", "Value": [warning]}
        stored.warned = True
    stored.kept.append(item)
    stored.studies.add(instance.study_instance_uid)


def _note_failure(stored: Stored, dataset: Dataset | None, reason: int, sentence: str) -> None:
    uids = [
        str(dataset.get(keyword) or "") if dataset else "" for keyword in ("SOPClassUID", "SOPInstanceUID")
    ]
    item = _reference(*uids)
    item["00081197"] = {"vr": "US", "Value": [reason]}
    stored.failed.append(item)
    stored.sentences.append(sentence)
    _logger.warning("Not stored: %s", sentence)


def _reference(sop_class_uid: str, sop_instance_uid: str) -> dict[str, Any]:
    return {
        tag: {"vr": "UI", "Value": [uid]} if uid else {"vr": "UI"}
        for tag, uid in (("00081150", sop_class_uid), ("00081155", sop_instance_uid))
    }
