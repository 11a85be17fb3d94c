"""The functional groups of a multi-frame object: what is said of each of its frames (PS3.3 C.7.6.16)."""

from pydicom import Dataset

from dermcheck.dicom.references import items

__all__ = ["FunctionalGroups"]


class FunctionalGroups:
    """Looks up macros by frame.

    Tolerated: a macro in the per-frame group although the standard has it shared, or the reverse, and
    frames without a group of their own.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._shared = items(dataset, "SharedFunctionalGroupsSequence")[:1]
        self._per_frame = items(dataset, "PerFrameFunctionalGroupsSequence")

    def macro(self, index: int, keyword: str) -> list[Dataset]:
        """Return the items of a macro for the frame at `index` (from 0): its own, else the shared ones."""
        for group in (*self._per_frame[index : index + 1], *self._shared):
            if found := items(group, keyword):
                return found
        return []

    def first(self, index: int, keyword: str) -> Dataset:
        """Return the first item of a macro, an empty one if there is none."""
        return next(iter(self.macro(index, keyword)), Dataset())
