"""perforatedai 3.2.9, tamed: imported late, quiet, without debugger and exits, and with checked settings.

The package is written for a person at a terminal: on a surprise it opens the debugger (about 30
places) or leaves the process (about 20, some with status 0). Here both become a `DendriteError`,
what it prints goes to the log, and the working directory is as before after each call.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import io
import logging
import os
import pdb
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NoReturn

from dermcheck.training.dendrites.settings import DendriteError

__all__ = ["KNOWN_VERSION", "PerforatedAI", "dendrites_available", "load_perforatedai"]

KNOWN_VERSION: Final = "3.2.9"
"""The one version whose behaviour was examined: settings, files and formulas differ between versions."""

logger = logging.getLogger(__name__)

_MODULES = ("globals", "modules", "tracker", "utils", "configure", "clean", "blockwise", "network")


def dendrites_available() -> str | None:
    """Say in a sentence why dendrites cannot be grown here, or give None if they can."""
    if importlib.util.find_spec("perforatedbp") is not None:
        return (
            "The paid package perforatedbp is installed, which changes how perforatedai trains; DermCheck "
            "does not use it: uninstall perforatedbp to grow dendrites."
        )
    try:
        version = importlib.metadata.version("perforatedai")
    except importlib.metadata.PackageNotFoundError:
        return (
            f"perforatedai is not installed, so training goes on without dendrites. Version {KNOWN_VERSION} "
            "exists for Python up to 3.12 on Linux (x86-64) and Windows and up to 3.13 on macOS: "
            f"python -m pip install perforatedai=={KNOWN_VERSION}"
        )
    if version != KNOWN_VERSION:
        return (
            f"perforatedai {version} is installed, but DermCheck knows version {KNOWN_VERSION} only: "
            f"python -m pip install perforatedai=={KNOWN_VERSION}"
        )
    try:
        load_perforatedai()
    except DendriteError as error:
        return str(error)
    except ImportError as error:  # no build for this processor, or one of its own dependencies is missing
        return (
            f"perforatedai {version} cannot be imported here ({error}); training goes on without dendrites."
        )
    return None


class PerforatedAI:
    """The two modules of the package that are used, and the ways to call them safely."""

    def __init__(self, parts: Mapping[str, ModuleType]) -> None:
        self.globals: Any = parts["globals"]
        self.utils: Any = parts["utils"]

    def configure(self, settings: Mapping[str, object]) -> None:
        """Apply settings, each through a setter that exists.

        perforatedai gives any `set_...` attribute of its configuration; one with a spelling mistake
        does nothing and says nothing.

        Raises
        ------
        DendriteError
            If a setting is unknown, or reads back as something else.
        """
        configuration = self.globals.pc
        for name, value in settings.items():
            if not hasattr(configuration, f"_{name}"):
                raise DendriteError(f"perforatedai {KNOWN_VERSION} has no setting {name}.")
            getattr(configuration, f"set_{name}")(value)
            if getattr(configuration, f"_{name}") != value:
                raise DendriteError(f"perforatedai did not take the setting {name} = {value!r}.")
        if configuration.get_perforated_backpropagation():
            raise DendriteError("perforatedai uses the paid package perforatedbp; uninstall that to go on.")

    @contextlib.contextmanager
    def working_in(self, folder: Path) -> Iterator[None]:
        """Run perforatedai inside `folder`, as it writes relative to the working directory, and quietly."""
        before = Path.cwd()
        os.chdir(folder)
        try:
            with _quiet(), _without_debugger():
                yield
        finally:
            os.chdir(before)


def load_perforatedai() -> PerforatedAI:
    """Import perforatedai and take the debugger and the exits away from its modules.

    Raises
    ------
    ImportError
        If it is not installed or has no build for this platform.
    """
    with _quiet(), _without_debugger():
        parts = {name: importlib.import_module(f"perforatedai.{name}_perforatedai") for name in _MODULES}
    for part in parts.values():
        if getattr(part, "pdb", None) is pdb:
            part.pdb = _NoDebugger()  # type: ignore[attr-defined]
        if getattr(part, "sys", None) is sys:
            part.sys = _NoExit()  # type: ignore[attr-defined]
    return PerforatedAI(parts)


class _NoDebugger:
    """Stands in for `pdb` inside perforatedai, also during forward and backward passes."""

    @staticmethod
    def set_trace(*_: object, **__: object) -> NoReturn:
        raise DendriteError(
            "perforatedai met something that it did not expect and asked for its debugger; "
            "what it printed before is in the log."
        )


class _NoExit:
    """Stands in for `sys` inside perforatedai: everything but the exit."""

    @staticmethod
    def exit(status: object = None) -> NoReturn:
        raise DendriteError(
            f"perforatedai wanted to end the program (status {status}); what it printed before is in the log."
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)


@contextlib.contextmanager
def _without_debugger() -> Iterator[None]:
    """Cover the functions that import `pdb` themselves, and the exits of code that the stand-ins miss."""
    real = pdb.set_trace
    pdb.set_trace = _NoDebugger.set_trace
    try:
        yield
    except SystemExit as error:
        _NoExit.exit(error.code)
    finally:
        pdb.set_trace = real


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send what is printed to the log: as a warning if the call failed, else for debugging only."""
    printed = io.StringIO()
    level = logging.WARNING
    try:
        with contextlib.redirect_stdout(printed):
            yield
        level = logging.DEBUG
    finally:
        if text := printed.getvalue().strip():
            logger.log(level, "perforatedai: %s", text)
