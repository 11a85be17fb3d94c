"""Running a network on prepared photographs of several sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dermcheck.dicom.author import Algorithm
from dermcheck.errors import ModelError
from dermcheck.networks.cards import ModelCard, Task

__all__ = ["algorithm", "check_task", "run_network"]


@torch.inference_mode()
def run_network(
    network: Callable[[Tensor], Tensor | tuple[Tensor, ...]], inputs: Sequence[Tensor]
) -> list[tuple[Tensor, ...]]:
    """Run the network on inputs (1, 3, H, W), those of equal size together, and give each its outputs."""
    by_size: dict[torch.Size, list[int]] = {}
    for index, pixels in enumerate(inputs):
        by_size.setdefault(pixels.shape, []).append(index)
    outputs: dict[int, tuple[Tensor, ...]] = {}
    for indices in by_size.values():
        batch = torch.cat([inputs[i] for i in indices]).contiguous(memory_format=torch.channels_last)
        found = network(batch)
        parts = found if isinstance(found, tuple) else (found,)
        outputs.update(zip(indices, zip(*parts, strict=True), strict=True))
    return [outputs[i] for i in range(len(inputs))]


def check_task(card: ModelCard, task: Task) -> None:
    """Refuse a model that is for the other task."""
    if card.task != task:
        raise ModelError(f"{card.name} {card.version} is a model for {card.task}, expected one for {task}.")


def algorithm(card: ModelCard) -> Algorithm:
    """Give what DICOM objects show as the author."""
    return Algorithm(name=card.name, version=card.version, model_hash=card.sha256)
