"""The same stages on several machines: each node of a Ray cluster runs a `Pipeline` of its own.

What must happen in the order of the input (names, files, journal) stays with the process that was started,
so the results are those of one machine. Nodes read the photographs themselves, from a disk that all of them
share or from the archive. A worker that dies is started again, on its node or another one, and its
photographs are given to it again; one that kills its worker each time becomes a failure and costs no other.

Actors rather than Ray Data: there a photograph that kills its worker is tried again for ever and holds up all
others, and a data set is built of all rows at once where the journal is read page by page.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Final

from dermcheck.batch.discovery import InputFile
from dermcheck.batch.inputs import Source
from dermcheck.batch.pipeline import Outcome, Pipeline
from dermcheck.batch.sources import FileKind
from dermcheck.batch.stages import Refused, Wanted
from dermcheck.dicom.files import file_name
from dermcheck.errors import ArgumentError, DermCheckError
from dermcheck.inference.predictor import Predictor

__all__ = ["RayPipeline"]

_CHUNK: Final = 64
"""Photographs that travel together: enough that a node's stages overlap."""
_AHEAD: Final = 2
"""Chunks that a node has at hand."""
_RETRIES: Final = 2
_PATIENCE_S: Final = 5.0
"""For workers to end by themselves."""
_NO_REPORTS: Final = {"RAY_USAGE_STATS_ENABLED": "0"}
"""Ray would otherwise report its use to its makers."""

_Answered = list[tuple[InputFile, Outcome]]


class _Worker:
    """What runs on a node."""

    def __init__(
        self,
        wanted: Wanted,
        load_predictor: Callable[[], Predictor],
        source: Source,
        environment: Mapping[str, str],
    ) -> None:
        os.environ.update(environment)
        self._wanted, self._load_predictor, self._source = wanted, load_predictor, source
        self._pipeline: Pipeline | None = None

    def begin(self) -> tuple[str, str]:
        """Open the photographs' place, and say which DermCheck runs where."""
        self._opened()
        return socket.gethostname(), version("dermcheck")

    def answer(self, files: list[InputFile]) -> _Answered:
        return list(self._opened().run(files))

    def end(self) -> None:
        """Stop, and leave no copy of a photograph behind."""
        if self._pipeline is not None:
            self._pipeline.__exit__()
            self._downloads.cleanup()

    def _opened(self) -> Pipeline:
        if self._pipeline is None:  # also in a worker that was started again in place of one that died
            self._downloads = tempfile.TemporaryDirectory(prefix="dermcheck-batch-")
            source = self._source.for_node(Path(self._downloads.name))
            self._pipeline = Pipeline(self._wanted, self._load_predictor, source)
        return self._pipeline


class RayPipeline:
    """Takes files through the stages on all nodes of a cluster. Use as a context manager.

    The cluster is that of ``RAY_ADDRESS``, else one that runs on this computer, else a new one here.

    Parameters
    ----------
    wanted, load_predictor, source
        As for `Pipeline`; the second is called once on each node.

    Raises
    ------
    ArgumentError
        If Ray is not installed, there is no such cluster, or a node has another DermCheck or cannot reach
        the photographs.
    """

    def __init__(self, wanted: Wanted, load_predictor: Callable[[], Predictor], source: Source) -> None:
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
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        self._workers = [
            self._start(str(node["NodeID"]), (wanted, load_predictor, source, own)) for node in nodes
        ]
        try:
            self._check([str(node["NodeManagerAddress"]) for node in nodes])
        except BaseException:
            self.__exit__()
            raise

    def _start(self, node: str, arguments: tuple[object, ...]) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options: dict[str, Any] = {
            # No processors are reserved, so that there is always room to start a worker again elsewhere.
            "num_cpus": 0,
            "max_restarts": -1,
            "max_task_retries": _RETRIES,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=True),
        }
        remote: Any = self._ray.remote(_Worker)
        return remote.options(**options).remote(*arguments)

    def _check(self, addresses: list[str]) -> None:
        """Wait for all workers; a node that cannot take part is told before it turns photographs away."""
        begun = [worker.begin.remote() for worker in self._workers]
        for address, reference in zip(addresses, begun, strict=True):
            try:
                with self._own_errors():
                    host, found = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                raise ArgumentError(
                    f"The machine {address} of the Ray cluster cannot take part ({type(error).__name__}). "
                    f"Install the same Python and DermCheck {version('dermcheck')} there, or take it out."
                ) from error
            if found != version("dermcheck"):
                raise ArgumentError(
                    f"The machine {host} of the Ray cluster has DermCheck {found}, this one "
                    f"{version('dermcheck')}. Install the same version on all."
                )

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        """Raise what a worker raised, without the traceback that Ray puts into its words."""
        try:
            yield
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, DermCheckError):
                raise error.cause from None
            raise

    def __enter__(self) -> RayPipeline:
        """Return the pipeline."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers, and the connection if it was made here."""
        ended = [worker.end.remote() for worker in self._workers]
        self._ray.wait(ended, num_returns=len(ended), timeout=_PATIENCE_S)
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
        StorageError
            If an archive does not answer any more.
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
            with self._own_errors():
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
