"""Random views of a batch of photographs, drawn and resampled as one batch.

One affine resampling takes a 256 px picture straight to the training size, which costs about a
millisecond an image and gives image and mask the same geometry. MONAI's dictionary transforms work
image by image and were ten times slower here, where two cores must feed two networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["centre_view", "normalise", "random_view"]


def normalise(pixels: Tensor) -> Tensor:
    """Map RGB in [0, 1] to the networks' input range [-1, 1], in channels-last memory."""
    return ((pixels - 0.5) / 0.5).contiguous(memory_format=torch.channels_last)


def _to_float(images: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(255)


def centre_view(images: npt.NDArray[np.uint8], side: int) -> Tensor:
    """Scale whole square pictures to `side` px: (N, 3, side, side) in [0, 1]."""
    pixels = _to_float(images)
    if pixels.shape[-1] == side:
        return pixels
    return F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)


def random_view(
    images: npt.NDArray[np.uint8],
    side: int,
    generator: torch.Generator,
    masks: npt.NDArray[np.uint8] | None = None,
    smallest_scale: float = 0.55,
    largest_scale: float = 1.0,
) -> tuple[Tensor, Tensor | None]:
    """Draw one augmented view an image: rotation, scale, aspect, mirror, shift, light and colour.

    Parameters
    ----------
    images
        (N, H, W, 3) uint8 RGB.
    masks
        (N, H, W) uint8, 1 inside the lesion; resampled with the same geometry.
    smallest_scale, largest_scale
        Part of the picture's side that the view covers; above 1 the borders are mirrored.

    Returns
    -------
    pixels
        (N, 3, side, side) float32, near [0, 1].
    mask
        (N, 1, side, side) float32 in [0, 1], or None.
    """
    n = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator) * (high - low) + low

    angle = uniform(0, 2 * math.pi)
    scale = uniform(smallest_scale, largest_scale)
    aspect = uniform(0.85, 1.18)
    mirror = (uniform(0, 1) < 0.5).float() * 2 - 1
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack(
        [
            torch.stack([cosine * mirror * aspect, -sine, uniform(-0.125, 0.125)], 1),
            torch.stack([sine * mirror, cosine / aspect, uniform(-0.125, 0.125)], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, [n, 3, side, side], align_corners=False)
    pixels = F.grid_sample(_to_float(images), grid, padding_mode="reflection", align_corners=False)
    pixels = _random_light(pixels, uniform)
    if masks is None:
        return pixels, None
    inside = torch.from_numpy(np.ascontiguousarray(masks))[:, None].float()
    return pixels, F.grid_sample(inside, grid, padding_mode="reflection", align_corners=False)


def _random_light(pixels: Tensor, uniform: Callable[..., Tensor]) -> Tensor:
    """Brightness, contrast, saturation and a colour cast, as cameras and lamps differ."""
    pixels = pixels * uniform(0.8, 1.2, 1, 1, 1)
    mean = pixels.mean((2, 3), keepdim=True)
    pixels = (pixels - mean) * uniform(0.8, 1.25, 1, 1, 1) + mean
    grey = pixels.mean(1, keepdim=True)
    pixels = grey + (pixels - grey) * uniform(0.8, 1.2, 1, 1, 1)
    return pixels * uniform(0.94, 1.06, 3, 1, 1)
