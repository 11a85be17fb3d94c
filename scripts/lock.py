"""Write requirements.lock from pyproject.toml: exact versions and hashes for Python 3.10 to 3.12.

    python3 scripts/lock.py                       # keep today's versions where they still fit
    python3 scripts/lock.py --upgrade             # take the newest ones
    python3 scripts/lock.py --torch-wheel FILE    # also allow this build of torch, e.g. a CPU-only one

Needs uv (``.venv/bin/pip install uv``). A CPU-only build of torch has another hash than the
ordinary one. Hashes given with --torch-wheel stay in the file as long as torch's version does.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from environment.lock_file import SECTIONS, name_of, pinned_version, read_sections, split_entries

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
ALSO = re.compile(r"^    # sha256:([0-9a-f]{64}) is (torch-\S+\.whl)$", re.MULTILINE)
RUN = ("train", "openvino")
"""Extras that scripts/start.py installs."""
TEST = ("onnxruntime", "parquet", "ray", "test")
"""Extras that only scripts/test.py installs."""
HEADER = """\
# Exact versions and hashes of everything DermCheck needs on CPython 3.10, 3.11 and 3.12.
# Written by scripts/lock.py; do not edit. scripts/start.py installs "run" (and "cuda" where torch
# asks for it), scripts/test.py also "test": pip install --require-hashes --no-deps.
"""


def find_uv() -> str:
    """Return the path of uv, on PATH or beside this Python."""
    found = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if found is None:
        sys.exit("uv is not installed: run .venv/bin/pip install uv, then .venv/bin/python scripts/lock.py.")
    return found


def compile_entries(uv: str, extras: list[str], pins: str, *options: str) -> list[str]:
    """Resolve the base requirements, the build requirements and these extras, near `pins`."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    build = re.search(r"^requires = \[(.*?)\]", project, re.MULTILINE | re.DOTALL)
    if build is None:
        sys.exit("pyproject.toml names no build requirements ([build-system] requires).")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "build-system.in").write_text(
            "\n".join(re.findall(r'"([^"]+)"', build.group(1))), encoding="utf-8"
        )
        output = Path(folder) / "lock.txt"
        output.write_text(pins, encoding="utf-8")  # uv prefers the versions it finds in its output file
        command = [
            uv,
            "pip",
            "compile",
            "pyproject.toml",
            str(Path(folder) / "build-system.in"),
            "--quiet",
            "--universal",
        ]
        command += ["--python-version", "3.10", "--generate-hashes", "--no-header", "--no-emit-index-url"]
        command += [part for extra in extras for part in ("--extra", extra)]
        if subprocess.run([*command, "-o", str(output), *options], cwd=ROOT, check=False).returncode != 0:
            sys.exit("uv found no set of versions that fits pyproject.toml; requirements.lock is unchanged.")
        text = output.read_text(encoding="utf-8")
    return split_entries(re.sub(r"-r \S*(build-system)\.in", r"\1", text))


def sort_into_sections(uv: str, upgrade: bool) -> dict[str, list[str]]:
    """Resolve everything together, then give each entry to the first section that needs it."""
    old = LOCK.read_text(encoding="utf-8") if LOCK.exists() else ""
    every = compile_entries(uv, [*RUN, *TEST, "reference"], old, *(["--upgrade"] if upgrade else []))
    pins = "".join(every)
    run = {name_of(entry) for entry in compile_entries(uv, list(RUN), pins)}
    test = {name_of(entry) for entry in compile_entries(uv, [*RUN, *TEST], pins)}
    sections: dict[str, list[str]] = {name: [] for name in SECTIONS}
    for entry in every:
        name = name_of(entry)
        if name.startswith(("nvidia-", "cuda-")) or name == "triton":
            sections["cuda"].append(entry)
        else:
            sections["run" if name in run else "test" if name in test else "reference"].append(entry)
    return sections


def allowed_builds(torch: str, wheels: list[Path]) -> dict[str, str]:
    """Hash to file name of torch's further builds: those given now and those already in the file."""
    version = pinned_version(torch)
    old = LOCK.read_text(encoding="utf-8") if LOCK.exists() else ""
    builds = {
        digest: name
        for digest, name in ALSO.findall(old)
        if re.match(rf"torch-{re.escape(version)}[+-]", name)
    }
    for wheel in wheels:
        if not re.match(rf"torch-{re.escape(version)}[+-]", wheel.name):
            sys.exit(f"{wheel.name} is not torch {version}, the version that pyproject.toml leads to.")
        with wheel.open("rb") as file:
            digest = hashlib.sha256()
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        builds[digest.hexdigest()] = wheel.name
    return builds


def with_builds(torch: str, builds: dict[str, str]) -> str:
    """Torch's entry with these hashes added, each named in a comment."""
    requirement, comments = re.split(r"\n(?=    #)", torch, maxsplit=1)
    hashes = "".join(f" \\\n    --hash=sha256:{digest}" for digest in builds if digest not in requirement)
    names = "".join(f"    # sha256:{digest} is {name}\n" for digest, name in builds.items())
    return f"{requirement}{hashes}\n{comments}{names}"


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    parser.add_argument(
        "--torch-wheel", type=Path, action="append", default=[], metavar="FILE", help="also allow this build"
    )
    arguments = parser.parse_args()
    sections = sort_into_sections(find_uv(), arguments.upgrade)
    place = next(i for i, entry in enumerate(sections["run"]) if name_of(entry) == "torch")
    torch = sections["run"][place]
    sections["run"][place] = with_builds(torch, allowed_builds(torch, arguments.torch_wheel))
    text = HEADER + "".join(
        f"\n# === {name}: {SECTIONS[name]} ===\n" + "".join(entries) for name, entries in sections.items()
    )
    LOCK.write_text(text, encoding="utf-8")
    counts = ", ".join(f"{len(entries)} {name}" for name, entries in read_sections(LOCK).items())
    print(f"Wrote {LOCK.name}: {counts}.")


if __name__ == "__main__":
    main()
