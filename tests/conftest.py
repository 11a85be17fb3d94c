"""Shared by all tests: programs that come from Debian packages, and Hypothesis' settings."""

import os
import shutil
from collections.abc import Callable

import pytest
from hypothesis import settings

# Two busy cores make any deadline a matter of luck; pytest-timeout ends what really hangs.
settings.register_profile("dermcheck", parent=settings(), deadline=None)
settings.load_profile("dermcheck")

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported, see dermcheck.cli


@pytest.fixture(scope="session")
def require_program() -> Callable[[str, str], str]:
    """Give the path of a program by name and Debian package; without it the test is skipped, in CI it fails.

    >>> dciodvfy = require_program("dciodvfy", "dicom3tools")  # doctest: +SKIP
    """

    def require(program: str, package: str) -> str:
        path = shutil.which(program)
        if path is None:
            reason = f"needs {program}: apt install {package}"
            if os.environ.get("CI"):
                pytest.fail(f"{reason} (.ci/run installs it)")
            pytest.skip(reason)
        return path

    return require
