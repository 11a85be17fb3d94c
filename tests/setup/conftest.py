"""A small project with the real set-up scripts, a lock of tiny packages, and an index that is a folder."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TORCH = "2.13.0"

# An in-tree build backend: an editable wheel whose `dermcheck` prints its arguments.
BACKEND = """
import zipfile
from pathlib import Path

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "dermcheck-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory) / name, "w") as wheel:
        info = "dermcheck-0.1.0.dist-info/"
        code = "import sys\\ndef main():\\n    print('dermcheck', *sys.argv[1:])\\n"
        wheel.writestr("dermcheck_stand_in.py", code)
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: dermcheck\\nVersion: 0.1.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        entry_points = "[console_scripts]\\ndermcheck = dermcheck_stand_in:main\\n"
        wheel.writestr(info + "entry_points.txt", entry_points)
        wheel.writestr(info + "RECORD", "")
    return name
"""


@dataclass(frozen=True)
class Project:
    """The small project and its index folder."""

    folder: Path
    index: Path

    def add_wheel(self, name: str, version: str, *requirements: str) -> tuple[str, str]:
        """Put a wheel with one empty module into the index; its file name and SHA-256."""
        path = self.index / f"{name}-{version}-py3-none-any.whl"
        info = f"{name}-{version}.dist-info"
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {each}" for each in requirements]
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(f"{name}.py", "")
            wheel.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        return path.name, hashlib.sha256(path.read_bytes()).hexdigest()

    def write_lock(self, **sections: list[tuple[str, str, str]]) -> None:
        """Write a lock of (name, version, SHA-256)."""
        text = ""
        for section, entries in sections.items():
            text += f"# === {section}: for a test ===\n"
            text += "".join(f"{n}=={v} \\\n    --hash=sha256:{digest}\n" for n, v, digest in entries)
        (self.folder / "requirements.lock").write_text(text, encoding="utf-8")

    def lock_also(self, name: str, version: str, digest: str) -> None:
        """Add an entry to the lock's first section."""
        lock = self.folder / "requirements.lock"
        entry = f"{name}=={version} \\\n    --hash=sha256:{digest}\n# === cuda"
        lock.write_text(lock.read_text(encoding="utf-8").replace("# === cuda", entry), encoding="utf-8")

    def start(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run its start.py with this Python; the index folder is all that pip can reach."""
        pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index), "PIP_CONFIG_FILE": os.devnull}
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
        return subprocess.run(
            [sys.executable, str(self.folder / "scripts" / "start.py"), *arguments],
            env={**kept, **pip, **environment},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def is_usable(self) -> bool:
        """Ask the set-up scripts whether its environment can be built upon."""
        code = "from environment.virtual import is_usable; print(is_usable(None))"
        scripts = {**os.environ, "PYTHONPATH": str(self.folder / "scripts")}
        answer = subprocess.run([sys.executable, "-c", code], env=scripts, stdout=subprocess.PIPE, check=True)
        return answer.stdout.strip() == b"True"

    def installed(self) -> set[str]:
        """Name the packages in its environment, pip aside."""
        packages = self.folder.glob(".venv/lib/python*/site-packages/*.dist-info")
        return {each.name.partition("-")[0] for each in packages} - {"pip"}


@pytest.fixture(scope="session")
def make_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Project]:
    """Make the project; `cuda` says whether its torch asks for the CUDA libraries."""

    def make(*, cuda: bool = False) -> Project:
        folder = tmp_path_factory.mktemp("setup")
        project = Project(folder / "a project", folder / "index")
        project.index.mkdir()
        (project.folder / "lib").mkdir(parents=True)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(
            REPOSITORY / "scripts/environment", project.folder / "scripts/environment", ignore=ignored
        )
        shutil.copy(REPOSITORY / "scripts/start.py", project.folder / "scripts")
        for name in ("dermcheck_import_alias.py", "dermcheck_import_alias.pth"):
            shutil.copy(REPOSITORY / "lib" / name, project.folder / "lib")
        (project.folder / "backend.py").write_text(BACKEND)
        (project.folder / "pyproject.toml").write_text(
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        )
        _, torch = project.add_wheel("torch", TORCH, *(["triton; platform_system != 'none'"] if cuda else []))
        _, setuptools = project.add_wheel("setuptools", "99.0")
        _, tiny = project.add_wheel("tiny", "1.0", "never-installed")
        _, triton = project.add_wheel("triton", "3.0")
        project.write_lock(
            run=[("setuptools", "99.0", setuptools), ("tiny", "1.0", tiny), ("torch", TORCH, torch)],
            cuda=[("triton", "3.0", triton)],
        )
        return project

    return make
