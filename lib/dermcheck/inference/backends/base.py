"""What a run-time back end is to the rest of `inference`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from dermcheck.errors import ModelError

__all__ = ["BACKENDS", "Answer", "Backend", "BackendError", "Collect", "Picture", "Runner", "backend_named"]

Picture: TypeAlias = npt.NDArray[np.float32]
"""(H, W, 3) in [0, 1], red, green, blue, C-contiguous: a photograph fitted to a network's input."""
Answer: TypeAlias = tuple[npt.NDArray[np.float32], ...]
"""Of a classifier: logits (7,) and what its head reads, (D,), if it names a head. Of an outliner: (H, W)."""
Collect: TypeAlias = Callable[[], list[Answer]]
"""Waits for answers that were started, and gives them in order."""
Backend: TypeAlias = Literal["torch", "openvino", "onnxruntime"]
BACKENDS: Final[tuple[Backend, ...]] = get_args(Backend)


class BackendError(Exception):
    """A back end cannot run a network, for the reason that the message gives; torch then does."""


class Runner(Protocol):
    """Runs one network. Any number of threads may use one at the same time."""

    @property
    def description(self) -> str:
        """Say in words what computes, e.g. ``OpenVINO 2026.4, float32, 2 pictures at a time``."""

    def start(self, pictures: Sequence[Picture]) -> Collect:
        """Begin to compute, where the back end can do that without the calling thread.

        Each picture's answer is the same whatever others are computed beside it, to the bit with
        OpenVINO and onnxruntime, up to rounding with torch.

        Parameters
        ----------
        pictures
            Of any sizes that the network takes; they must not be changed before the answers are collected.
        """


def backend_named(name: str) -> Backend:
    """Check a back end's name.

    Raises
    ------
    ModelError
        If there is none of this name.
    """
    for known in BACKENDS:
        if name == known:
            return known
    raise ModelError(f"The back end {name!r} is unknown; expected one of {', '.join(BACKENDS)}.")
