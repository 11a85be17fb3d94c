import ast
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
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


@pytest.fixture(scope="module")
def set_up_once(make_project):
    """A project with its environment: making one takes several seconds."""
    project = make_project()
    answer = project.start("--version")
    assert answer.returncode == 0, answer.stderr
    return project


@pytest.fixture
def ready(set_up_once):
    """The project that is set up, its lock as it was at first."""
    lock = set_up_once.folder / "requirements.lock"
    original = lock.read_bytes()
    yield set_up_once
    lock.write_bytes(original)


def test_set_up_installs_the_lock_and_nothing_else(ready):
    assert ready.installed() >= {"torch", "setuptools", "tiny", "dermcheck"}
    assert not ready.installed() & {"triton", "never_installed"}


def test_arguments_go_to_the_server(ready, free_port):
    answer = ready.start("--port", free_port, "--verbose")
    studies = ready.folder / "sample_studies"
    assert answer.stdout.splitlines()[-1] == (
        f"dermcheck serve --studies {studies} --host 127.0.0.1 --port {free_port} --verbose"
    )


def test_a_second_run_installs_nothing_and_needs_no_index(ready, free_port):
    again = ready.start("--port", free_port, PIP_FIND_LINKS=os.devnull)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[0].startswith("Starting the server")


def test_a_changed_lock_is_installed_into_the_same_environment(ready, free_port):
    _, digest = ready.add_wheel("further", "1.0")
    ready.lock_also("further", "1.0", digest)
    answer = ready.start("--port", free_port)
    assert "Making .venv" not in answer.stdout
    assert "further" in ready.installed()


def test_a_file_with_another_hash_is_refused(ready, free_port):
    ready.add_wheel("forged", "1.0")
    ready.lock_also("forged", "1.0", "0" * 64)
    answer = ready.start("--port", free_port)
    assert answer.returncode == 1
    assert "is not the one that requirements.lock names" in answer.stderr
    assert "forged" not in ready.installed()


def test_without_network_one_sentence_says_so_and_nothing_is_spoilt(ready, free_port):
    ready.lock_also("far_away", "1.0", "0" * 64)
    closed = f"http://127.0.0.1:{free_port}/simple"
    answer = ready.start("--port", free_port, PIP_NO_INDEX="0", PIP_INDEX_URL=closed, PIP_FIND_LINKS="")
    assert answer.returncode == 1
    assert answer.stderr.startswith(
        "The package index cannot be reached: connect this computer to the network"
    )
    assert len(answer.stderr.splitlines()) == 1
    assert ready.is_usable()


def test_a_killed_set_up_is_made_afresh(ready, free_port):
    (ready.folder / ".venv" / "set-up.unfinished").touch()  # as a kill in the middle of pip leaves it
    answer = ready.start("--port", free_port)
    assert answer.returncode == 0, answer.stderr
    assert "Removing a .venv" in answer.stdout
    assert ready.is_usable()


def test_a_moved_project_does_not_use_programs_of_its_old_place(ready, tmp_path):
    moved = replace(ready, folder=tmp_path / "elsewhere")
    ready.folder.rename(moved.folder)
    try:
        assert not moved.is_usable()
    finally:
        moved.folder.rename(ready.folder)
    assert ready.is_usable()


def test_another_version_of_torch_is_refused(ready, free_port):
    name, _ = ready.add_wheel("torch", "2.9.0")
    answer = ready.start("--port", free_port, "--torch-wheel", str(ready.index / name))
    assert answer.returncode == 1
    assert "is not a torch 2.13.0 wheel: --torch-wheel takes that version only." in answer.stderr
    assert ready.start("--port", free_port).stdout.startswith("Starting the server")  # nothing was removed


def test_two_set_ups_at_once_do_not_disturb_each_other(ready, free_port):
    fcntl = pytest.importorskip("fcntl", reason="Windows locks otherwise")
    ready.lock_also("further", "1.0", "0" * 64)
    with (ready.folder / ".set-up.lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        answer = ready.start("--port", free_port)
    assert answer.returncode == 1
    assert answer.stderr.startswith("Another set-up is running in this folder")


def test_a_torch_with_cuda_brings_the_cuda_section(make_project, free_port):
    project = make_project(cuda=True)
    assert project.start("--port", free_port).returncode == 0
    assert "triton" in project.installed()


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


def test_a_taken_port_is_told_before_anything_is_installed(make_project):
    project = make_project()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = project.start("--port", str(port))
    assert answer.returncode == 1
    assert re.fullmatch(
        rf"The server cannot use port {port} of 127\.0\.0\.1 \(Address already in use\): "
        rf"stop the program that uses it .* add --port {port + 1}\.\n",
        answer.stderr,
    )
    assert not (project.folder / ".venv").exists()


def test_a_host_that_is_not_this_computer_is_told(free_port):
    command = [sys.executable, START, "--host", "192.0.2.1", "--port", free_port]  # RFC 5737: nobody's
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"The server cannot use port {free_port} of 192.0.2.1 (")
    assert "take 127.0.0.1" in answer.stderr


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
