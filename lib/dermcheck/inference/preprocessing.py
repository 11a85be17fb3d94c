"""From a photograph to a network's input, as the model's card asks.

Everything is resized as in training: on floats, bilinearly with antialiasing. A photograph much
larger than the input is first reduced as uint8, which takes 20 ms for 24 megapixels and never makes
a float copy of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dermcheck.dicom.pixels import RGBImage
from dermcheck.inference.fitting import Fitter
from dermcheck.networks.cards import InputSpec

__all__ = ["NetworkInput", "prepare"]


@dataclass(frozen=True)
class NetworkInput:
    """A network's input and how much of it is photograph."""

    pixels: Tensor
    """(1, 3, H, W) float32, normalised, channels-last memory."""
    rows: int
    """The photograph fills the first `rows` rows and `columns` columns; the rest is padding."""
    columns: int


def prepare(pixels: RGBImage, spec: InputSpec) -> NetworkInput:
    """Crop or pad, resize and normalise one photograph of any size. Its aspect ratio is kept.

    Parameters
    ----------
    pixels
        (rows, columns, 3) uint8 RGB; not changed. A read-only or strided array is copied.
    spec
        `centre_square` gives (1, 3, side, side). `short_side` gives the whole photograph: its short
        side becomes `side` (less if the long side would pass ``max_aspect * side``), then it is
        mirrored at the bottom and right to a `multiple`.

    Raises
    ------
    ValueError
        If `pixels` is not such an array, or empty.
    """
    fitted = Fitter(pixels).fit(spec)
    mean, std = (torch.tensor(values) for values in (spec.mean, spec.std))
    normalised = (torch.from_numpy(fitted.picture) - mean) / std
    return NetworkInput(normalised.permute(2, 0, 1)[None], fitted.rows, fitted.columns)
