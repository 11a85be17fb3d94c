"""How a person's outline came about: in private attributes of its Segmentation.

DICOM has no attributes for the time that an outline took, or for what it was made from. They are kept
inside the object all the same, in a private block (PS3.5 7.8): so they go wherever it goes, and nobody has to
keep a second list. Readers that do not know the block pass over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from pydicom import Dataset
from pydicom.datadict import add_private_dict_entries

from dermcheck.dicom.references import is_uid
from dermcheck.dicom.segments import LesionMask
from dermcheck.errors import MaskError
from dermcheck.lesions import CLASSES

__all__ = ["AnnotationRecord", "Beginning", "read_record", "write_record"]

Beginning = Literal["prediction", "label", "nothing"]
"""What the person began with: a model's proposal, an earlier label, or the bare photograph."""

_GROUP: Final = 0x0077
_CREATOR: Final = "DermCheck annotation"
_ELEMENTS: Final[Mapping[str, tuple[int, str, str]]] = {
    "seconds": (0x01, "FD", "Seconds Of Work"),
    "started_from": (0x02, "CS", "Started From"),
    "based_on": (0x03, "UI", "Label That It Is Based On"),
    "proposed_class": (0x04, "CS", "Proposed Class"),
    "proposed_px": (0x05, "UL", "Pixels Of The Proposal"),
    "added_px": (0x06, "UL", "Pixels Added To The Proposal"),
    "removed_px": (0x07, "UL", "Pixels Removed From The Proposal"),
    "withdraws": (0x08, "UI", "Label That Is Withdrawn"),
}
"""Field of `AnnotationRecord` -> element, value representation and name."""

# So that objects in implicit VR, which name no value representation, are read with the right one.
add_private_dict_entries(
    _CREATOR,
    {_GROUP << 16 | number: (vr, "1", name, "") for number, vr, name in _ELEMENTS.values()},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationRecord:
    """How one outline came about; what is not known is None."""

    seconds: float | None = None
    """That the photograph was in front of the person."""
    started_from: Beginning | None = None
    based_on: str | None = None
    """SOPInstanceUID of the earlier label, where it began with one."""
    proposed_class: str | None = None
    """Short name of the class that the proposal named."""
    proposed_px: int | None = None
    """Pixels inside the proposal."""
    added_px: int | None = None
    """Pixels that the person added to it."""
    removed_px: int | None = None
    """Pixels that the person took away from it."""
    withdraws: str | None = None
    """SOPInstanceUID of the label that this object withdraws; it outlines nothing itself then."""

    @property
    def changed_px(self) -> int | None:
        """Pixels that differ from the proposal."""
        if self.added_px is None or self.removed_px is None:
            return None
        return self.added_px + self.removed_px

    @classmethod
    def compare(
        cls, proposal: LesionMask, drawn: LesionMask, proposed_class: str | None, **known: Any
    ) -> AnnotationRecord:
        """Count what a person changed.

        Parameters
        ----------
        proposal, drawn
            (rows, columns), each the union of its lesions.
        proposed_class
            Short name of the proposal's class, where it has one.
        known
            Other fields.

        Raises
        ------
        MaskError
            If the masks differ in size.

        >>> import numpy as np
        >>> before = np.array([[True, True, False]])
        >>> after = np.array([[False, True, True]])
        >>> AnnotationRecord.compare(before, after, "nv").changed_px
        2
        """
        if proposal.shape != drawn.shape:
            raise MaskError(
                f"The proposal has {' × '.join(map(str, proposal.shape))} pixels, the outline "
                f"{' × '.join(map(str, drawn.shape))}: they cannot be compared."
            )
        return cls(
            proposed_class=proposed_class,
            proposed_px=int(proposal.sum()),
            added_px=int((drawn & ~proposal).sum()),
            removed_px=int((proposal & ~drawn).sum()),
            **known,
        )


def write_record(segmentation: Dataset, record: AnnotationRecord) -> None:
    """Put a record into a Segmentation; fields that are None leave no element."""
    block = segmentation.private_block(_GROUP, _CREATOR, create=True)
    for name, (number, vr, _) in _ELEMENTS.items():
        value = getattr(record, name)
        if value is not None:
            block.add_new(number, vr, value.upper() if vr == "CS" else value)


def read_record(segmentation: Dataset) -> AnnotationRecord | None:
    """Read the record of a Segmentation, which needs no pixel data; None if it has none.

    Elements that cannot be understood count as unknown: they never keep an outline from being used.
    """
    try:
        block = segmentation.private_block(_GROUP, _CREATOR)
    except KeyError:
        return None
    found = {name: block[number].value for name, (number, _, _) in _ELEMENTS.items() if number in block}
    return AnnotationRecord(
        seconds=_number(found.get("seconds"), float),
        started_from=_one_of(found.get("started_from"), get_args(Beginning)),
        based_on=_uid(found.get("based_on")),
        proposed_class=_one_of(found.get("proposed_class"), CLASSES),
        proposed_px=_number(found.get("proposed_px"), int),
        added_px=_number(found.get("added_px"), int),
        removed_px=_number(found.get("removed_px"), int),
        withdraws=_uid(found.get("withdraws")),
    )


def _number(value: Any, kind: type) -> Any:
    """Take a number that is not negative; archives that do not know the block may give bytes or text."""
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number < float("inf") else None


def _one_of(value: Any, known: tuple[str, ...]) -> Any:
    text = _text(value).casefold()
    return text if text in known else None


def _uid(value: Any) -> str | None:
    text = _text(value)
    return text if is_uid(text) else None


def _text(value: Any) -> str:
    """Read text, also where an archive gave the bytes of an element that it does not know (VR UN)."""
    if isinstance(value, bytes):
        return value.decode("ascii", errors="replace").strip(" \0")
    return str(value or "").strip()
