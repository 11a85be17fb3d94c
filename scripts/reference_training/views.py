"""Random views of many photographs at once, on the device that trains.

The same kinds as `dermcheck.training.data.transforms`, drawn for whole batches, so that a GPU never waits for
the processor: turns, mirrors, zoom, shifts, colour and light, blur, noise, dark corners, hair.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Views", "draw_hair", "training_views", "whole_views"]

_GREY = (0.299, 0.587, 0.114)


class Views(NamedTuple):
    """A batch as a network sees it."""

    pixels: Tensor
    """(B, 3, side, side) in [-1, 1]."""
    masks: Tensor | None
    """(B, 1, side, side) in [0, 1]."""


def draw_hair(count: int, side: int, seed: int = 0) -> Tensor:
    """Draw masks of hair, (count, 1, side, side) uint8: 0 skin, 255 hair."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    drawn = []
    for _ in range(count):
        picture = Image.new("L", (2 * side, 2 * side))
        pen = ImageDraw.Draw(picture)
        for _ in range(int(uniform(2, 18))):
            x, y, angle, bend = (
                uniform(0, 2 * side),
                uniform(0, 2 * side),
                uniform(0, 6.3),
                uniform(-1.2, 1.2),
            )
            length, points = uniform(0.3, 1.5) * side, []
            for step in range(21):
                turned = angle + bend * step / 20
                points.append(
                    (x + math.cos(turned) * length * step / 20, y + math.sin(turned) * length * step / 20)
                )
            pen.line(points, fill=int(uniform(140, 255)), width=int(uniform(2, 5)))
        small = picture.resize((side, side), Image.Resampling.BOX)
        drawn.append(torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(1, side, side))
    return torch.stack(drawn)


def whole_views(images: Tensor, side: int) -> Tensor:
    """Show whole photographs, (B, 3, S, S) uint8, as prediction does: (B, 3, side, side) in [-1, 1]."""
    pixels = images.float() / 255
    if side != images.shape[-1]:
        pixels = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
    return pixels * 2 - 1


def training_views(images: Tensor, side: int, hair: Tensor, masks: Tensor | None = None) -> Views:
    """Draw one random view of each photograph.

    Parameters
    ----------
    images
        (B, 3, S, S) uint8.
    side
        Of the views.
    hair
        What `draw_hair` gave, on the same device.
    masks
        (B, S, S), 1 inside the lesion.
    """
    count, device = len(images), images.device
    fine = 2 if 2 * side <= images.shape[-1] * 1.2 else 1  # averaged afterwards, against aliasing
    grid = F.affine_grid(_geometry(count, device), [count, 3, side * fine, side * fine], align_corners=False)
    pixels = images.float() / 255
    with_hair = torch.rand(count, device=device) < 0.15
    strands = hair[torch.randint(len(hair), (count,), device=device)].float() / 255
    strands *= with_hair.view(-1, 1, 1, 1)
    tone = 0.05 + 0.3 * torch.rand(count, 3, 1, 1, device=device) ** 2
    pixels = pixels + strands * (tone - pixels)
    pixels = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    seen = None
    if masks is not None:
        seen = F.grid_sample(masks[:, None].float(), grid, padding_mode="reflection", align_corners=False)
    if fine > 1:
        pixels = F.avg_pool2d(pixels, fine)
        seen = None if seen is None else F.avg_pool2d(seen, fine)
    pixels = _noise(_dark_corners(_blur(_colour(pixels)))).clamp(0, 1)
    return Views(pixels * 2 - 1, seen)


def _uniform(count: int, low: float, high: float, device: torch.device) -> Tensor:
    return low + (high - low) * torch.rand(count, device=device)


def _geometry(count: int, device: torch.device) -> Tensor:
    """Turn by any angle, mirror, zoom to 0.5 to 1.15 of the side, stretch and shift: (B, 2, 3)."""
    angle = _uniform(count, 0, 2 * math.pi, device)
    quarter = torch.round(angle / (math.pi / 2)) * (math.pi / 2)
    angle = torch.where(torch.rand(count, device=device) < 0.5, quarter, angle)
    zoom = torch.exp(_uniform(count, math.log(0.5), math.log(1.15), device))
    stretch = torch.exp(_uniform(count, -0.12, 0.12, device))
    mirror = torch.where(torch.rand(count, device=device) < 0.5, -1.0, 1.0)
    slack = (1 - zoom).clamp(min=0) * 0.6 + 0.06
    shift = torch.stack([_uniform(count, -1, 1, device), _uniform(count, -1, 1, device)], 1) * slack[:, None]
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    rows = [
        torch.stack([cosine * stretch * mirror, -sine / stretch, shift[:, 0]], 1),
        torch.stack([sine * stretch * mirror, cosine / stretch, shift[:, 1]], 1),
    ]
    return torch.stack(rows, 1)


def _colour(pixels: Tensor) -> Tensor:
    """Change light, contrast, saturation, gamma and white balance; balance some to a grey world."""
    count, device = len(pixels), pixels.device

    def each(low: float, high: float, channels: int = 1) -> Tensor:
        return _uniform(count * channels, low, high, device).view(count, channels, 1, 1)

    mean = pixels.mean((2, 3), keepdim=True).clamp(min=0.02)
    balanced = pixels * (mean.mean(1, keepdim=True) / mean)
    pixels = torch.where(each(0, 1) < 0.15, balanced, pixels)
    pixels = pixels * torch.exp(each(-0.09, 0.09, 3)) * torch.exp(each(-0.2, 0.2))
    grey = (pixels * pixels.new_tensor(_GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
    pixels = grey + (pixels - grey) * each(0.65, 1.35)
    middle = grey.mean((2, 3), keepdim=True)
    pixels = middle + (pixels - middle) * each(0.8, 1.25)
    return pixels.clamp(1e-4, 1) ** torch.exp(each(-0.2, 0.2))


def _blur(pixels: Tensor) -> Tensor:
    count = len(pixels)
    some = torch.rand(count, device=pixels.device) < 0.15
    sigma = 0.4 + 1.2 * float(torch.rand(()))
    places = torch.arange(-3, 4, device=pixels.device, dtype=pixels.dtype)
    kernel = torch.exp(-(places**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, 7).contiguous()
    padded = F.pad(pixels, (3, 3, 3, 3), mode="reflect")
    blurred = F.conv2d(F.conv2d(padded, kernel, groups=3), kernel.transpose(2, 3), groups=3)
    return torch.where(some.view(-1, 1, 1, 1), blurred, pixels)


def _dark_corners(pixels: Tensor) -> Tensor:
    """Darken outside a circle, as the tube of a dermatoscope does."""
    count, device, side = len(pixels), pixels.device, pixels.shape[-1]
    some = (torch.rand(count, device=device) < 0.12).float().view(-1, 1, 1, 1)
    place = torch.linspace(-1, 1, side, device=device)
    centre = _uniform(count * 2, -0.15, 0.15, device).view(count, 2, 1)
    square = (place - centre[:, 0]) ** 2, (place - centre[:, 1]) ** 2
    distance = (square[0][:, :, None] + square[1][:, None, :]).sqrt()[:, None]
    radius = _uniform(count, 0.85, 1.3, device).view(-1, 1, 1, 1)
    dark = ((distance - radius) * side / 8).clamp(0, 1) * some
    return pixels * (1 - dark * _uniform(count, 0.85, 1, device).view(-1, 1, 1, 1))


def _noise(pixels: Tensor) -> Tensor:
    strength = 0.03 * torch.rand(len(pixels), 1, 1, 1, device=pixels.device) ** 2
    return pixels + strength * torch.randn_like(pixels)
