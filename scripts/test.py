"""Set DermCheck up with what its tests need, then run the checks and the whole test suite.

    python3 scripts/test.py                         # ruff, mypy, import rules, then all tests
    python3 scripts/test.py tests/dicom -k jpeg     # arguments go to pytest: only these tests

All tests run in two parts at the same time: the folders of `BESIDE` beside the others.

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

BESIDE = ("tests/end_to_end", "tests/docs", "tests/commands", "tests/doctor", "tests/setup")


def run_whole_suite(pytest: list[str]) -> int:
    """Run the tests that mostly wait for servers and commands beside all others, which compute.

    Their output follows when the others have ended, so that the two do not mix.
    """
    import subprocess
    import tempfile

    from environment.packages import ROOT

    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        beside = subprocess.Popen([*pytest, *BESIDE], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        try:
            others = [f"--ignore={folder}" for folder in BESIDE]
            first = subprocess.run([*pytest, *others], cwd=ROOT, check=False).returncode
        finally:
            second = beside.wait()
            output.seek(0)
            print(f"== {' '.join(BESIDE)}", output.read(), sep="\n", flush=True)
    return first or second


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
    pytest = [program("python"), "-m", "pytest", "-rs"]
    if arguments:
        status = subprocess.run([*pytest, *arguments], cwd=ROOT, check=False).returncode
    else:
        status = run_whole_suite(pytest)
    if failed:
        print("Failed before the tests: " + ", ".join(failed), file=sys.stderr)
    return status or int(bool(failed))


if __name__ == "__main__":
    run_command(main)
