"""What the machine must offer before anything is installed or started."""

from __future__ import annotations

import errno
import importlib.util
import platform
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from environment.problems import SetUpError

__all__ = ["check_machine", "check_port", "check_python", "check_space"]

SUPPORTED = ((3, 10), (3, 11), (3, 12))
GIGABYTE = 1000**3


def runs_version(program: str, version: tuple[int, int]) -> bool:
    """Whether this program is there and really is that Python (a pyenv shim may lead nowhere)."""
    path = shutil.which(program)
    if path is None:
        return False
    command = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        answer = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.stdout.decode(errors="replace").strip() == f"{version[0]}.{version[1]}"


def check_python(script: str) -> None:
    """Refuse a Python that the locked packages have no files for, naming one that would do."""
    if sys.version_info[:2] in SUPPORTED and platform.python_implementation() == "CPython":
        return
    found = platform.python_implementation() + " " + platform.python_version()
    candidates = [(f"python{version[0]}.{version[1]}", version) for version in reversed(SUPPORTED)]
    usable = [program for program, version in candidates if runs_version(program, version)]
    advice = f"run: {usable[0]} {script}" if usable else f"install one of these and run {script} with it"
    raise SetUpError(f"DermCheck needs Python 3.10, 3.11 or 3.12 and this is {found}; {advice}")


def check_machine() -> None:
    """Refuse what torch has no files for, and a Python without venv."""
    if sys.maxsize < 2**32:
        raise SetUpError("DermCheck needs a 64-bit Python and this one is 32-bit: install a 64-bit Python.")
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        raise SetUpError(
            "PyTorch no longer supports Macs with Intel processors: use a Mac with Apple silicon."
        )
    if importlib.util.find_spec("ensurepip") is None:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise SetUpError(
            "This Python cannot make virtual environments: install them (Debian, Ubuntu: "
            f"sudo apt install python{version}-venv), then run the same command again."
        )


def check_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin what would fill the disk; `needed` in bytes, folder the nearest that exists."""
    free = shutil.disk_usage(str(folder)).free
    if free < needed:
        raise SetUpError(
            f"{what} needs about {needed / GIGABYTE:.0f} GB and {folder} has {free / GIGABYTE:.1f} GB free: "
            "free some space, then run the same command again."
        )


def check_port(host: str, port: int) -> None:
    """Refuse a port on which somebody already listens or that may not be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if sys.platform != "win32":  # there it would allow two servers on one port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                other = port + 1 if port < 65535 else 8000
                advice = f"stop the program that uses it (a DermCheck already running?) or add --port {other}"
            else:
                advice = "take 127.0.0.1, or another --host of this computer, and a port from 1024 on"
            reason = error.strerror or error
            raise SetUpError(f"The server cannot use port {port} of {host} ({reason}): {advice}.") from None
