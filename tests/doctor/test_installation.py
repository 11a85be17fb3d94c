from importlib import metadata

import pytest
from packaging.requirements import Requirement

from dermcheck.doctor.installation import check_packages, check_python, compare_packages, locked_requirements

LOCK = """\
# === run: the server ===
numpy==1.26.4 \\
    --hash=sha256:00
    # via dermcheck
antique==1.0 ; python_full_version < '3.0' \\
    --hash=sha256:00
# === test: tests ===
pytest==1.0 \\
    --hash=sha256:00
"""


def test_this_python_will_do():
    assert check_python().ok


def test_the_installed_packages_are_as_locked_or_named():
    finding = check_packages()
    assert finding.ok or " is " in finding.found


def test_only_what_this_machine_runs_is_expected():
    assert [str(each) for each in locked_requirements(LOCK)] == ["numpy==1.26.4"]


def test_a_missing_package_is_named():
    finding = compare_packages([Requirement("numpy"), Requirement("no-such-package==1.0")], "locked")
    assert not finding.ok
    assert finding.found == "no-such-package is missing"


def test_another_version_is_named_with_both():
    found = metadata.version("numpy")
    finding = compare_packages([Requirement("numpy==0.1")], "locked")
    assert finding.found == f"numpy is {found}, locked ==0.1"
    assert finding.advice == "Remove .venv and run python3 scripts/start.py."


def test_a_build_of_the_locked_version_is_no_problem():
    plain = metadata.version("torch").partition("+")[0]
    assert compare_packages([Requirement(f"torch=={plain}")], "locked").ok


def test_many_problems_are_counted_rather_than_listed():
    finding = compare_packages([Requirement(f"no-such-package-{n}") for n in range(9)], "required")
    assert finding.found.endswith("no-such-package-4 is missing and 4 more")


@pytest.mark.parametrize("lock", ["", "# === run: the server ===\n"])
def test_a_lock_without_packages_is_a_problem(lock):
    assert not compare_packages(locked_requirements(lock), "locked").ok
