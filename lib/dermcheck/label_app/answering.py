"""Answers questions about photographs with the models that are in use."""

from __future__ import annotations

import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from dermcheck.errors import DermCheckError, NotFoundError
from dermcheck.label_app.answers import MODELS, Question, Reply, make_answer, make_reply
from dermcheck.label_app.micro_batches import MicroBatches
from dermcheck.label_app.predictor_loader import PredictorLoader

if TYPE_CHECKING:
    from dermcheck.label_app.source_image import SourceImage
    from dermcheck.registry import Registry

__all__ = ["Answering", "LocalAnswering", "Situation"]

_DECODED_AT_ONCE: Final = 2
"""Each holds a decoded photograph (24 megapixels: 72 MB)."""
_NO_PIXELS: Final = np.empty((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class Situation:
    """How the models are."""

    state: dict[str, Any]
    """`versions`, `problems` and `backend`, see `PredictorLoader.state`."""
    stamp: object
    """The registry's stamp that the models follow, see `PredictorLoader.stamp`."""
    error: DermCheckError | None = None
    """Why nothing can be predicted."""

    def models(self) -> tuple[tuple[str, str, str], ...]:
        """Return name, version and hash of the models, as `Reply.models`."""
        versions = self.state["versions"]
        return tuple(
            (versions[task]["name"], versions[task]["version"], versions[task]["sha256"])
            for task in ("classification", "segmentation")
            if task in versions
        )


class Answering(Protocol):
    """Whoever answers: in this process, or another process in its place. Any thread may ask."""

    def answer(self, question: Question) -> Reply:
        """Predict on one photograph.

        Raises
        ------
        DermCheckError
            If the photograph cannot be read, the models cannot be used, or the form does not fit.
        """

    def wait(self) -> None:
        """Return when the models are loaded and warm.

        Raises
        ------
        DermCheckError
            If they cannot be used.
        """

    def situation(self) -> Situation | None:
        """Return how the models are, without waiting; None while they are loaded for the first time.

        Where an exchange of the models is due it begins here, so that a server without requests follows too.
        """

    def close(self) -> None:
        """End; whoever still waits gets an error."""


class LocalAnswering:
    """Answers in this process: in that of a server's predictions, and in programs without a server.

    Parameters
    ----------
    models
        Folder with `classifier` and `outliner`, or a registry.
    """

    def __init__(self, models: Path | Registry) -> None:
        self._loader = PredictorLoader(models)
        self._batches = MicroBatches()
        self._decoding = threading.Semaphore(_DECODED_AT_ONCE)

    def answer(self, question: Question) -> Reply:
        """Answer; see `Answering`."""
        predictor = self._loader.get()
        with self._batches.coming(), self._decoding:
            source = _read(question)
            started = time.monotonic()
            prepared = predictor.prepare(source.pixels)
            source = replace(source, pixels=_NO_PIXELS)  # sets the memory free while others are computed
        report = predictor.finish(self._batches.compute(predictor, prepared))
        answer = make_answer(MODELS[question.model], report, time.monotonic() - started)
        return make_reply(question, answer, source)

    def wait(self) -> None:
        """Wait; see `Answering`."""
        self._loader.get()

    def situation(self) -> Situation | None:
        """Tell; see `Answering`."""
        if not self._loader.is_loaded():
            return None
        stamp = self._loader.stamp  # before the state: a newer stamp never goes with older models
        return Situation(self._loader.state(), stamp, self._loader.error())

    def close(self) -> None:
        """Nothing to do: its threads end with the process."""


def _read(question: Question) -> SourceImage:
    """Decode the photograph."""
    from dermcheck.dicom.photograph import read_photograph
    from dermcheck.label_app.source_image import SourceImage, read_upload

    if not question.is_study:
        with tempfile.TemporaryDirectory(prefix="dermcheck-") as folder:
            path = Path(folder, question.name)
            path.write_bytes(question.content)
            return read_upload(path)
    photograph = read_photograph(question.content)
    if photograph.header.sop_instance_uid != question.name:
        raise NotFoundError(
            f"image {question.name}: its file was replaced by another one a moment ago. Refresh the list."
        )
    return SourceImage.from_photograph(photograph, question.name)
