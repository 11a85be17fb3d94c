"""Who answers in the place of the clinician."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dermcheck.lesions import CLASSES

__all__ = ["Oracle"]


@dataclass(frozen=True)
class Oracle:
    """Knows the truth, and says another class in some cases."""

    diagnosis: npt.NDArray[np.int64]
    """(N,) true class of each photograph."""
    noise: float = 0.0
    """Share of wrong answers, each of the other classes equally often."""
    seed: int = 0

    def answers(self) -> npt.NDArray[np.int64]:
        """Return the answer (N,) to each photograph: whoever is asked twice answers the same."""
        rng = np.random.default_rng([self.seed, 1])
        wrong = rng.random(len(self.diagnosis)) < self.noise
        shifted = (self.diagnosis + rng.integers(1, len(CLASSES), len(self.diagnosis))) % len(CLASSES)
        return np.where(wrong, shifted, self.diagnosis)
