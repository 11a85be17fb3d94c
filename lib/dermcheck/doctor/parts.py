"""What is tried in child processes: torch and the processor, the models, the server with MONAI Label."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

from dermcheck.doctor.finding import Finding

__all__ = ["Probe", "check_backend", "check_models", "check_processor", "check_server", "start_probe"]

Probe = subprocess.Popen[str]
_PATIENCE: Final = 300.0
"""Seconds; the first import of torch from a slow disk takes a while."""
_REINSTALL: Final = "Remove .venv and run python3 scripts/start.py."


def start_probe(*arguments: str) -> Probe:
    """Start one of the probes in `dermcheck.doctor.probe`; it prints its answer as JSON."""
    return subprocess.Popen(  # noqa: S603  # this Python, and words of our own
        [sys.executable, "-m", "dermcheck.doctor.probe", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def check_processor(probe: Probe) -> Finding:
    """Name the GPU, or the processor with what makes it fast."""
    answer, problem = _answer_of(probe)
    if problem:
        return Finding("Processor", f"torch cannot be imported: {problem}", _REINSTALL)
    return Finding("Processor", str(answer))


def check_models(probe: Probe) -> list[Finding]:
    """One finding a model: its version and hash, or why it cannot be used."""
    answer, problem = _answer_of(probe)
    if problem:
        return [Finding("Models", f"they cannot be loaded: {problem}", _REINSTALL)]
    return [Finding(each["name"], each["found"], each["advice"]) for each in answer]


def check_backend(probe: Probe) -> Finding:
    """Name what runs the networks, and why not what was asked for."""
    answer, problem = _answer_of(probe)
    if problem:
        return Finding("Back end", f"the networks cannot be run: {problem}", _REINSTALL)
    return Finding("Back end", answer["found"], answer["advice"])


def check_server(probe: Probe) -> Finding:
    """Whether MONAI Label and our app can be imported."""
    answer, problem = _answer_of(probe)
    if problem:
        return Finding("Server", f"MONAI Label cannot be imported: {problem}", _REINSTALL)
    return Finding("Server", str(answer))


def _answer_of(probe: Probe) -> tuple[Any, str | None]:
    """Wait for a probe; its answer, or the last line of its error output."""
    try:
        output, errors = probe.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        probe.kill()
        probe.communicate()
        return None, f"no answer within {_PATIENCE:.0f} seconds"
    if probe.returncode != 0:
        lines = errors.strip().splitlines() or [f"it ended with status {probe.returncode}"]
        return None, lines[-1]
    return json.loads(output.strip().splitlines()[-1]), None  # what libraries print comes before it
