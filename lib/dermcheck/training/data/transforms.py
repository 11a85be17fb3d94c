"""Views of photographs for training and validation, as MONAI dictionary transforms on whole batches.

A batch is a dictionary of ``image``, (N, 3, H, W) float32 in [0, 1]; ``mask``, (N, 1, H, W) float32; and
``generator``, a `torch.Generator`. The mask and, for validation, the generator may be missing. The interface
is MONAI's (`MapTransform`, `Compose`), the work is done for all images of a batch at once: MONAI's own
transforms go image by image and took ten times as long where two cores must feed two networks.

Every random choice comes from the batch's own generator, so a run that was killed goes on with the very same
views.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from monai.transforms.compose import Compose
from monai.transforms.traits import RandomizableTrait
from monai.transforms.transform import MapTransform
from torch import Tensor
from torch.nn import functional as F

from dermcheck.inference.resampling import resample
from dermcheck.training.data.picture_cache import Photographs

__all__ = [
    "HALF",
    "CentreView",
    "Normalise",
    "RandomHair",
    "RandomLight",
    "RandomShadesOfGrey",
    "RandomView",
    "to_batch",
    "training_transforms",
    "validation_transforms",
]

Batch = dict[Hashable, Any]
HALF: Final = (0.5, 0.5, 0.5)


def to_batch(
    photographs: Photographs,
    rows: npt.NDArray[np.int64],
    generator: torch.Generator | None = None,
    *,
    masks: bool = False,
) -> Batch:
    """Read photographs from the cache as a batch for the transforms below."""
    images = torch.from_numpy(np.ascontiguousarray(photographs.images[rows]))
    batch: Batch = {"image": images.permute(0, 3, 1, 2).float().div_(255)}
    if masks:
        batch["mask"] = torch.from_numpy(np.ascontiguousarray(photographs.masks[rows]))[:, None].float()
    if generator is not None:
        batch["generator"] = generator
    return batch


def training_transforms(
    side: int,
    *,
    smallest_scale: float = 0.55,
    largest_scale: float = 1.0,
    hair: float = 0.0,
    colour_constancy: float = 0.0,
    mean: tuple[float, float, float] = HALF,
    std: tuple[float, float, float] = HALF,
) -> Compose:
    """Return random views for training: geometry, hair, colour constancy, light, normalisation.

    Parameters
    ----------
    side
        Of the network's input, in pixels.
    smallest_scale, largest_scale
        Part of the picture's side that a view covers; above 1 the borders are mirrored.
    hair, colour_constancy
        Share of the images that get drawn hair, and a neutral cast by shades of grey.
    mean, std
        Of the network's input, as in its card.

    >>> batch = {"image": torch.rand(2, 3, 40, 40), "generator": torch.Generator().manual_seed(1)}
    >>> training_transforms(32)(batch)["image"].shape
    torch.Size([2, 3, 32, 32])
    """
    steps: list[MapTransform] = [RandomView(side, smallest_scale, largest_scale)]
    steps += [RandomHair(hair)] if hair else []
    steps += [RandomShadesOfGrey(colour_constancy)] if colour_constancy else []
    return Compose([*steps, RandomLight(), Normalise(mean, std)])


def validation_transforms(
    side: int, *, mean: tuple[float, float, float] = HALF, std: tuple[float, float, float] = HALF
) -> Compose:
    """Return the view that prediction has: the whole square, scaled and normalised."""
    return Compose([CentreView(side), Normalise(mean, std)])


class _Random(MapTransform, RandomizableTrait):
    """A transform whose choices come from the batch's generator."""

    def __init__(self, *keys: str) -> None:
        super().__init__(keys, allow_missing_keys=True)

    @staticmethod
    def uniform(batch: Mapping[Hashable, Any], low: float, high: float, *shape: int) -> Tensor:
        """Draw (N, *shape) numbers."""
        drawn = torch.rand(len(batch["image"]), *shape, generator=batch["generator"])
        return drawn * (high - low) + low


class RandomView(_Random):
    """Turn, mirror, scale, stretch and shift image and mask alike: one resampling to `side`."""

    def __init__(self, side: int, smallest_scale: float = 0.55, largest_scale: float = 1.0) -> None:
        super().__init__("image", "mask")
        self.side = side
        self.scales = (smallest_scale, largest_scale)

    def __call__(self, data: Mapping[Hashable, Any]) -> Batch:
        """Apply one affine map an image; what lies beyond the border is mirrored."""
        batch = dict(data)
        theta = self._affine(batch)
        grid = F.affine_grid(theta, [len(theta), 1, self.side, self.side], align_corners=False)
        for key in self.key_iterator(batch):
            batch[key] = F.grid_sample(batch[key], grid, padding_mode="reflection", align_corners=False)
        return batch

    def _affine(self, batch: Batch) -> Tensor:
        """Draw (N, 2, 3) maps from the view's coordinates in [-1, 1] to the picture's."""
        angle = self.uniform(batch, 0, 2 * math.pi)
        scale = self.uniform(batch, *self.scales)
        aspect = self.uniform(batch, 0.85, 1.18)
        mirror = (self.uniform(batch, 0, 1) < 0.5).float() * 2 - 1
        cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
        across = [cosine * mirror * aspect, -sine, self.uniform(batch, -0.125, 0.125)]
        down = [sine * mirror, cosine / aspect, self.uniform(batch, -0.125, 0.125)]
        return torch.stack([torch.stack(across, 1), torch.stack(down, 1)], 1)


class RandomLight(_Random):
    """Vary brightness, contrast, saturation and colour cast, as cameras and lamps differ."""

    def __init__(self) -> None:
        super().__init__("image")

    def __call__(self, data: Mapping[Hashable, Any]) -> Batch:
        """Change the image; values may leave [0, 1] a little."""
        batch = dict(data)
        pixels: Tensor = batch["image"] * self.uniform(batch, 0.8, 1.2, 1, 1, 1)
        mean = pixels.mean((2, 3), keepdim=True)
        pixels = (pixels - mean) * self.uniform(batch, 0.8, 1.25, 1, 1, 1) + mean
        grey = pixels.mean(1, keepdim=True)
        pixels = grey + (pixels - grey) * self.uniform(batch, 0.8, 1.2, 1, 1, 1)
        batch["image"] = pixels * self.uniform(batch, 0.94, 1.06, 3, 1, 1)
        return batch


class RandomHair(_Random):
    """Draw dark curved hairs over some of the images; the mask stays, as the lesion lies below.

    Each hair is a quadratic Bézier curve, plotted as points and widened by a maximum over its neighbours.
    """

    def __init__(self, share: float, most: int = 12) -> None:
        super().__init__("image")
        self.share = share
        self.most = most

    def __call__(self, data: Mapping[Hashable, Any]) -> Batch:
        """Darken the image along the hairs."""
        batch = dict(data)
        pixels: Tensor = batch["image"]
        colour = self.uniform(batch, 0.02, 0.25, 1, 1, 1)
        batch["image"] = torch.lerp(pixels, colour.expand_as(pixels), self._cover(batch))
        return batch

    def _cover(self, batch: Batch) -> Tensor:
        """Draw (N, 1, H, W) opacities of 0 to 1."""
        count, _, height, width = batch["image"].shape
        ends = self.uniform(batch, -0.2, 1.2, self.most, 2, 2)
        bend = ends.mean(2) + self.uniform(batch, -0.25, 0.25, self.most, 2)
        along = torch.linspace(0, 1, 2 * max(height, width)).view(-1, 1)
        first, last = ends[:, :, 0, None], ends[:, :, 1, None]
        curve = (1 - along) ** 2 * first + 2 * along * (1 - along) * bend[:, :, None] + along**2 * last
        hairs = self.uniform(batch, 0, 1, 1) < self.uniform(batch, 0, 1, self.most)  # between none and all
        hairs &= self.uniform(batch, 0, 1, 1) < self.share
        row, column = (curve[..., 0] * height).long(), (curve[..., 1] * width).long()
        seen = hairs[..., None] & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        cover = torch.zeros(count, 1, height, width)
        image = torch.arange(count).view(-1, 1, 1).expand_as(row)
        cover[image[seen], 0, row[seen], column[seen]] = 1
        opacity = self.uniform(batch, 0.5, 1.0, 1, 1, 1)
        return F.avg_pool2d(F.max_pool2d(cover, 3, 1, 1), 3, 1, 1) * opacity


class RandomShadesOfGrey(_Random):
    """Give some of the images a neutral cast: shades of grey with norm 6 (Finlayson and Trezzi 2004).

    Only some, since prediction takes photographs as they come: the network learns to answer alike with and
    without.
    """

    def __init__(self, share: float, norm: int = 6) -> None:
        super().__init__("image")
        self.share = share
        self.norm = norm

    def __call__(self, data: Mapping[Hashable, Any]) -> Batch:
        """Scale the three channels so that their norms are equal and their mean norm stays."""
        batch = dict(data)
        pixels: Tensor = batch["image"]
        light = pixels.clamp_min(0).pow(self.norm).mean((2, 3), keepdim=True).pow(1 / self.norm)
        gain = light.mean(1, keepdim=True) / light.clamp_min(1e-3)
        chosen = self.uniform(batch, 0, 1, 1, 1, 1) < self.share
        batch["image"] = torch.where(chosen, pixels * gain, pixels)
        return batch


class CentreView(MapTransform):
    """Scale whole square pictures and masks to `side`, bilinearly with antialiasing, as prediction does."""

    def __init__(self, side: int) -> None:
        super().__init__(("image", "mask"), allow_missing_keys=True)
        self.side = side

    def __call__(self, data: Mapping[Hashable, Any]) -> Batch:
        """Resample."""
        batch = dict(data)
        for key in self.key_iterator(batch):
            batch[key] = resample(batch[key], self.side, self.side)
        return batch


class Normalise(MapTransform):
    """Map [0, 1] to the network's input range, in channels-last memory."""

    def __init__(
        self, mean: tuple[float, float, float] = HALF, std: tuple[float, float, float] = HALF
    ) -> None:
        super().__init__("image")
        self.mean = torch.tensor(mean).view(1, 3, 1, 1)
        self.std = torch.tensor(std).view(1, 3, 1, 1)

    def __call__(self, data: Mapping[Hashable, Any]) -> Batch:
        """Subtract the mean and divide by the standard deviation."""
        batch = dict(data)
        pixels = (batch["image"] - self.mean) / self.std
        batch["image"] = pixels.contiguous(memory_format=torch.channels_last)
        return batch
