"""``.venv``: made once, filled from the lock file, left alone as long as nothing changed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

from environment.checks import GIGABYTE, check_machine, check_space
from environment.lock_file import name_of, read_sections
from environment.packages import (
    LOG,
    ROOT,
    UNFINISHED,
    VENV,
    hash_of,
    install_entries,
    install_project,
    program,
)
from environment.problems import NO_SPACE, SetUpError, explain
from environment.torch_build import check_choice, install_torch, needs_cuda

__all__ = ["set_up"]

LOCK = ROOT / "requirements.lock"
MADE = VENV / "set-up.made.json"  # where the environment was made: its programs work only there
STAMP = VENV / "set-up.installed.json"  # fingerprints of the sections that are installed
# What shapes our own installation besides the lock: a change of these installs the project again.
PROJECT_FILES = ("pyproject.toml", "lib/dermcheck_import_alias.py", "lib/dermcheck_import_alias.pth")
# Packages that come only as source (timeloop; numpymaxflow on Linux for ARM) are built with these,
# so they must be there first: nothing outside the lock is fetched for it.
BUILD_TOOLS = ("setuptools", "numpy")
SPACE = 4 * GIGABYTE
SPACE_CUDA = 9 * GIGABYTE  # torch's CUDA libraries, while pip still holds their archives


def set_up(sections: list[str], torch_wheel: Path | None = None) -> None:
    """Bring ``.venv`` to what these sections of the lock say; nothing is done where it is there already.

    Parameters
    ----------
    sections
        Names of sections of ``requirements.lock``.
    torch_wheel
        A file of torch that the user chose, e.g. a CPU-only build. Without it a torch that is
        installed already is kept, whichever build it is.

    Raises
    ------
    SetUpError
        With the sentence for whoever ran the command.
    """
    if torch_wheel:
        check_choice(find_torch(read_sections(LOCK)["run"]), torch_wheel)
    build = hash_of(torch_wheel) if torch_wheel else None
    if is_usable(build) and is_current(sections):
        return
    check_machine()
    try:
        with only_one():
            if not is_usable(build):
                make_venv()
            install(sections, torch_wheel)
    except OSError as error:
        raise SetUpError(explain_os_error(error)) from error


def explain_os_error(error: OSError) -> str:
    """Return the sentence for a disk that is full or a folder that may not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NO_SPACE
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{ROOT} cannot be written: copy DermCheck into a folder of your own and run it there."
    return f"Set-up failed ({error}): remove the folder .venv, then run the same command again."


def fingerprint(section: str) -> str:
    """Return a hash that changes when this section of the lock or the project's own installation does."""
    digest = hashlib.sha256("".join(read_sections(LOCK)[section]).encode())
    for name in PROJECT_FILES:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def read_note(file: Path) -> dict[str, str]:
    """Return what one of our notes in ``.venv`` says; empty where it is missing or was cut off."""
    try:
        note = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def is_current(sections: list[str]) -> bool:
    """Whether these sections are installed as the lock says."""
    stamp = read_note(STAMP)
    return all(stamp.get(name) == fingerprint(name) for name in sections)


def is_usable(build: str | None) -> bool:
    """Whether ``.venv`` was made at this place, is not left half done, and its Python still there.

    It need not be of the Python that runs this script. `build` is the hash of torch's file, where
    the user chose one.
    """
    if (
        UNFINISHED.exists()
        or read_note(MADE).get("root") != str(ROOT)
        or not Path(program("python")).exists()
    ):
        return False
    return build is None or read_note(STAMP).get("torch") in (build, None)


def make_venv() -> None:
    """Make an empty ``.venv``, in place of a half-made or unfitting one."""
    if VENV.exists():
        print("Removing a .venv that is unfinished or does not fit.", flush=True)
        shutil.rmtree(VENV)
    check_space(ROOT, SPACE, "Set-up")
    check_space(Path(tempfile.gettempdir()), GIGABYTE, "Set-up (for temporary files)")
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"Making .venv with Python {version}.", flush=True)
    try:
        venv.create(VENV, with_pip=True, symlinks=os.name != "nt")
    except subprocess.CalledProcessError as error:
        output = (error.output or b"").decode(errors="replace")
        raise SetUpError(explain(output) or f"Python could not make .venv: {error}.") from error
    MADE.write_text(json.dumps({"root": str(ROOT)}), encoding="utf-8")


def find_torch(entries: list[str]) -> str:
    """Return the lock's entry for torch."""
    return next(entry for entry in entries if name_of(entry) == "torch")


def install(sections: list[str], torch_wheel: Path | None) -> None:
    """Install torch first, because its build decides what else is needed; then the rest, then the project."""
    lock = read_sections(LOCK)
    entries = [entry for name in sections for entry in lock[name]]
    old = read_note(STAMP)
    kept = {name: old[name] for name in lock if old.get(name) == fingerprint(name)}
    LOG.write_text("", encoding="utf-8")
    print("Installing the locked packages. The first time this takes some minutes.", flush=True)
    install_entries([entry for entry in entries if name_of(entry) in BUILD_TOOLS])
    install_torch(find_torch(entries), torch_wheel)
    if needs_cuda():
        check_space(ROOT, SPACE_CUDA, "Set-up with PyTorch's GPU libraries")
        entries += lock["cuda"]
    install_entries([entry for entry in entries if name_of(entry) != "torch"])
    install_project()
    stamp = {**kept, **{name: fingerprint(name) for name in sections}}
    stamp["torch"] = hash_of(torch_wheel) if torch_wheel else old.get("torch", "from the index")
    STAMP.write_text(json.dumps(stamp), encoding="utf-8")


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Hold the set-up of this folder; a second one at the same time would remove the first one's work."""
    with (ROOT / ".set-up.lock").open("w") as file:
        try:
            if os.name == "nt":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SetUpError(
                "Another set-up is running in this folder: wait until it has finished."
            ) from None
        yield  # closing the file gives the lock back
