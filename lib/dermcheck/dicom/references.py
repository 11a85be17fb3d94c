"""Which photographs an object made from photographs refers to, and the small parts to look that up."""

from collections.abc import Iterable, Iterator

from pydicom import Dataset, config
from pydicom.uid import UID

__all__ = ["is_uid", "items", "referenced_images"]


def is_uid(text: str | None) -> bool:
    """Tell whether a text is a UID (PS3.5 section 9.1), without the warning that pydicom gives for others.

    >>> is_uid("2.25.1"), is_uid("2.25.01"), is_uid(None)
    (True, False, False)
    """
    return UID(text or "", validation_mode=config.IGNORE).is_valid


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence, none where it is absent, empty or not a sequence."""
    value = dataset.get(keyword)
    return [item for item in value if isinstance(item, Dataset)] if isinstance(value, Iterable) else []


def referenced_images(dataset: Dataset) -> list[str]:
    """Collect the SOPInstanceUIDs of the images that a Segmentation refers to, each once.

    Looked up are the derivation of its frames, its source images and its referenced series, of this
    and other studies (PS3.3 C.7.6.16.2.6, C.7.6.1, C.12.2), in this order: writers fill in some of
    these, and each of them is enough.
    """
    found = (str(item.get("ReferencedSOPInstanceUID") or "") for item in _references(dataset))
    return [uid for uid in dict.fromkeys(found) if uid]


def _references(dataset: Dataset) -> Iterator[Dataset]:
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in items(dataset, keyword):
            for derivation in items(group, "DerivationImageSequence"):
                yield from items(derivation, "SourceImageSequence")
    yield from items(dataset, "SourceImageSequence")
    studies = [dataset, *items(dataset, "StudiesContainingOtherReferencedInstancesSequence")]
    for study in studies:
        for series in items(study, "ReferencedSeriesSequence"):
            yield from items(series, "ReferencedInstanceSequence")
