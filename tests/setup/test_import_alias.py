import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
NAME = "pydicom._storage_sopclass_uids"


def run(python: str, code: str, *options: str, **keywords) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [python, *options, "-c", code], capture_output=True, text=True, check=False, **keywords
    )


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> Path:
    """An environment that sees this one's packages, but of the .pth files only its own count."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=sys.platform != "win32")
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_the_package_that_monai_label_imports_works_in_a_child_process():
    """`monailabel.datastore.utils.convert` imports it; the doctor's test imports all of MONAI Label."""
    answer = run(sys.executable, "import pydicom_seg")
    assert answer.returncode == 0, answer.stderr


def test_a_pydicom_that_has_the_module_wins(tmp_path):
    package = tmp_path / "pydicom"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "_storage_sopclass_uids.py").write_text("SegmentationStorage = 'the real one'\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import {NAME} as m; print(m.SegmentationStorage)"
    )
    assert run(sys.executable, code).stdout.strip() == "the real one"


def test_who_does_not_ask_gets_nothing():
    code = f"import pydicom, pydicom.uid, sys; print({NAME!r} in sys.modules)"
    assert run(sys.executable, code).stdout.strip() == "False"


def test_other_missing_modules_stay_missing():
    answer = run(sys.executable, "import pydicom._storage_sopclass_uid")
    assert "ModuleNotFoundError" in answer.stderr


def test_it_offers_the_uid_of_segmentations():
    code = f"import {NAME} as m; print(m.SegmentationStorage)"
    assert run(sys.executable, code).stdout.strip() == "1.2.840.10008.5.1.4.1.1.66.4"


def test_an_interpreter_that_starts_imports_nothing_more_for_it():
    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY / 'lib')!r}); before = set(sys.modules); "
        "import dermcheck_import_alias; print(*sorted(set(sys.modules) - before))"
    )
    assert run(sys.executable, code, "-I", "-S").stdout.split() == ["dermcheck_import_alias"]


@pytest.mark.parametrize("kind", ["build_wheel", "build_editable"])
def test_both_kinds_of_installation_bring_it(kind, bare_python, tmp_path):
    python = next(bare_python.glob("bin/python"))
    (packages,) = bare_python.glob("lib/python*/site-packages")
    assert "ModuleNotFoundError" in run(str(python), f"import {NAME}").stderr
    build = f"import hatchling.build as b; b.{kind}({str(tmp_path)!r})"
    assert run(sys.executable, build, cwd=REPOSITORY).returncode == 0
    (file,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(file) as wheel:
        wheel.extractall(packages)  # all that pip does with a pure wheel, besides its scripts
        brought = [packages / name for name in wheel.namelist()]
    try:
        assert run(str(python), f"import {NAME}").returncode == 0
        grandchild = (
            f"import subprocess, sys; subprocess.run([sys.executable, '-c', 'import {NAME}'], check=True)"
        )
        assert run(str(python), grandchild).returncode == 0
    finally:
        for path in brought:
            path.unlink()
