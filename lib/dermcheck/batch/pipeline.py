"""Runs the stages of a batch in threads, so that reading, networks and writing overlap.

Threads, not processes: decoders, networks, hashing and compression let go of Python's lock, so that threads
keep all cores busy, and the models are in memory once. Every queue is bounded and results come in the order
of the input, so that memory does not depend on the number of photographs and the tables not on chance.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, TypeVar

from dermcheck.batch import stages
from dermcheck.batch.discovery import InputFile, Skipped
from dermcheck.batch.encoding import dicom_forms
from dermcheck.batch.inputs import Source, ensure_steady, restat
from dermcheck.batch.known_answers import KnownAnswers
from dermcheck.batch.result_cache import ResultCache
from dermcheck.batch.sources import FileKind
from dermcheck.batch.stages import Answer, Computed, Prepared, Read, Refused, Wanted
from dermcheck.errors import DermCheckError, StorageError
from dermcheck.inference.predictor import Predictor

__all__ = ["BATCH", "Outcome", "Pipeline"]

BATCH = 16
"""Photographs that the networks see together. More are not faster on processors, and wait longer."""
_AHEAD = 3
"""Batches that are read or being read while one is computed."""
_LARGE_BYTES = 48 * 2**20
_LARGE_PX = 40_000_000
"""Photographs this large are decoded one at a time, and so are their masks: each takes up to a gigabyte."""

Outcome: TypeAlias = Answer | Refused | Skipped
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class _Opened:
    """A file on its way, and what has become of it so far."""

    file: InputFile
    path: Path
    state: Prepared | Computed | Outcome


class Pipeline:
    """The threads of one batch. Use as a context manager: leaving it stops them.

    Parameters
    ----------
    wanted
        What is wanted of each photograph.
    load_predictor
        Called once, with the first photograph: a finished batch run again needs no models.
    source
        Gives the local file of an input.
    workers
        Threads that read and write; by default one for each core.
    answers
        What earlier batches have answered.
    """

    def __init__(
        self,
        wanted: Wanted,
        load_predictor: Callable[[], Predictor],
        source: Source,
        *,
        workers: int | None = None,
        answers: KnownAnswers | None = None,
    ) -> None:
        self._wanted = wanted
        self._predictor = _Once(load_predictor)
        self._source = source
        self._cache = ResultCache()
        self._answers = answers
        self._forms = dicom_forms(wanted.made_at, wanted.conditions)
        self._large = threading.RLock()
        self._workers = ThreadPoolExecutor(workers or max(2, os.cpu_count() or 1), "batch")
        self._networks = ThreadPoolExecutor(1, "networks")

    def __enter__(self) -> Pipeline:
        """Return the pipeline."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what has not been begun, and wait for what has."""
        for threads in (self._workers, self._networks):
            threads.shutdown(wait=False, cancel_futures=True)
        for threads in (self._workers, self._networks):
            threads.shutdown(wait=True)

    def run(self, files: Iterable[InputFile]) -> Iterator[tuple[InputFile, Outcome]]:
        """Take files through all stages and give what became of them, in their order.

        Raises
        ------
        ModelError, StorageError
            If the models cannot be loaded, or an input's archive is out of reach: this ends the batch.
        """
        opened = _in_order(self._workers, self._open, files, _AHEAD * BATCH)
        computed = _in_order(self._networks, self._compute, _batches(opened), 2)
        finished = _in_order(self._workers, self._finish, _flat(computed), 2 * BATCH)
        for item in finished:
            outcome = item.state
            if isinstance(outcome, Prepared | Computed):
                raise TypeError(f"{item.file.relative} left the pipeline unfinished")  # a bug here
            if isinstance(outcome, Answer):
                self._cache.put(outcome)
            yield item.file, outcome

    def _open(self, file: InputFile) -> _Opened:
        """Read, decode and prepare one file."""
        try:
            file = restat(file)
            path = self._source.fetch(file)
        except StorageError:  # the archive is out of reach
            raise
        except (DermCheckError, OSError) as error:
            return _Opened(file, file.path, stages.failed(file, file.path, FileKind.OTHER, None, error, 0.0))
        try:
            with self._large if file.size > _LARGE_BYTES else nullcontext():
                return _Opened(file, path, self._read(file, path))
        finally:
            self._source.release(file)

    def _read(self, file: InputFile, path: Path) -> Prepared | Outcome:
        started = time.perf_counter()
        loaded = stages.load(file, path)
        if not isinstance(loaded, tuple):
            return loaded
        kind, content = loaded
        digest = stages.content_digest(content)
        if (answer := self._cache.get(digest)) is not None:
            return replace(answer, seconds=time.perf_counter() - started)
        if self._answers is not None and (known := self._answers.get(digest, path.suffix)) is not None:
            return stages.recall(file, path, kind, content, digest, known, self._wanted, self._forms)
        read = stages.read(file, path, kind, content, digest, self._wanted)
        if not isinstance(read, Read):
            return read
        try:
            ensure_steady(file)
        except (DermCheckError, OSError) as error:
            return stages.failed(file, path, kind, read.sop_instance_uid, error, read.seconds)
        return stages.prepare(file, path, read, self._predictor())

    def _compute(self, batch: list[_Opened]) -> list[_Opened]:
        """Run the networks on the photographs among the items; one that they cannot take costs no other."""
        waiting = [item.state for item in batch if isinstance(item.state, Prepared)]
        if not waiting:
            return batch
        predictor = self._predictor()
        try:
            computed: list[Computed | Exception] = [*stages.compute(waiting, predictor)]
        except Exception:
            computed = [_compute_alone(each, predictor) for each in waiting]
        found = iter(computed)
        return [
            _with_result(item, item.state, next(found)) if isinstance(item.state, Prepared) else item
            for item in batch
        ]

    def _finish(self, item: _Opened) -> _Opened:
        if not isinstance(item.state, Computed):
            return item
        outputs = item.state.outputs
        with self._large if outputs.rows * outputs.columns > _LARGE_PX else nullcontext():
            answer = stages.finish(
                item.file, item.path, item.state, self._wanted, self._predictor(), self._forms, self._answers
            )
            return replace(item, state=answer)


class _Once:
    """Calls a function once, with the first thread that needs its result."""

    def __init__(self, load: Callable[[], Predictor]) -> None:
        self._load = load
        self._loaded: Predictor | None = None
        self._access = threading.Lock()

    def __call__(self) -> Predictor:
        with self._access:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded


def _compute_alone(photograph: Prepared, predictor: Predictor) -> Computed | Exception:
    try:
        return stages.compute([photograph], predictor)[0]
    except Exception as error:  # becomes the reason of this photograph's failure
        return error


def _with_result(item: _Opened, prepared: Prepared, result: Computed | Exception) -> _Opened:
    if isinstance(result, Exception):
        return replace(item, state=stages.refuse(item.file, item.path, prepared, result))
    return replace(item, state=result)


def _in_order(
    executor: Executor, function: Callable[[_Item], _Result], items: Iterable[_Item], ahead: int
) -> Iterator[_Result]:
    """Apply a function in other threads to at most `ahead` items at a time; give results in order."""
    pending: deque[Future[_Result]] = deque()
    for item in items:
        pending.append(executor.submit(function, item))
        if len(pending) >= ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _batches(items: Iterable[_Opened]) -> Iterator[list[_Opened]]:
    """Put items together until the networks have a whole batch; what needs no network rides along."""
    batch: list[_Opened] = []
    waiting = 0
    for item in items:
        batch.append(item)
        waiting += isinstance(item.state, Prepared)
        if waiting == BATCH or len(batch) == 4 * BATCH:
            yield batch
            batch, waiting = [], 0
    if batch:
        yield batch


def _flat(batches: Iterable[list[_Opened]]) -> Iterator[_Opened]:
    for batch in batches:
        yield from batch
