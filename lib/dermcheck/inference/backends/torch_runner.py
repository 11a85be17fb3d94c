"""The reference: PyTorch, on the processor or on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from dermcheck.inference.backends.base import Answer, BackendError, Collect, Picture

__all__ = ["TorchRunner", "torch_device"]

_LARGEST_BATCH: Final = 16
"""Pictures computed at once on the processor; more were not quicker, but take memory."""
_LARGEST_BATCH_GPU: Final = 64
_WORDS: Final = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}


def torch_device() -> str:
    """Return the device that torch computes on quickest: ``cuda``, ``mps`` (Apple) or ``cpu``."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


class TorchRunner:
    """Runs an `Exportable`, pictures of equal size together.

    Parameters
    ----------
    build
        Gives the network; called with the first picture.
    device
        As `torch_device` names it. On another device than the processor the network is moved there.
    precision
        Other than float32 means automatic mixed precision.
    """

    def __init__(
        self, build: Callable[[], nn.Module], device: str = "cpu", precision: torch.dtype = torch.float32
    ) -> None:
        self._build = build
        self._network: nn.Module | None = None
        self._device = torch.device(device)
        self._precision = precision
        if self._device.type == "cuda":
            # By default cuDNN rounds the factors of float32 convolutions to ten bits. For the whole process,
            # as a setting that changes from call to call would not be safe among threads.
            torch.backends.cudnn.allow_tf32 = False
        self.description = f"torch {torch.__version__} on {device}, {_WORDS[precision]}"

    def start(self, pictures: Sequence[Picture]) -> Collect:
        """Keep the pictures: torch computes in the thread that collects.

        Raises
        ------
        BackendError
            By what is returned, if a GPU fails, for example for want of memory.
        """
        return lambda: self._run(pictures)

    @torch.inference_mode()
    def _run(self, pictures: Sequence[Picture]) -> list[Answer]:
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, picture in enumerate(pictures):
            by_shape.setdefault(picture.shape, []).append(index)
        answers: dict[int, Answer] = {}
        largest = _LARGEST_BATCH if self._device.type == "cpu" else _LARGEST_BATCH_GPU
        for indices in by_shape.values():
            for start in range(0, len(indices), largest):
                part = indices[start : start + largest]
                answers.update(zip(part, self._batch([pictures[i] for i in part]), strict=True))
        return [answers[i] for i in range(len(pictures))]

    def _batch(self, pictures: Sequence[Picture]) -> list[Answer]:
        try:
            arrays = self._computed(torch.from_numpy(np.stack(pictures)))
        except RuntimeError as error:
            if self._device.type == "cpu":
                raise
            reason = next(iter(str(error).splitlines()), "no reason is given")
            raise BackendError(f"torch could not compute on {self._device.type} ({reason})") from error
        return [tuple(array[i] for array in arrays) for i in range(len(pictures))]

    def _computed(self, batch: Tensor) -> Answer:
        if self._network is None:
            self._network = self._build().to(self._device)
        mixed = self._precision is not torch.float32
        with torch.autocast(self._device.type, self._precision, enabled=mixed):
            found = self._network(batch.to(self._device, non_blocking=True))
        parts = found if isinstance(found, tuple) else (found,)
        return tuple(part.float().cpu().numpy() for part in parts)
