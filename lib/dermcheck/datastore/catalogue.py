"""The instances known at this moment, kept in memory so that lists take microseconds."""

from bisect import insort
from datetime import datetime
from threading import RLock

from dermcheck.datastore.instances import Instance, StoredLabel

__all__ = ["Catalogue"]


class Catalogue:
    """Thread-safe register of instances by place, by UID and by photograph.

    Where several places hold one SOPInstanceUID the first place in alphabetical order counts: the
    choice then depends neither on the order of discovery nor on a restart.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._at: dict[str, Instance] = {}
        self._keys_of: dict[str, list[str]] = {}  # SOPInstanceUID -> places, sorted
        self._labels_of: dict[str, list[Instance]] = {}  # image id -> its labels, oldest first
        self._finished: set[str] = set()  # ids, known or not, that have a label made by a human
        self._image_ids: tuple[str, ...] | None = None  # made again after a change, like the next
        self._multi_frame: frozenset[str] = frozenset()
        self._of_study: dict[str, dict[str, Instance]] = {}  # StudyInstanceUID -> by SOPInstanceUID
        self._study: dict[str, tuple[Instance, ...]] = {}  # the same, sorted, for those asked for
        self._study_uids: tuple[str, ...] | None = None

    def put(self, instance: Instance) -> None:
        """Add an instance, or replace what was known of its place."""
        with self._lock:
            self.drop(instance.key)
            self._at[instance.key] = instance
            self._change(instance.sop_instance_uid, instance.key, adding=True)

    def drop(self, key: str) -> None:
        """Forget what was at a place, if anything was."""
        with self._lock:
            if instance := self._at.get(key):
                self._change(instance.sop_instance_uid, key, adding=False)
                del self._at[key]

    def _change(self, uid: str, key: str, *, adding: bool) -> None:
        """Add or remove one place of a UID; then whichever place is first now counts."""
        keys = self._keys_of.setdefault(uid, [])
        before = self._at[keys[0]] if keys else None
        if adding:
            insort(keys, key)
        else:
            keys.remove(key)
        after = self._at[keys[0]] if keys else None
        if not keys:
            del self._keys_of[uid]
        if before is not after:
            self._replace(before, after)

    def _replace(self, before: Instance | None, after: Instance | None) -> None:
        if before and before.label:
            self._labels_of[before.label.image_id].remove(before)
            self._recount(before.label.image_id)
        if after and after.label:
            insort(self._labels_of.setdefault(after.label.image_id, []), after, key=_age)
            self._recount(after.label.image_id)
        if any(instance and instance.kind == "photograph" for instance in (before, after)):
            self._image_ids = None
        self._sort_into_study(before, after)

    def _sort_into_study(self, before: Instance | None, after: Instance | None) -> None:
        self._study_uids = None
        if before:
            uid = before.study_instance_uid
            self._study.pop(uid, None)
            del self._of_study[uid][before.sop_instance_uid]
            if not self._of_study[uid]:
                del self._of_study[uid]
        if after:
            uid = after.study_instance_uid
            self._study.pop(uid, None)
            self._of_study.setdefault(uid, {})[after.sop_instance_uid] = after

    def _recount(self, image_id: str) -> None:
        labels = self._labels_of[image_id]
        if any(not label.automatic for label in self.labels(image_id)):
            self._finished.add(image_id)
        else:
            self._finished.discard(image_id)
        if not labels:
            del self._labels_of[image_id]

    def at(self, key: str) -> Instance | None:
        """Return what is at a place."""
        with self._lock:
            return self._at.get(key)

    def find(self, sop_instance_uid: str) -> Instance | None:
        """Return the instance that counts for a SOPInstanceUID."""
        with self._lock:
            keys = self._keys_of.get(sop_instance_uid)
            return self._at[keys[0]] if keys else None

    def instances(self) -> list[Instance]:
        """Return the instance that counts for each SOPInstanceUID, by place."""
        with self._lock:
            return sorted((self._at[keys[0]] for keys in self._keys_of.values()), key=lambda found: found.key)

    def image_ids(self) -> list[str]:
        """Return the SOPInstanceUID of each photograph, by place."""
        with self._lock:
            return list(self._photographs()[0])

    def multi_frame(self) -> frozenset[str]:
        """Return the SOPInstanceUID of each photograph whose known header tells of several frames."""
        with self._lock:
            return self._photographs()[1]

    def _photographs(self) -> tuple[tuple[str, ...], frozenset[str]]:
        if self._image_ids is None:
            photographs = [found for found in self.instances() if found.kind == "photograph"]
            self._image_ids = tuple(found.sop_instance_uid for found in photographs)
            self._multi_frame = frozenset(
                found.sop_instance_uid
                for found in photographs
                if found.header and found.header.number_of_frames > 1
            )
        return self._image_ids, self._multi_frame

    def study_uids(self) -> tuple[str, ...]:
        """Return the StudyInstanceUID of each study, the newest first; the same object until a change."""
        with self._lock:
            if self._study_uids is None:
                order = {
                    uid: _study_moment(next(iter(found.values()))) for uid, found in self._of_study.items()
                }
                # By UID where date and time are equal, so that pages of a list fit together.
                self._study_uids = tuple(sorted(sorted(order), key=order.__getitem__, reverse=True))
            return self._study_uids

    def study(self, study_instance_uid: str) -> tuple[Instance, ...]:
        """Return the instances of a study by place; the same object until one of them changes."""
        with self._lock:
            if (found := self._study.get(study_instance_uid)) is None:
                instances = self._of_study.get(study_instance_uid, {}).values()
                found = tuple(sorted(instances, key=lambda instance: instance.key))
                if found:
                    self._study[study_instance_uid] = found
            return found

    def labels(self, image_id: str) -> list[StoredLabel]:
        """Return the labels of a photograph that nobody has withdrawn, oldest first."""
        found = self.label_history(image_id)
        withdrawn = {label.withdraws for label in found if label.withdraws}
        if not withdrawn:
            return found
        return [label for label in found if not label.withdraws and label.sop_instance_uid not in withdrawn]

    def label_history(self, image_id: str) -> list[StoredLabel]:
        """Return all labels of a photograph, also withdrawn ones and what withdraws them, oldest first."""
        with self._lock:
            return [found.label for found in self._labels_of.get(image_id, ()) if found.label]

    def finished(self) -> frozenset[str]:
        """Return the ids of photographs, also of absent ones, that have a label made by a human."""
        with self._lock:
            return frozenset(self._finished)

    def duplicates(self) -> dict[str, list[str]]:
        """Return the places of each SOPInstanceUID that is in more than one."""
        with self._lock:
            return {uid: list(keys) for uid, keys in self._keys_of.items() if len(keys) > 1}

    def stray_labels(self) -> list[Instance]:
        """Return the labels whose photograph is not there."""
        with self._lock:
            return [
                label
                for image_id, labels in self._labels_of.items()
                if (image := self.find(image_id)) is None or image.kind != "photograph"
                for label in labels
            ]


def _study_moment(instance: Instance) -> tuple[str, ...]:
    """Return date and time of the study as DICOM writes them, whose order is that of time."""
    return instance.texts[:2]


def _age(instance: Instance) -> tuple[datetime, int, str]:
    """Order labels by when they were made.

    Makers write whole seconds, so the time of storing decides within one; the UID makes the order
    the same in every process.
    """
    assert instance.label is not None  # noqa: S101 - tells mypy what `_replace` checks
    return instance.label.created, instance.stored_ns, instance.sop_instance_uid
