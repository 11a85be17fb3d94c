"""What colours skin: melanin, blood, and what lies over them.

Light that crosses pigment is weakened exponentially (Beer and Lambert), each colour by its own
coefficient: brown of every depth comes from one pigment, and the six Fitzpatrick skin types from
its amount. The coefficients are chosen by eye for sRGB values; they are no measurement.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sample_drawing.textures import Plane

__all__ = ["SKIN_BLOOD", "SKIN_MELANIN", "Tissue"]

_UNPIGMENTED = np.array([0.980, 0.935, 0.890])
_MELANIN_ABSORPTION = np.array([0.56, 0.90, 1.22])
_BLOOD_ABSORPTION = np.array([0.20, 1.00, 0.86])
_VENOUS_ABSORPTION = np.array([0.80, 1.00, 0.55])

SKIN_MELANIN = {1: 0.05, 2: 0.13, 3: 0.27, 4: 0.50, 5: 0.85, 6: 1.22}
"""Melanin by Fitzpatrick skin type."""
SKIN_BLOOD = {1: 0.19, 2: 0.17, 3: 0.15, 4: 0.13, 5: 0.11, 6: 0.10}
"""Blood by Fitzpatrick skin type; seen less under darker skin."""


@dataclass
class Tissue:
    """Pigments of each point, (rows, columns) each, and layers above them, lowest first."""

    melanin: Plane
    blood: Plane
    venous: Plane
    window: tuple[slice, slice] = (slice(None), slice(None))
    """Where this part lies in the whole."""
    layers: list[tuple[tuple[slice, slice], Plane, tuple[float, float, float]]] = field(default_factory=list)

    @classmethod
    def of_skin_type(cls, fitzpatrick: int, shape: tuple[int, ...]) -> "Tissue":
        """Even skin of a Fitzpatrick type, 1 to 6."""
        return cls(
            melanin=np.full(shape, SKIN_MELANIN[fitzpatrick]),
            blood=np.full(shape, SKIN_BLOOD[fitzpatrick]),
            venous=np.zeros(shape),
        )

    def part(self, window: tuple[slice, slice]) -> "Tissue":
        """Look at the part in a window; what is painted on it is painted on the whole."""
        return Tissue(self.melanin[window], self.blood[window], self.venous[window], window, self.layers)

    def cover(self, opacity: Plane, colour: tuple[float, float, float]) -> None:
        """Lay a layer over the tissue: scale, keratin, scar, blue-white veil. `colour` is sRGB, 0 to 1."""
        self.layers.append((self.window, opacity, colour))

    def colour(self) -> npt.NDArray[np.float64]:
        """Compute the seen colour of the whole, (rows, columns, 3), sRGB from 0 to 1."""
        density = (
            np.maximum(self.melanin, 0.0)[..., None] * _MELANIN_ABSORPTION
            + np.maximum(self.blood, 0.0)[..., None] * _BLOOD_ABSORPTION
            + np.maximum(self.venous, 0.0)[..., None] * _VENOUS_ABSORPTION
        )
        colour: npt.NDArray[np.float64] = _UNPIGMENTED * np.exp(-density)
        for window, opacity, above in self.layers:
            weight = np.clip(opacity, 0.0, 1.0)[..., None]
            colour[window] = colour[window] * (1.0 - weight) + np.asarray(above) * weight
        return colour
