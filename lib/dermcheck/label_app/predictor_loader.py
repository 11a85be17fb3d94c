"""Loads the models beside everything else that happens at start, and exchanges them while serving."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dermcheck.errors import DermCheckError, ModelError, StorageError

if TYPE_CHECKING:
    from dermcheck.inference.predictor import Predictor
    from dermcheck.registry import Registry
    from dermcheck.registry.serving import Serving

__all__ = ["PredictorLoader"]

logger = logging.getLogger(__name__)

_WARM_UP_SHAPES: Final = ((450, 600, 3), (600, 450, 3), (600, 600, 3))
"""Usual photographs, (rows, columns, colours): back ends compile for each size of their input."""
_LOOK_AGAIN: Final = "look again"
"""A stamp that no registry has."""


class PredictorLoader:
    """A `Predictor` that is loaded in a thread of its own, from the moment this object is made.

    Reading and hashing the weights takes about a second, and the first prediction of a process
    takes longer than the following ones (memory is reserved, kernels are chosen). Both happen here,
    while the studies are opened and the first viewer connects.

    With a registry, the models follow it: a prediction that begins after a version was promoted or rolled
    back is made by that version, and waits until it is loaded. Predictions under way end with the version
    that they began with. Where a version is damaged, or the registry out of reach, what answered before
    goes on, and `state` says so.

    Parameters
    ----------
    source
        Folder with `classifier` and `outliner`, or a registry.
    """

    def __init__(self, source: Path | Registry) -> None:
        self._models = source if isinstance(source, Path) else None
        self._registry = None if isinstance(source, Path) else source
        self._loaded: Future[Predictor] = Future()
        self._exchanging = Lock()
        self._serving: Serving | None = None
        self._stamp: object = None
        self._trouble: str | None = None
        # No daemon: a process that ends while PyTorch computes in one is aborted instead of ending.
        Thread(target=self._load, name="load models").start()

    def get(self) -> Predictor:
        """Return the predictor, waiting for it if need be. Ask anew for each prediction.

        Raises
        ------
        ModelError
            If no model could be used at start; always the same error.
        """
        predictor = self._loaded.result()
        if self._serving is None or self._registry is None:
            return predictor
        if self._is_due():
            with self._exchanging:
                if self._is_due():  # nobody did it while this thread waited
                    self._exchange(self._registry, self._serving)
        return self._serving.predictor

    def is_loaded(self) -> bool:
        """Return whether the first loading has ended, well or not."""
        return self._loaded.done()

    def is_usable(self) -> bool:
        """Return whether the models are loaded, or still may be."""
        return not self._loaded.done() or self._loaded.exception() is None

    def error(self) -> DermCheckError | None:
        """Return why no models could be used at start."""
        error = self._loaded.exception() if self._loaded.done() else None
        if error is None or isinstance(error, DermCheckError):
            return error
        return ModelError(f"The models could not be loaded ({type(error).__name__}, see the log).")

    @property
    def stamp(self) -> object:
        """The registry's stamp that the models follow; None without a registry or a log in it."""
        return self._stamp

    def state(self) -> dict[str, Any]:
        """Say for `/info/` which versions answer, with which back end, and what is wrong, without waiting.

        Where an exchange is due it begins here, so that a server without requests follows as well.
        """
        if not self._loaded.done() or not self.is_usable():
            return {"versions": {}, "problems": [], "backend": None}
        predictor, serving = self._loaded.result(), self._serving
        if serving is not None:
            predictor = serving.predictor
            if self._is_due() and not self._exchanging.locked():
                Thread(target=self.get, name="exchange models").start()
        cards = {"classification": predictor.classifier_card, "segmentation": predictor.outliner_card}
        versions: dict[str, dict[str, str]] = {
            task: {"name": card.name, "version": card.version, "sha256": card.sha256}
            for task, card in cards.items()
        }
        if serving is not None:
            for task, version in serving.versions.items():
                versions[task]["registered_as"] = version.name
        return {"versions": versions, "problems": self.problems(), "backend": predictor.backend}

    def problems(self) -> list[str]:
        """Say in words why other versions answer than those that were chosen; empty if all is well."""
        serving = list(self._serving.problems) if self._serving is not None else []
        return [*serving, *([self._trouble] if self._trouble else [])]

    def _load(self) -> None:
        started = time.monotonic()
        try:
            predictor = self._first()
            for shape in _WARM_UP_SHAPES:
                predictor.predict(np.zeros(shape, np.uint8))
        except BaseException as error:  # handed to whoever asks for the predictor
            logger.error("The models cannot be used: %s", error)
            self._loaded.set_exception(error)
            return
        self._loaded.set_result(predictor)
        logger.info("Models loaded in %.1f s, computed by %s", time.monotonic() - started, predictor.backend)

    def _first(self) -> Predictor:
        from dermcheck.inference.predictor import Predictor
        from dermcheck.inference.priors import clinic_prior

        if self._registry is None:
            assert self._models is not None  # noqa: S101  # for mypy
            return Predictor.load(self._models, natural_prior=clinic_prior())
        from dermcheck.registry.serving import load_serving

        self._stamp = self._registry.stamp()  # before reading: what is added meanwhile is seen next time
        self._serving = load_serving(self._registry)
        _report(self._serving)
        return self._serving.predictor

    def _is_due(self) -> bool:
        return self._registry is not None and self._registry.stamp() != self._stamp

    def _exchange(self, registry: Registry, previous: Serving) -> None:
        """Load what is in use now; whatever fails, the previous models go on. Holds the lock."""
        from dermcheck.registry.serving import load_serving

        started = time.monotonic()
        stamp: object = registry.stamp()  # before reading: what is added meanwhile is seen next time
        try:
            if stamp is None:  # an absent log would silently mean the models that DermCheck came with
                raise _log_is_gone(registry)
            serving = load_serving(registry, previous)
        except StorageError as error:
            self._go_on(str(error))
            stamp = _LOOK_AGAIN  # a share may be back with the next prediction
        except ModelError as error:
            self._go_on(str(error))
        except Exception as error:  # a mistake of ours must not end predictions that worked so far
            logger.exception("The models could not be exchanged")
            self._go_on(f"The models could not be exchanged ({type(error).__name__}, see the log).")
        else:
            self._trouble, self._serving = None, serving
            _report(serving)
            logger.info("Models exchanged in %.1f s", time.monotonic() - started)
        self._stamp = stamp  # last: whoever finds nothing due must find the new models

    def _go_on(self, problem: str) -> None:
        sentence = f"{problem} The models loaded before go on answering."
        if sentence != self._trouble:
            logger.error("%s", sentence)
        self._trouble = sentence


def _log_is_gone(registry: Registry) -> StorageError:
    return StorageError(
        f"{registry.folder}: the log of the models is gone or out of reach. Connect its disk again, or "
        "restore it from the back-up."
    )


def _report(serving: Serving) -> None:
    for problem in serving.problems:
        logger.error("%s", problem)
    for task, version in serving.versions.items():
        logger.info("%s answers for %s", version.name, task)
