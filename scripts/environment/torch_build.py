"""Which build of torch: the ordinary one of the index, or a CPU-only one."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from environment.lock_file import pinned_version
from environment.packages import ask_environment, hash_of, install_entries, pip
from environment.problems import SetUpError

__all__ = ["check_choice", "install_torch", "needs_cuda"]


def check_choice(entry: str, wheel: Path) -> None:
    """Refuse a file that is not of the locked version, before anything is removed for it."""
    version = pinned_version(entry)
    if not re.match(rf"torch-{re.escape(version)}[+-].*\.whl$", wheel.name):
        raise SetUpError(f"{wheel} is not a torch {version} wheel: --torch-wheel takes that version only.")


def install_torch(entry: str, wheel: Path | None) -> None:
    """Install the locked torch, or `wheel`: a build of that version which the user chose and answers for.

    pip prefers files whose hash an index tells, so with --require-hashes it would pass over a
    CPU-only build in a folder that PIP_FIND_LINKS names. Therefore it first fetches what it likes
    best, and then installs that file if the lock allows it.
    """
    version = pinned_version(entry)
    if wheel is not None:
        install_file(wheel, hash_of(wheel))
    elif installed_torch() != version:
        with tempfile.TemporaryDirectory() as folder:
            pip("download", "--no-deps", "--only-binary", ":all:", "--dest", folder, f"torch=={version}")
            wheel = next(Path(folder).glob("*.whl"))
            digest = hash_of(wheel)
            if digest not in entry:
                raise SetUpError(
                    f"pip found {wheel.name}, a build that requirements.lock does not name: if you trust "
                    "where it comes from, download it yourself and give it with --torch-wheel FILE."
                )
            install_file(wheel, digest)


def install_file(wheel: Path, digest: str) -> None:
    """Install this one file of torch."""
    install_entries([f"torch @ {wheel.resolve().as_uri()} --hash=sha256:{digest}\n"])


def installed_torch() -> str:
    """Return the version of the installed torch without its local part; empty if there is none."""
    code = "import importlib.metadata as m; print(*(d.version for d in m.distributions(name='torch')))"
    return ask_environment(code).strip().partition("+")[0]


def needs_cuda() -> bool:
    """Whether the installed torch asks for the CUDA libraries."""
    requirements = ask_environment(
        "import importlib.metadata as m; print('\\n'.join(m.requires('torch') or []))"
    )
    return re.search(r"^(nvidia|cuda|triton)", requirements, re.MULTILINE) is not None
