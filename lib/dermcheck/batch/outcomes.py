"""What becomes of a photograph in a batch: a prediction, or why there is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Failure", "Prediction"]


@dataclass(frozen=True)
class Prediction:
    """A photograph with its seven calibrated probabilities, keyed by class name."""

    image: str
    probabilities: Mapping[str, float]
    remarks: Mapping[str, str] = field(default_factory=dict)
    """Columns of the table of cautions, as they are written."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """The rest of the report, as JSON can hold it; see `batch.report`."""
    model: str = ""
    """SHA-256 of the weights that predicted, the classifier's and the outliner's."""

    def to_json(self) -> str:
        """Write all but image and model."""
        kept = {
            "probabilities": dict(self.probabilities),
            "remarks": dict(self.remarks),
            "details": dict(self.details),
        }
        return json.dumps(kept, separators=(",", ":"))

    @classmethod
    def from_json(cls, image: str, text: str, model: str | None) -> Prediction:
        """Read what `to_json` wrote."""
        known = json.loads(text)
        return cls(image, known["probabilities"], known["remarks"], known["details"], model or "")


@dataclass(frozen=True)
class Failure:
    """A photograph that could not be predicted, and why, in a sentence."""

    image: str
    reason: str
    keeps_name: bool = False
    """Whether no other image may be called so, as if this one had been predicted."""
