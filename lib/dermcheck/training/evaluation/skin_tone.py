"""Estimate of the skin's tone around a lesion: the individual typology angle.

The angle (ITA) is computed in CIELAB as ``arctan((L* - 50) / b*)``, in degrees; the limits of its six groups
are those of Chardon et al. 1991 (International Journal of Cosmetic Science 13:191). Kinyanjui et al. 2020
(MICCAI, "Fairness of classifiers across skin tones in dermatology") estimate it from photographs of
HAM10000's kind, as is done here. A photograph is no colorimeter: light, white balance and a dermoscope's
polarisation move the angle, so that groups may be compared with each other, but tell little of one patient.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import binary_dilation

from dermcheck.dicom.pixels import RGBImage
from dermcheck.dicom.segments import LesionMask

__all__ = ["SKIN_TONES", "lab_of", "skin_tone", "typology_angle"]

SKIN_TONES: Final = (
    ("very light (over 55°)", 55.0),
    ("light (41 to 55°)", 41.0),
    ("intermediate (28 to 41°)", 28.0),
    ("tan (10 to 28°)", 10.0),
    ("brown (-30 to 10°)", -30.0),
    ("dark (under -30°)", -np.inf),
)
"""Names, and the angle above which each begins."""

_SIDE_PX: Final = 192
_DARKEST: Final = 15.0
"""L* of what still may be skin; darker are the corners of a dermoscope's picture, and hair."""
_LEAST_SHARE: Final = 0.02
"""Of the picture that must be skin."""
_D65: Final = np.array([0.95047, 1.0, 1.08883])
_TO_XYZ: Final = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def typology_angle(pixels: RGBImage, lesion: LesionMask) -> float:
    """Estimate the skin's angle from what surrounds the lesion.

    The medians of L* and b* count, so that hair, bubbles and marks over less than half of the skin do not.

    Parameters
    ----------
    pixels
        (rows, columns, 3) uint8 sRGB.
    lesion
        (rows, columns) bool; a margin of a twentieth of the short side around it is left out too.

    Returns
    -------
    float
        Degrees, -90 to 90; NaN where less than a fiftieth of the picture is skin.
    """
    scale = _SIDE_PX / min(lesion.shape)
    size = max(1, round(lesion.shape[1] * scale)), max(1, round(lesion.shape[0] * scale))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    inside = np.asarray(Image.fromarray(lesion.astype(np.uint8) * 255).resize(size)) > 0
    lab = lab_of(small[~binary_dilation(inside, iterations=_SIDE_PX // 20)])
    skin = lab[lab[:, 0] > _DARKEST]
    if len(skin) < _LEAST_SHARE * inside.size:
        return float("nan")
    lightness, _, yellow = np.median(skin, axis=0)
    return float(np.degrees(np.arctan2(lightness - 50, max(yellow, 1e-6))))


def skin_tone(angle: npt.NDArray[np.float64]) -> npt.NDArray[np.str_]:
    """Name the groups of (N,) angles; empty where the angle is NaN.

    >>> skin_tone(np.array([60.0, 0.0, np.nan])).tolist()
    ['very light (over 55°)', 'brown (-30 to 10°)', '']
    """
    names = np.array([*(name for name, _ in SKIN_TONES), ""])
    above = [angle > low for _, low in SKIN_TONES]
    return np.asarray(names[np.select(above, range(len(SKIN_TONES)), len(SKIN_TONES))])


def lab_of(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Convert (..., 3) sRGB values to CIELAB under D65 (IEC 61966-2-1, CIE 15).

    >>> lab_of(np.array([255, 0, 0], np.uint8)).round(1).tolist()
    [53.2, 80.1, 67.2]
    """
    share = colours / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _TO_XYZ.T / _D65
    x, y, z = np.moveaxis(np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * 841 / 108 + 4 / 29), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)
