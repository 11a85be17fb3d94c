import json
import socket

import pytest

from dermcheck.cli import main
from dermcheck.commands.doctor import _line
from dermcheck.doctor import Finding


@pytest.fixture(scope="module")
def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_json_holds_every_finding_and_the_status_tells_of_problems(capsys, tmp_path, free_port):
    studies, models = tmp_path / "studies", tmp_path / "models"
    studies.mkdir()
    status = main(
        ["doctor", "--json", "--studies", str(studies), "--models", str(models), "--port", free_port]
    )
    answer = json.loads(capsys.readouterr().out)
    assert status == 1
    assert not answer["ok"]
    findings = {each["name"]: each for each in answer["findings"]}
    assert list(findings) == [
        "Python",
        "Packages",
        "Memory",
        "Studies",
        "Disk of the studies",
        "Cache",
        "Disk of the cache",
        "Port",
        "Processor",
        "Model classifier",
        "Model outliner",
        "Back end",
        "Server",
    ]
    assert findings["Studies"]["ok"]
    assert findings["Server"]["ok"]
    assert findings["Server"]["found"].startswith("MONAI Label 0.8.5")
    assert findings["Processor"]["ok"]
    assert "torch" in findings["Processor"]["found"]
    assert not findings["Model classifier"]["ok"]
    assert (
        findings["Model classifier"]["advice"]
        == "Get DermCheck's files anew, or name another folder with --models."
    )


@pytest.mark.parametrize("port", ["0", "70000", "-1"])
def test_an_impossible_port_is_a_wrong_argument(capsys, port):
    assert main(["doctor", f"--port={port}"]) == 2
    assert f"--port is {port}, expected a number from 1 to 65535" in capsys.readouterr().err


def test_a_line_says_what_to_do_only_where_something_is_wrong():
    assert _line(Finding("Port", "8000 is free")) == "✔ Port: 8000 is free"
    assert (
        _line(Finding("Port", "8000 is taken", "Take another.")) == "✘ Port: 8000 is taken\n  → Take another."
    )
