"""The same stages on several machines: each node of a Ray cluster runs a `Pipeline` of its own.

What must happen in the order of the input (names, files, journal) stays with the process that was started,
so the results are those of one machine. Nodes read the photographs themselves, from a disk that all of them
share. A worker that dies is started again, on its node or another one, and its photographs are given to it
again; one that kills its worker each time becomes a failure and costs no other.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from dermcheck.batch.discovery import InputFile
from dermcheck.batch.inputs import LocalSource
from dermcheck.batch.pipeline import Outcome, Pipeline
from dermcheck.batch.sources import FileKind
from dermcheck.batch.stages import Refused, Wanted
from dermcheck.dicom.files import file_name
from dermcheck.errors import ArgumentError
from dermcheck.inference.predictor import Predictor

__all__ = ["RayPipeline"]

_CHUNK: Final = 64
"""Photographs that travel together: enough that a node's stages overlap."""
_AHEAD: Final = 2
"""Chunks that a node has at hand."""
_RETRIES: Final = 2
_NO_REPORTS: Final = {"RAY_USAGE_STATS_ENABLED": "0"}
"""Ray would otherwise report its use to its makers."""

_Answered = list[tuple[InputFile, Outcome]]


class _Worker:
    """What runs on a node."""

    def __init__(
        self, wanted: Wanted, load_predictor: Callable[[], Predictor], environment: Mapping[str, str]
    ) -> None:
        os.environ.update(environment)
        self._pipeline = Pipeline(wanted, load_predictor, LocalSource(Path(), Path()))

    def answer(self, files: list[InputFile]) -> _Answered:
        return list(self._pipeline.run(files))


class RayPipeline:
    """Takes files through the stages on all nodes of a cluster. Use as a context manager.

    The cluster is that of ``RAY_ADDRESS``, else one that runs on this computer, else a new one here.

    Parameters
    ----------
    wanted, load_predictor
        As for `Pipeline`; the second is called once on each node.

    Raises
    ------
    ArgumentError
        If Ray is not installed or there is no such cluster.
    """

    def __init__(self, wanted: Wanted, load_predictor: Callable[[], Predictor]) -> None:
        os.environ.update(_NO_REPORTS)
        try:
            import ray
        except ImportError as error:
            raise ArgumentError(
                f"--engine ray needs the package ray, which cannot be imported ({error}). Install "
                '"dermcheck[ray]" on all machines, or leave out --engine.'
            ) from error
        self._ray: Any = ray
        self._is_guest = self._ray.is_initialized()
        if not self._is_guest:
            try:
                self._ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise ArgumentError(
                    f"The Ray cluster {os.environ.get('RAY_ADDRESS', 'of this computer')} cannot be used "
                    f"({error}). Check RAY_ADDRESS, and that `ray status` answers."
                ) from error
        own = {name: value for name, value in os.environ.items() if name.startswith("DERMCHECK_")}
        self._workers = [
            self._start(str(node["NodeID"]), wanted, load_predictor, own)
            for node in self._ray.nodes()
            if node["Alive"]
        ]

    def _start(
        self,
        node: str,
        wanted: Wanted,
        load_predictor: Callable[[], Predictor],
        environment: Mapping[str, str],
    ) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options: dict[str, Any] = {
            # No processors are reserved, so that there is always room to start a worker again elsewhere.
            "num_cpus": 0,
            "max_restarts": -1,
            "max_task_retries": _RETRIES,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=True),
        }
        remote: Any = self._ray.remote(_Worker)
        return remote.options(**options).remote(wanted, load_predictor, environment)

    def __enter__(self) -> RayPipeline:
        """Return the pipeline."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers, and the connection if it was made here."""
        for worker in self._workers:
            self._ray.kill(worker)
        if not self._is_guest:
            self._ray.shutdown()

    def run(self, files: Iterable[InputFile]) -> Iterator[tuple[InputFile, Outcome]]:
        """Take files through all stages and give what became of them, in their order.

        Raises
        ------
        ModelError
            If a node cannot load the models.
        """
        given: deque[tuple[list[InputFile], int, Any]] = deque()
        remaining = iter(files)
        while chunk := list(islice(remaining, _CHUNK)):
            number = self._idlest(given)
            given.append((chunk, number, self._workers[number].answer.remote(chunk)))
            if len(given) >= _AHEAD * len(self._workers):
                yield from self._collect(given.popleft())
        while given:
            yield from self._collect(given.popleft())

    def _idlest(self, given: Iterable[tuple[list[InputFile], int, Any]]) -> int:
        """Choose the worker with the fewest unfinished chunks: nodes differ in speed."""
        unfinished = [0] * len(self._workers)
        for _, number, reference in given:
            done, _ = self._ray.wait([reference], timeout=0)
            unfinished[number] += not done
        return unfinished.index(min(unfinished))

    def _collect(self, one: tuple[list[InputFile], int, Any]) -> _Answered:
        chunk, number, reference = one
        try:
            answered: _Answered = self._ray.get(reference)
        except (self._ray.exceptions.RayActorError, self._ray.exceptions.WorkerCrashedError):
            if len(chunk) == 1:
                return [(chunk[0], _killer(chunk[0]))]
            alone = ([file] for file in chunk)
            return [
                found
                for single in alone
                for found in self._collect((single, number, self._workers[number].answer.remote(single)))
            ]
        return answered


def _killer(file: InputFile) -> Refused:
    reason = (
        f"{file_name(file.relative)}: the worker process that read this file ended unexpectedly, each time. "
        "The other images are not affected; please report this file's format."
    )
    return Refused(FileKind.OTHER, None, reason, 0.0)
