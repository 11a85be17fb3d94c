from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dermcheck.datastore.catalogue import Catalogue
from dermcheck.datastore.instances import Instance, StoredLabel

NOON = datetime(2024, 1, 2, 12)


def photograph(key: str, uid: str) -> Instance:
    return Instance(key, "", 0, "photograph", "1.2", "1", "1", uid, "XC")


def label(key: str, uid: str, image_id: str, *, automatic: bool, minute: int, stored_ns: int = 0) -> Instance:
    stored = StoredLabel(uid, image_id, automatic, None, NOON + timedelta(minutes=minute))
    return Instance(key, "", stored_ns, "label", "1.3", "1", "1", uid, "SEG", label=stored)


keys = st.sampled_from("abcdef")
instances = st.one_of(
    st.builds(photograph, keys, st.sampled_from(["1", "2", "3"])),
    st.builds(
        label,
        keys,
        st.sampled_from(["1", "4", "5"]),
        st.sampled_from(["1", "2", "9"]),
        automatic=st.booleans(),
        minute=st.integers(0, 2),
        stored_ns=st.integers(0, 2),
    ),
)


@given(st.lists(st.one_of(instances, keys)))
def test_after_any_changes_it_knows_what_one_made_anew_would_know(changes):
    catalogue, at = Catalogue(), {}
    for change in changes:
        if isinstance(change, str):
            catalogue.drop(change)
            at.pop(change, None)
        else:
            catalogue.put(change)
            at[change.key] = change
    counting = {}
    for key in sorted(at):
        counting.setdefault(at[key].sop_instance_uid, at[key])
    photographs = [found for found in counting.values() if found.kind == "photograph"]
    labels = sorted(
        (found for found in counting.values() if found.label),
        key=lambda found: (found.label.created, found.stored_ns, found.sop_instance_uid),
    )
    ids = {found.sop_instance_uid for found in photographs}
    assert catalogue.image_ids() == [found.sop_instance_uid for found in photographs]
    assert catalogue.instances() == list(counting.values())
    for image_id in ("1", "2", "9"):
        own = [found.label for found in labels if found.label.image_id == image_id]
        assert catalogue.labels(image_id) == own
        assert (image_id in catalogue.finished()) == any(not found.automatic for found in own)
    assert {found.key for found in catalogue.stray_labels()} == {
        found.key for found in labels if found.label.image_id not in ids
    }
    assert catalogue.duplicates() == {
        uid: places
        for uid in counting
        if len(places := sorted(key for key in at if at[key].sop_instance_uid == uid)) > 1
    }


def test_of_two_labels_made_in_one_second_the_one_stored_later_is_newer():
    catalogue = Catalogue()
    first = label("b", "7.1", "1", automatic=False, minute=0, stored_ns=10)
    second = replace(first, key="a", sop_instance_uid="6.1", stored_ns=20)
    second = replace(second, label=replace(second.label, sop_instance_uid="6.1"))
    catalogue.put(second)
    catalogue.put(first)
    assert [found.sop_instance_uid for found in catalogue.labels("1")] == ["7.1", "6.1"]
