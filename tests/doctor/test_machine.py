import json
import socket

import psutil

from dermcheck.doctor import machine
from dermcheck.doctor.machine import check_archive, check_disk, check_folder, check_memory, check_port


def test_a_writable_folder_is_well_and_stays_empty(tmp_path):
    assert check_folder("Studies", tmp_path).ok
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_a_problem(tmp_path):
    finding = check_folder("Studies", tmp_path / "none")
    assert finding.found == f"{tmp_path / 'none'} does not exist, expected a folder"


def test_a_missing_folder_that_is_made_on_demand_is_well(tmp_path):
    assert check_folder("Cache", tmp_path / "none" / "yet", made_on_demand=True).ok
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_a_problem(tmp_path):
    (tmp_path / "file").touch()
    assert "is a file, expected a folder" in check_folder("Studies", tmp_path / "file").found


def test_a_folder_that_refuses_files_is_a_problem(monkeypatch, tmp_path):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    # Tests may run as root, for whom no folder of a disk refuses.
    monkeypatch.setattr(machine.tempfile, "TemporaryFile", refuse)
    finding = check_folder("Studies", tmp_path)
    assert finding.found == f"{tmp_path} cannot be read and written (Permission denied)"
    assert finding.advice == "Give the account that runs DermCheck the right to write there."


def test_a_free_port_is_well():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert check_port("127.0.0.1", port).found == f"127.0.0.1:{port} is free"


def test_a_port_of_another_program_is_a_problem(answering):
    with answering("not JSON") as port:
        finding = check_port("127.0.0.1", port)
    assert "cannot be used (Address already in use)" in finding.found


def test_dermchecks_own_port_is_well(answering):
    with answering(json.dumps({"name": "DermCheck"})) as port:
        finding = check_port("127.0.0.1", port)
    assert finding.ok
    assert finding.found == f"127.0.0.1:{port} is DermCheck's, which is running"


def test_a_host_that_does_not_exist_is_a_problem():
    assert "cannot be used" in check_port("no such host", 8000).found


def test_memory_is_told_in_gib():
    total = psutil.virtual_memory().total / 1024**3
    assert f"of {total:.1f} GiB available" in check_memory().found


def test_too_little_memory_or_disk_is_a_problem(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_MEMORY_NEEDED", 10**18)
    monkeypatch.setattr(machine, "_DISK_NEEDED", 10**18)
    assert check_memory().advice == "End other programs or add memory."
    assert check_disk("Disk", tmp_path).advice == "Free some space."


def test_an_archive_that_answers_a_search_is_well(answering):
    with answering("[]") as port:
        assert check_archive(f"http://127.0.0.1:{port}/dicom-web").ok


def test_an_archive_that_is_not_there_is_a_problem():
    finding = check_archive("http://127.0.0.1:9/dicom-web")
    assert finding.found == "http://127.0.0.1:9/dicom-web does not answer a DICOMweb search (ConnectionError)"
