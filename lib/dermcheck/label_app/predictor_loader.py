"""Loads the models beside everything else that happens at start."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from dermcheck.inference.predictor import Predictor

__all__ = ["PredictorLoader"]

logger = logging.getLogger(__name__)

_WARM_UP_SHAPE: Final = (450, 600, 3)
"""A usual dermoscopic photograph, (rows, columns, colours)."""


class PredictorLoader:
    """A `Predictor` that is loaded in a thread of its own, from the moment this object is made.

    Reading and hashing the weights takes about a second, and the first prediction of a process
    takes longer than the following ones (memory is reserved, kernels are chosen). Both happen here,
    while the studies are opened and the first viewer connects.
    """

    def __init__(self, models: Path) -> None:
        self._models = models
        self._loaded: Future[Predictor] = Future()
        Thread(target=self._load, name="load models", daemon=True).start()

    def get(self) -> Predictor:
        """Return the predictor, waiting for it if need be.

        Raises
        ------
        ModelError
            If the models cannot be used; always the same error.
        """
        return self._loaded.result()

    def is_usable(self) -> bool:
        """Return whether the models are loaded, or still may be."""
        return not self._loaded.done() or self._loaded.exception() is None

    def _load(self) -> None:
        started = time.monotonic()
        try:
            from dermcheck.inference.predictor import Predictor

            predictor = Predictor.load(self._models)
        except BaseException as error:  # handed to whoever asks for the predictor
            logger.error("The models cannot be used: %s", error)
            self._loaded.set_exception(error)
            return
        self._loaded.set_result(predictor)
        logger.info("Models loaded in %.1f s", time.monotonic() - started)
        predictor.predict(np.zeros(_WARM_UP_SHAPE, np.uint8))
