"""Imports of MONAI and MONAI Label without what only trainings, plots and other file formats need."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from typing import Final

__all__ = ["lean_imports", "uncollected"]

_NOT_FOR_SERVING: Final = (
    "ignite",
    "matplotlib",
    "mlflow",
    "nibabel",
    "pandas",
    "skimage",
    "sklearn",
    "tensorboard",
)
"""Packages that MONAI imports where it finds them, for training, plots and other file formats. Without
them the server starts in about half the time; trainings run in processes of their own, which have them."""


@contextlib.contextmanager
def lean_imports() -> Iterator[None]:
    """Make imports of packages fail that serving does not need; whoever can do without them does.

    Later imports of them work again. For whatever imports MONAI first.
    """
    absent = [name for name in _NOT_FOR_SERVING if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None: "must not be imported"
    try:
        yield
    finally:
        for name in absent:
            if sys.modules.get(name, ...) is None:
                del sys.modules[name]


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Import without looking for garbage again and again: hardly any of a million new objects is.

    That took a sixth of the time until the server is ready. What was imported is not looked at later either.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
