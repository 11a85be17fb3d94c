"""Installing into ``.venv`` with pip, exactly what the lock file says."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from environment.problems import SetUpError, explain

__all__ = [
    "LOG",
    "ROOT",
    "UNFINISHED",
    "VENV",
    "ask_environment",
    "become",
    "hash_of",
    "install_entries",
    "install_project",
    "pip",
    "program",
]

ROOT = Path(__file__).resolve().parent.parent.parent
VENV = ROOT / ".venv"
LOG = VENV / "set-up.log"
# There while pip works. Whoever finds it knows that pip was killed, perhaps in the middle of one
# package's files, which the next pip would take for installed.
UNFINISHED = VENV / "set-up.unfinished"
# What would send pip elsewhere than into .venv, or make another Python answer. The lock already
# says every version: other people's constraints can only stop it.
DIVERTING = (
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_USER",
    "PIP_REQUIREMENT",
    "PYTHONHOME",
    "PYTHONPATH",
)
INSTALLING = "Installing collected packages"
LARGE = 20  # MB; downloads from here on are told of


def program(name: str) -> str:
    """Return the path of a program in ``.venv``, e.g. ``python`` or ``dermcheck``."""
    return str(VENV / "Scripts" / f"{name}.exe" if os.name == "nt" else VENV / "bin" / name)


def become(name: str, arguments: list[str]) -> int:
    """Run a program of ``.venv`` in place of this one, so that signals and the exit status are its own."""
    if os.name == "nt":  # there the parent's console would come back at once
        return subprocess.run([program(name), *arguments], check=False).returncode
    os.execv(program(name), [program(name), *arguments])
    raise AssertionError("unreachable")


def environment() -> dict[str, str]:
    """Return the caller's environment without what would lead pip out of ``.venv``."""
    kept = {key: value for key, value in os.environ.items() if key not in DIVERTING}
    return {**kept, "PIP_CONSTRAINT": os.devnull}


def hash_of(file: Path) -> str:
    """Return the SHA-256 of a file that the user named."""
    digest = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            for block in iter(lambda: opened.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise SetUpError(f"{file} cannot be read ({error.strerror}).") from error
    return digest.hexdigest()


def ask_environment(code: str) -> str:
    """Return what ``.venv``'s Python prints for this code."""
    command = [program("python"), "-c", code]
    return subprocess.run(command, stdout=subprocess.PIPE, env=environment(), text=True, check=True).stdout


def install_entries(entries: list[str]) -> None:
    """Install exactly these, nothing that they ask for in turn."""
    requirements = VENV / "requirements.txt"
    requirements.write_text("".join(entries), encoding="utf-8")
    options = ["--require-hashes", "--no-deps", "--no-build-isolation", "--use-pep517"]
    pip("install", *options, "-r", str(requirements))


def install_project() -> None:
    """Install DermCheck itself, editable, with the locked build tools: needs no network."""
    pip("install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))


def pip(*arguments: str) -> None:
    """Run pip, its output to the log and the large steps to the terminal."""
    command = [program("python"), "-m", "pip", *arguments]
    command += ["--no-input", "--disable-pip-version-check", "--retries", "2", "--progress-bar", "off"]
    output = []
    UNFINISHED.touch()
    with LOG.open("a", encoding="utf-8") as log, open_pip(command) as process:
        for raw in process.stdout:
            line = raw.decode(errors="replace")
            log.write(line)
            output.append(line)
            show(line)
    if process.returncode == 0 or not any(line.startswith(INSTALLING) for line in output):
        UNFINISHED.unlink()  # done, or failed before it touched the environment
    if process.returncode != 0:
        sentence = explain("".join(output)) or "pip could not install the packages."
        raise SetUpError(f"{sentence} (pip's own words: {LOG})")


@contextlib.contextmanager
def open_pip(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run this command; it ends with us when we are stopped, lest it works on behind our back."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, env=environment(), **pipes) as process:
        try:
            yield process
        except BaseException:
            process.terminate()
            raise


def show(line: str) -> None:
    """Tell of large downloads and of the installing itself; the rest is in the log."""
    download = re.match(r"\s*Downloading (?:\S*/)?(\S+) \(([\d.]+) ([MG])B\)", line)
    if download and (download.group(3) == "G" or float(download.group(2)) >= LARGE):
        print(f"  downloading {download.group(1)} ({download.group(2)} {download.group(3)}B)", flush=True)
    elif line.startswith(INSTALLING):
        print(f"  installing {line.count(',') + 1} packages", flush=True)
