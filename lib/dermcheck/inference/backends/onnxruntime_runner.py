"""onnxruntime on the processor: one picture at a time, as many at once as there are cores."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from torch import nn

from dermcheck.inference.backends.base import Answer, BackendError, Collect, Picture

__all__ = ["OnnxruntimeRunner", "export_onnx", "onnxruntime_version"]

_FILE: Final = "network.onnx"
_OPERATOR_SET: Final = 17
"""The newest that torch's TorchScript-based exporter writes well, which needs no package besides onnx."""


def onnxruntime_version() -> str:
    """Return the installed version.

    Raises
    ------
    BackendError
        If onnxruntime is not installed, or does not run here.
    """
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except (ImportError, OSError) as error:
        raise BackendError(f"onnxruntime cannot be imported ({error})") from error
    return str(onnxruntime.__version__)


def export_onnx(network: nn.Module, side: int) -> dict[str, bytes]:
    """Convert an `Exportable` to ONNX, for pictures of any size; the one file by its name.

    Raises
    ------
    BackendError
        If the package onnx is missing.
    """
    try:
        import onnx  # noqa: F401  # torch's exporter uses it
    except ImportError as error:
        raise BackendError("the package onnx, which exports to it, is missing") from error
    outputs = ["answer", "features"]
    example = torch.zeros(1, side, side, 3)
    with warnings.catch_warnings(), torch.inference_mode(), TemporaryDirectory(prefix="dermcheck-") as folder:
        warnings.simplefilter("ignore")  # the exporter is deprecated, its successor needs two more packages
        answer = network(example)
        count = len(answer) if isinstance(answer, tuple) else 1
        torch.onnx.export(
            network,
            (example,),
            Path(folder) / _FILE,
            dynamo=False,
            opset_version=_OPERATOR_SET,
            input_names=["pictures"],
            output_names=outputs[:count],
            dynamic_axes={"pictures": {1: "rows", 2: "columns"}},
        )
        return {_FILE: (Path(folder) / _FILE).read_bytes()}


class OnnxruntimeRunner:
    """Runs what `export_onnx` made.

    Parameters
    ----------
    files
        The file.
    threads
        Pictures computed at once.

    Raises
    ------
    BackendError
        If onnxruntime is missing, or cannot read the file.
    """

    def __init__(self, files: dict[str, bytes], threads: int) -> None:
        version = onnxruntime_version()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_mem_pattern = False  # it would keep a plan for each size of picture
        options.enable_cpu_mem_arena = False  # it only ever grows
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                files[_FILE], options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # it raises classes of its own without a common base
            raise BackendError(f"onnxruntime cannot read the exported network ({error})") from error
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="onnxruntime")
        self.description = f"onnxruntime {version}, float32, {threads} at a time"

    def start(self, pictures: Sequence[Picture]) -> Collect:
        """Compute in threads of this object's own.

        Raises
        ------
        BackendError
            By what is returned, if onnxruntime refuses.
        """
        running = [self._pool.submit(self._run, picture) for picture in pictures]
        return lambda: [each.result() for each in running]

    def _run(self, picture: Picture) -> Answer:
        try:
            outputs = self._session.run(None, {"pictures": picture[None]})
        except Exception as error:
            raise BackendError(f"onnxruntime could not compute a picture ({error})") from error
        return tuple(output[0] for output in outputs)
