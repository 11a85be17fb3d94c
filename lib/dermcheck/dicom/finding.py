"""What the classifier says of one photograph, as it goes into a Structured Report and comes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dermcheck.dicom.author import Algorithm
from dermcheck.dicom.outline import Outline, trace_outline
from dermcheck.dicom.segments import LesionMask
from dermcheck.errors import ArgumentError
from dermcheck.lesions import CLASSES, LesionClass

__all__ = ["DiagnosisFinding"]


@dataclass(frozen=True, slots=True)
class DiagnosisFinding:
    """What the classifier says of one photograph.

    Raises
    ------
    ArgumentError
        If the probabilities are not seven numbers of 0 to 1, one for each class, or the uncertainty or
        area are out of range.
    """

    probabilities: Mapping[str, float]
    """Calibrated probability by class name; all seven."""
    decision: LesionClass
    uncertainty: float
    """Entropy of the probabilities divided by its greatest possible value: 0 (certain) to 1."""
    algorithm: Algorithm
    """The classifier."""
    mask_area_px: int
    """Pixels of the outlined lesion, 0 if none was found."""
    outline: Outline = ()
    """Border of the largest part of the mask (`trace_outline`); empty if there is none."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        values = dict(self.probabilities)
        if set(values) != set(CLASSES) or not all(0 <= value <= 1 for value in values.values()):
            raise ArgumentError(
                f"the probabilities are {values}, expected one of 0 to 1 for each of {', '.join(CLASSES)}."
            )
        if not 0 <= self.uncertainty <= 1 or self.mask_area_px < 0:
            raise ArgumentError(
                f"the uncertainty is {self.uncertainty}, expected 0 to 1, and the area {self.mask_area_px} "
                "pixels, expected at least 0."
            )

    @classmethod
    def from_mask(
        cls,
        mask: LesionMask,
        probabilities: Mapping[str, float],
        decision: LesionClass,
        uncertainty: float,
        algorithm: Algorithm,
    ) -> "DiagnosisFinding":
        """Make a finding whose area and outline are those of a mask."""
        area = int(np.count_nonzero(mask))
        return cls(probabilities, decision, uncertainty, algorithm, area, trace_outline(mask))
