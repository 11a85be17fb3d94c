"""What DermCheck has to say about one photograph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dermcheck.dicom.author import Algorithm
from dermcheck.dicom.segmentation import LesionMask
from dermcheck.inference.rules import Caution
from dermcheck.lesions import LesionClass

__all__ = ["Diagnosis", "LesionReport"]


@dataclass(frozen=True)
class Diagnosis:
    """The classifier's answer; `inference.calibration` explains the three values."""

    probabilities: Mapping[str, float]
    """Calibrated, by class name in the order of `CLASSES`; they sum to 1."""
    decision: LesionClass
    """Not always the most probable class: rare classes are not outvoted by frequent ones."""
    uncertainty: float
    """Normalised entropy of the probabilities, 0 (sure) to 1."""
    classifier: Algorithm
    caution: Caution = field(default_factory=Caution)


@dataclass(frozen=True, eq=False)
class LesionReport:
    """Outline and diagnosis of one photograph, with the models they come from."""

    mask: LesionMask
    """(rows, columns) bool of the photograph's own size; all False if no lesion was found."""
    probabilities: Mapping[str, float]
    """Calibrated, by class name in the order of `CLASSES`; they sum to 1."""
    decision: LesionClass
    uncertainty: float
    """Normalised entropy of the probabilities, 0 (sure) to 1."""
    classifier: Algorithm
    outliner: Algorithm
    caution: Caution = field(default_factory=Caution)

    def label_map(self) -> npt.NDArray[np.uint8]:
        """Give (rows, columns) uint8: the decided class's value (1 to 7) inside the mask, 0 outside."""
        return self.mask.astype(np.uint8) * np.uint8(self.decision.label_value)
