"""Set DermCheck up with what its tests need, then run the checks and the whole test suite.

    python3 scripts/test.py                         # ruff, mypy, import rules, then all tests
    python3 scripts/test.py tests/dicom -k jpeg     # arguments go to pytest: only these tests

Exit status 0 if all is well, 1 if a check or a test failed. To choose a torch of your own, run
scripts/start.py --torch-wheel FILE first.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from environment.command import run_command

CHECKS = (
    ("ruff", "check"),
    ("ruff", "format", "--check"),
    ("mypy",),
    ("lint-imports",),
)

RUNS = (
    ["-n", "2", "--dist", "loadfile", "--ignore=tests/end_to_end"],
    ["tests/end_to_end"],  # servers and browsers fill the machine by themselves
)
"""The whole suite, as arguments of pytest."""


def main() -> int:
    """Set up, check, test."""
    import subprocess

    from environment.packages import ROOT, program
    from environment.virtual import set_up

    arguments = sys.argv[1:]
    set_up(["run", "test"])
    failed = []
    for name, *rest in () if arguments else CHECKS:
        print(f"== {' '.join([name, *rest])}", flush=True)
        if subprocess.run([program(name), *rest], cwd=ROOT, check=False).returncode != 0:
            failed.append(" ".join([name, *rest]))
    statuses = [
        subprocess.run([program("python"), "-m", "pytest", "-rs", *run], cwd=ROOT, check=False).returncode
        for run in ([arguments] if arguments else RUNS)
    ]
    status = next((each for each in statuses if each), 0)
    if failed:
        print("Failed before the tests: " + ", ".join(failed), file=sys.stderr)
    return status or int(bool(failed))


if __name__ == "__main__":
    run_command(main)
