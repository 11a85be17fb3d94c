"""OpenVINO on the processor: the network is compiled for each size of picture.

**One picture at a time, several at once.** A request computes one picture, and as many requests run at once
as the processor has cores. On two cores this took 12 % less processor time than batches of 8 for
EfficientNet-Lite0, and a picture's answer cannot depend on what is computed beside it: it is the same to the
bit.

**Sizes.** For the sizes of usual photographs the network is compiled when one comes, in about 0.1 s and 30 MB
each. For all others it is compiled once, for any size; this takes 10 to 45 % longer to compute. Which of
both a picture meets depends on its size only, so that it gets the same answer each time.
"""

from __future__ import annotations

import contextlib
import warnings
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import nn

from dermcheck.inference.backends.base import Answer, BackendError, Collect, Picture

if TYPE_CHECKING:
    import openvino

__all__ = ["Lanes", "OpenVINORunner", "export_openvino", "openvino_precisions", "openvino_version"]

_GRAPH, _WEIGHTS = "network.xml", "network.bin"
_MAKING_CORE: Final = Lock()
_WORDS: Final = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


@dataclass(frozen=True)
class Lanes:
    """How the processor's cores are used."""

    streams: int
    """Pictures computed at once."""
    threads: int
    """Of all of them together."""


def openvino_version() -> str:
    """Return the installed version.

    Raises
    ------
    BackendError
        If OpenVINO is not installed, or does not run here.
    """
    try:
        import openvino
    except (ImportError, OSError) as error:
        raise BackendError(f"OpenVINO cannot be imported ({error})") from error
    return str(openvino.__version__).partition("-")[0]


def _core() -> openvino.Core:
    """Return the one core of this process, which is never given back.

    A core's plug-in gives the calling thread a stack for signals and frees it when the core goes. Of several
    cores that come and go in any order, the thread keeps a freed one, and the next signal (Ctrl-C) ends the
    process.
    """
    with _MAKING_CORE:
        return _only_core()


@cache
def _only_core() -> openvino.Core:
    import openvino

    return openvino.Core()


def openvino_precisions() -> tuple[str, ...]:
    """Return the precisions that this processor computes in by itself, ``f32`` first."""
    able = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("f32", *(p for p, name in (("bf16", "BF16"), ("f16", "FP16")) if name in able))


def export_openvino(network: nn.Module, side: int) -> dict[str, bytes]:
    """Convert an `Exportable` to OpenVINO's own format, for pictures of any size.

    Its weights stay float32: batch normalisation is folded into them, so that half precision would round
    them anew.

    Returns
    -------
    dict
        The format's two files by name.
    """
    import openvino

    with torch.inference_mode(), warnings.catch_warnings():
        # Of a deprecated tracer, and of branches that depend on the size: `equality` compares several.
        warnings.simplefilter("ignore")
        model = openvino.convert_model(
            network,
            example_input=torch.zeros(1, side, side, 3),
            input=[openvino.PartialShape([-1, -1, -1, 3])],
        )
    with TemporaryDirectory(prefix="dermcheck-export-") as folder:
        openvino.save_model(model, Path(folder) / _GRAPH, compress_to_fp16=False)
        return {name: (Path(folder) / name).read_bytes() for name in (_GRAPH, _WEIGHTS)}


class OpenVINORunner:
    """Runs what `export_openvino` made.

    Parameters
    ----------
    files
        The two files.
    precision
        One of `openvino_precisions`.
    lanes
        How the cores are used.
    usual
        Rows and columns of pictures that the network is compiled for by themselves.

    Raises
    ------
    BackendError
        If OpenVINO is missing, or cannot read the files.
    """

    def __init__(
        self,
        files: dict[str, bytes],
        precision: str,
        lanes: Lanes,
        usual: Iterable[tuple[int, int]] = (),
    ) -> None:
        version = openvino_version()
        import openvino

        self._core = _core()
        weights = np.frombuffer(files[_WEIGHTS], np.uint8)
        try:
            self._model = self._core.read_model(files[_GRAPH], openvino.Tensor(weights.copy()))
        except RuntimeError as error:
            raise BackendError(f"OpenVINO cannot read the exported network ({_first_line(error)})") from error
        self._settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": lanes.threads,
            "NUM_STREAMS": lanes.streams,
            "ENABLE_CPU_PINNING": False,  # the threads that decode photographs need the same cores
        }
        self._usual = frozenset(usual)
        self._compiled: dict[tuple[int, int], _Compiled] = {}
        self._compiling = Lock()
        self.description = (
            f"OpenVINO {version}, {_WORDS[precision]}, {lanes.streams} at a time on {lanes.threads} threads"
        )

    def start(self, pictures: Sequence[Picture]) -> Collect:
        """Hand the pictures to OpenVINO's own threads.

        Raises
        ------
        BackendError
            If OpenVINO refuses; also raised by what is returned.
        """
        started: list[_Started] = []
        try:
            # One by one: what was started before a failure must be waited for.
            started.extend(self._for(picture).start(picture) for picture in pictures)
        except RuntimeError as error:
            _drain(started)
            raise BackendError(f"OpenVINO cannot compute a picture ({_first_line(error)})") from error
        return lambda: _collect(started)

    def _for(self, picture: Picture) -> _Compiled:
        size = (picture.shape[0], picture.shape[1])
        if size not in self._usual:
            size = (-1, -1)  # any
        with self._compiling:
            if size not in self._compiled:
                model = self._model.clone()
                model.reshape([1, *size, 3])
                self._compiled[size] = _Compiled(self._core.compile_model(model, "CPU", self._settings))
            return self._compiled[size]


class _Compiled:
    """The network for one size or for any, with requests that are used again."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._idle: deque[Any] = deque()

    def start(self, picture: Picture) -> _Started:
        import openvino

        try:
            request = self._idle.pop()
        except IndexError:
            request = self._model.create_infer_request()
        request.set_input_tensor(openvino.Tensor(picture[None], shared_memory=True))
        request.start_async()
        return _Started(request, picture, self._idle, len(self._model.outputs))


@dataclass(frozen=True, eq=False)
class _Started:
    request: Any
    picture: Picture
    """OpenVINO reads its memory."""
    idle: deque[Any]
    outputs: int

    def answer(self) -> Answer:
        self.request.wait()
        answer = tuple(self.request.get_output_tensor(i).data[0].copy() for i in range(self.outputs))
        self.idle.append(self.request)
        return answer


def _collect(started: list[_Started]) -> list[Answer]:
    try:
        return [each.answer() for each in started]
    except RuntimeError as error:
        _drain(started)
        raise BackendError(f"OpenVINO could not compute a picture ({_first_line(error)})") from error


def _drain(started: list[_Started]) -> None:
    """Wait until OpenVINO reads none of the pictures any more."""
    for each in started:
        with contextlib.suppress(RuntimeError):  # the same failure as is being reported
            each.request.wait()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
