"""Which back end runs a network, in which precision and on how many threads.

A GPU that PyTorch can use comes first, else the processor with OpenVINO, onnxruntime or PyTorch: the first
that is installed, answers as PyTorch does (`equality`) and is quicker than it. What was found out is kept
beside the exported network, for this processor. Whatever fails on the way is a sentence in the log, and
PyTorch computes.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import torch

from dermcheck.errors import ModelError
from dermcheck.inference.backends.base import (
    Answer,
    Backend,
    BackendError,
    Collect,
    Picture,
    Runner,
    backend_named,
)
from dermcheck.inference.backends.cache import ExportCache
from dermcheck.inference.backends.equality import compare, drawn_pictures
from dermcheck.inference.backends.models import RunnableModel
from dermcheck.inference.backends.onnxruntime_runner import (
    OnnxruntimeRunner,
    export_onnx,
    onnxruntime_version,
)
from dermcheck.inference.backends.openvino_runner import (
    Lanes,
    OpenVINORunner,
    export_openvino,
    openvino_precisions,
    openvino_version,
)
from dermcheck.inference.backends.processor import lane_candidates, processor_in_words, usable_cores
from dermcheck.inference.backends.sizes import usual_sizes
from dermcheck.inference.backends.torch_runner import TorchRunner, torch_device

__all__ = ["BACKEND_VARIABLE", "open_runner"]

logger = logging.getLogger(__name__)

BACKEND_VARIABLE: Final = "DERMCHECK_BACKEND"
"""Environment variable that names a back end in place of the quickest."""
_PICTURES: Final = 12
"""Drawn for the first comparison, and for timing."""
_MORE_PICTURES: Final = 48
"""Drawn besides, where the first ones speak for fewer bits."""
_ROUNDS: Final = 4
"""Of timing; the quickest counts, and the first includes compiling."""
_CLEARLY: Final = 0.85
_FINDINGS: Final = "findings.json"


def open_runner(model: RunnableModel, backend: str | None, cache: ExportCache) -> Runner:
    """Open the back end that is asked for, or the quickest.

    Parameters
    ----------
    backend
        None for what the environment's `BACKEND_VARIABLE` names, else for the quickest.

    Raises
    ------
    ModelError
        If there is no back end of this name, or the network cannot be built.
    """
    named = backend or os.environ.get(BACKEND_VARIABLE, "").strip().casefold() or None
    wanted = backend_named(named) if named else None
    device = torch_device()
    if wanted == "torch" or (wanted is None and device != "cpu"):
        return _open_torch(model, device)
    candidates: tuple[Backend, ...] = ("openvino", "onnxruntime") if wanted is None else (wanted,)
    for candidate in candidates:
        runner = _opened(candidate, model, cache, is_wanted=wanted is not None)
        if runner is not None:
            logger.info("%s %s runs with %s", model.card.name, model.card.version, runner.description)
            return runner
    reference = _open_torch(model, device)
    logger.info("%s %s runs with %s", model.card.name, model.card.version, reference.description)
    return reference


def _opened(
    candidate: Backend, model: RunnableModel, cache: ExportCache, *, is_wanted: bool
) -> Runner | None:
    """Open one back end; where that fails, say why."""
    try:
        runner = _OPEN[candidate](model, cache, is_wanted)
    except BackendError as error:
        level = logging.WARNING if is_wanted else logging.INFO
        logger.log(level, "%s does not run %s: %s", candidate, model.card.name, error)
    except ModelError:
        raise
    except Exception:  # an export that fails in its library's own way must not stop predictions
        logger.exception("%s cannot run %s", candidate, model.card.name)
    else:
        return _WithFallback(runner, TorchRunner(model.build), model.card.name)
    return None


@dataclass(frozen=True)
class _Findings:
    """What was found out about an exported network on this processor."""

    precision: str
    lanes: Lanes
    milliseconds: float
    """A picture, when nothing else was to do."""
    torch_milliseconds: float
    difference: str
    """From PyTorch's answers."""
    refused: dict[str, str]
    """The precisions that do not hold, with their difference."""

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes) -> _Findings:
        values = json.loads(content)
        return cls(**{**values, "lanes": Lanes(**values["lanes"])})


class _WithFallback:
    """Runs with PyTorch from the first failure of another back end on."""

    def __init__(self, runner: Runner, reference: Runner, name: str) -> None:
        self._runner = runner
        self._reference = reference
        self._name = name

    @property
    def description(self) -> str:
        return self._runner.description

    def start(self, pictures: Sequence[Picture]) -> Collect:
        runner = self._runner
        try:
            collect = runner.start(pictures)
        except BackendError as error:
            return self._instead(runner, error).start(pictures)

        def answers() -> list[Answer]:
            try:
                return collect()
            except BackendError as error:
                return self._instead(runner, error).start(pictures)()

        return answers

    def _instead(self, failed: Runner, error: BackendError) -> Runner:
        if self._runner is failed:  # else another thread has said it
            self._runner = self._reference
            logger.warning("%s. From now on %s runs with %s", error, self._name, self._runner.description)
        return self._reference


def _open_torch(model: RunnableModel, device: str) -> Runner:
    """Open PyTorch; on a GPU in half precision, if that holds, and not there if it fails at once."""
    model.build()  # now, as weights that are not the architecture's are an error of loading
    exact = TorchRunner(model.build, device)
    if device == "cpu":
        return exact
    mixed = TorchRunner(model.build, device, torch.float16)
    pictures = drawn_pictures(model.card, _PICTURES + _MORE_PICTURES)
    try:
        difference = compare(model.card, exact.start(pictures)(), mixed.start(pictures)())
    except BackendError as error:
        on_processor = TorchRunner(model.build)
        logger.warning("%s. %s runs with %s", error, model.card.name, on_processor.description)
        return on_processor
    holds = difference.holds(reduced=True)
    if not holds:
        logger.info("%s is not computed in float16 on %s: %s", model.card.name, device, difference)
    return _WithFallback(mixed if holds else exact, TorchRunner(model.build), model.card.name)


def _open_openvino(model: RunnableModel, cache: ExportCache, even_if_slower: bool) -> Runner:
    version = openvino_version()
    key = model.key(f"openvino {version}")
    files = cache.get(key, lambda: export_openvino(model.build(), model.card.input.side))

    def opened(precision: str, lanes: Lanes) -> Runner:
        return OpenVINORunner(files, precision, lanes, usual_sizes(model.card.input))

    findings = _findings(model, cache, key, opened, openvino_precisions(), lane_candidates())
    _refuse_slower(findings, even_if_slower)
    return opened(findings.precision, findings.lanes)


def _open_onnxruntime(model: RunnableModel, cache: ExportCache, even_if_slower: bool) -> Runner:
    version = onnxruntime_version()
    key = model.key(f"onnxruntime {version}")
    files = cache.get(key, lambda: export_onnx(model.build(), model.card.input.side))

    def opened(precision: str, lanes: Lanes) -> Runner:
        return OnnxruntimeRunner(files, lanes.streams)

    cores = usable_cores()
    findings = _findings(model, cache, key, opened, ("f32",), [Lanes(cores, cores)])
    _refuse_slower(findings, even_if_slower)
    return opened(findings.precision, findings.lanes)


_OPEN: Final = {"openvino": _open_openvino, "onnxruntime": _open_onnxruntime}


def _refuse_slower(findings: _Findings, even_if_slower: bool) -> None:
    if findings.milliseconds > findings.torch_milliseconds and not even_if_slower:
        raise BackendError(
            f"it takes {findings.milliseconds:.2f} ms a picture and torch {findings.torch_milliseconds:.2f}"
        )


def _findings(
    model: RunnableModel,
    cache: ExportCache,
    key: str,
    opened: Callable[[str, Lanes], Runner],
    precisions: Sequence[str],
    ways: Sequence[Lanes],
) -> _Findings:
    """Read what was found out on this processor, or find it out."""
    name = f"{key}-{model.findings_key(processor_in_words())}"
    known = cache.find(name)
    if known is not None:
        try:
            return _Findings.from_json(known[_FINDINGS])
        except (KeyError, TypeError, ValueError):
            logger.warning("%s: what was found out about it cannot be read and is found out anew", key)
            cache.remove(name)
    findings = _examine(model, opened, precisions, ways)
    cache.keep(name, {_FINDINGS: findings.to_json()})
    return findings


def _examine(
    model: RunnableModel,
    opened: Callable[[str, Lanes], Runner],
    precisions: Sequence[str],
    ways: Sequence[Lanes],
) -> _Findings:
    """Compare with PyTorch and time, in each precision and each way of using the cores.

    Raises
    ------
    BackendError
        If the answers differ from PyTorch's even in float32.
    """
    pictures = drawn_pictures(model.card, _PICTURES)
    reference = TorchRunner(model.build)
    reference.start(pictures[:1])()
    answers, torch_milliseconds = _timed(reference, pictures)
    refused: dict[str, str] = {}
    best: tuple[float, str, Lanes, str] | None = None
    for precision in precisions:
        runner = opened(precision, ways[0])
        difference = compare(model.card, answers, runner.start(pictures)())
        if not difference.holds(reduced=precision != "f32"):
            refused[precision] = str(difference)
            logger.info("%s is not computed in %s: %s", model.card.name, precision, difference)
            continue
        milliseconds = min(_timed(runner, pictures)[1] for _ in range(2))
        if best is None or milliseconds < best[0]:
            if precision != "f32" and not _holds_on_more(model, reference, runner):
                refused[precision] = "it did not hold on more pictures"
                continue
            best = milliseconds, precision, ways[0], str(difference)
    if best is None or "f32" in refused:  # whatever differs in float32 is another network
        raise BackendError(f"its answers differ from torch's: {refused.get('f32', 'in every precision')}")
    _, precision, _, difference_in_words = best
    milliseconds, lanes = _quickest(lambda way: opened(precision, way), ways, pictures)
    return _Findings(precision, lanes, milliseconds, torch_milliseconds, difference_in_words, refused)


def _quickest(
    opened: Callable[[Lanes], Runner], ways: Sequence[Lanes], pictures: Sequence[Picture]
) -> tuple[float, Lanes]:
    """Time the ways in turns. A way must be clearly quicker than the first, as other programs may run."""
    runners = {way: opened(way) for way in ways}
    times: dict[Lanes, float] = dict.fromkeys(ways, math.inf)
    for _ in range(_ROUNDS):
        for way, runner in runners.items():
            times[way] = min(times[way], _timed(runner, pictures)[1])
    best = min(ways, key=times.__getitem__)
    way = best if times[best] < _CLEARLY * times[ways[0]] else ways[0]
    return times[way], way


def _holds_on_more(model: RunnableModel, reference: Runner, runner: Runner) -> bool:
    more = drawn_pictures(model.card, _PICTURES + _MORE_PICTURES)[_PICTURES:]
    difference = compare(model.card, reference.start(more)(), runner.start(more)())
    if not difference.holds(reduced=True):
        logger.info("%s is not computed in fewer bits: %s", model.card.name, difference)
        return False
    return True


def _timed(runner: Runner, pictures: Sequence[Picture]) -> tuple[list[Answer], float]:
    start = time.perf_counter()
    answers = runner.start(pictures)()
    return answers, (time.perf_counter() - start) * 1000 / len(pictures)
