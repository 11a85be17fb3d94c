import ast
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
START = str(REPOSITORY / "scripts" / "start.py")
NEEDED_BY_ANY_PYTHON = [
    "start.py",
    "test.py",
    "environment/__init__.py",
    "environment/checks.py",
    "environment/command.py",
    "environment/problems.py",
]


@pytest.fixture
def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_set_up_installs_the_lock_and_starts_the_server(make_project, free_port):
    project = make_project()
    answer = project.start("--port", free_port, "--verbose")
    assert answer.returncode == 0, answer.stderr
    assert project.installed() == {"torch", "setuptools", "tiny", "dermcheck"}
    studies = project.folder / "sample_studies"
    assert answer.stdout.splitlines()[-1] == (
        f"dermcheck serve --studies {studies} --host 127.0.0.1 --port {free_port} --verbose"
    )


def test_second_run_installs_nothing_and_needs_no_index(make_project, free_port):
    project = make_project()
    assert project.start("--port", free_port).returncode == 0
    again = project.start("--port", free_port, PIP_FIND_LINKS=os.devnull)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[0].startswith("Starting the server")


def test_a_torch_with_cuda_brings_the_cuda_section(make_project, free_port):
    project = make_project(cuda=True)
    assert project.start("--port", free_port).returncode == 0
    assert "triton" in project.installed()


def test_a_changed_lock_is_installed_into_the_same_environment(make_project, free_port):
    project = make_project()
    assert project.start("--port", free_port).returncode == 0
    _, digest = project.add_wheel("further", "1.0")
    lock = project.folder / "requirements.lock"
    entry = f"further==1.0 \\\n    --hash=sha256:{digest}\n"
    lock.write_text(lock.read_text().replace("# === cuda", entry + "# === cuda"))
    answer = project.start("--port", free_port)
    assert "Making .venv" not in answer.stdout
    assert "further" in project.installed()


def test_a_killed_set_up_is_made_afresh(make_project, free_port):
    project = make_project()
    assert project.start("--port", free_port).returncode == 0
    (project.folder / ".venv" / "set-up.unfinished").touch()  # as a kill in the middle of pip leaves it
    answer = project.start("--port", free_port)
    assert answer.returncode == 0, answer.stderr
    assert "Removing a .venv" in answer.stdout


def test_a_moved_project_is_set_up_again(make_project, free_port, tmp_path):
    project = make_project()
    assert project.start("--port", free_port).returncode == 0
    project.folder.rename(tmp_path / "elsewhere")
    moved = type(project)(tmp_path / "elsewhere", project.index)
    answer = moved.start("--port", free_port)
    assert answer.returncode == 0, answer.stderr
    assert "Removing a .venv" in answer.stdout


def test_a_file_with_another_hash_is_refused(make_project, free_port):
    project = make_project()
    project.add_wheel("tiny", "1.0", "something-else")
    answer = project.start("--port", free_port)
    assert answer.returncode == 1
    assert "is not the one that requirements.lock names" in answer.stderr
    assert "tiny" not in project.installed()


def test_a_torch_build_that_the_lock_does_not_name_needs_the_users_word(make_project, free_port):
    project = make_project()
    name, _ = project.add_wheel("torch", "2.13.0+cpu")  # pip prefers it to 2.13.0
    refused = project.start("--port", free_port)
    assert refused.returncode == 1
    assert f"pip found {name}" in refused.stderr
    chosen = project.start("--port", free_port, "--torch-wheel", str(project.index / name))
    assert chosen.returncode == 0, chosen.stderr
    again = project.start("--port", free_port, "--torch-wheel", str(project.index / name))
    assert "Installing" not in again.stdout


def test_another_version_of_torch_is_refused(make_project, free_port):
    project = make_project()
    name, _ = project.add_wheel("torch", "2.9.0")
    answer = project.start("--port", free_port, "--torch-wheel", str(project.index / name))
    assert answer.returncode == 1
    assert "is not a torch 2.13.0 wheel: --torch-wheel takes that version only." in answer.stderr


def test_without_network_one_sentence_says_so(make_project, free_port):
    project = make_project()
    closed = f"http://127.0.0.1:{free_port}/simple"
    answer = project.start("--port", free_port, PIP_NO_INDEX="0", PIP_INDEX_URL=closed, PIP_FIND_LINKS="")
    assert answer.returncode == 1
    assert answer.stderr.startswith(
        "The package index cannot be reached: connect this computer to the network"
    )
    assert len(answer.stderr.splitlines()) == 1
    assert not (project.folder / ".venv" / "set-up.unfinished").exists()  # nothing was begun: keep it


def test_two_set_ups_at_once_do_not_disturb_each_other(make_project, free_port):
    fcntl = pytest.importorskip("fcntl", reason="Windows locks otherwise")
    project = make_project()
    with (project.folder / ".set-up.lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        answer = project.start("--port", free_port)
    assert answer.returncode == 1
    assert answer.stderr.startswith("Another set-up is running in this folder")


def test_a_taken_port_is_told_before_anything_is_installed(make_project):
    project = make_project()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = project.start("--port", str(port))
    assert answer.returncode == 1
    assert re.fullmatch(
        rf"The server cannot use port {port} of 127\.0\.0\.1 .* with --port {port + 1}\.\n", answer.stderr
    )
    assert not (project.folder / ".venv").exists()


@pytest.mark.parametrize("port", ["0", "65536", "eighty", "-1"])
def test_an_impossible_port_is_a_wrong_argument(port):
    answer = subprocess.run(
        [sys.executable, START, f"--port={port}"], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 2
    assert f"a port is a number from 1 to 65535, not {port}" in answer.stderr


@pytest.mark.parametrize("version", [(3, 8, 18), (3, 9, 0), (3, 13, 0), (4, 0, 0)])
@pytest.mark.parametrize("script", ["start.py", "test.py"])
def test_another_python_is_told_which_ones_will_do(script, version):
    path = str(REPOSITORY / "scripts" / script)
    code = (
        f"import runpy, sys; sys.version_info = {(*version, 'final', 0)}; "
        f"sys.argv = ['scripts/{script}']; runpy.run_path({path!r}, run_name='__main__')"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr.startswith("DermCheck needs Python 3.10, 3.11 or 3.12 and this is ")
    assert f"scripts/{script}" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.parametrize("file", NEEDED_BY_ANY_PYTHON)
def test_old_pythons_can_read_what_refuses_them(file):
    ast.parse((REPOSITORY / "scripts" / file).read_text(encoding="utf-8"), feature_version=(3, 7))
