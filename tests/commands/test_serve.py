import errno
import socket
from types import SimpleNamespace

import pytest

from dermcheck.cli import build_parser, main
from dermcheck.commands import serve
from dermcheck.doctor import Finding
from dermcheck.doctor.probe import probe_registry
from dermcheck.errors import ArgumentError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "studies").mkdir()
    return str(tmp_path / "studies")


def test_the_default_is_this_computer_alone():
    arguments = build_parser().parse_args(["serve"])
    assert (arguments.host, arguments.port) == ("127.0.0.1", 8000)


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    assert "dermcheck serve --studies" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--studies", "{tmp}/nowhere"], "the studies folder is missing"),
        (["--studies", "{tmp}/file"], "the studies folder is a file"),
        (["--models", "{tmp}/nowhere"], "no such folder of models"),
        (["--registry", "{tmp}/nowhere", "--port", "0"], "there is no such registry of models"),
        (["--registry", "{tmp}/file", "--port", "0"], "expected the folder of a registry"),
        (["--port", "70000"], "--port is 70000"),
        (["--port", "-1"], "--port is -1"),
        (["--host", "no..such..host"], "no such host"),
        (["--host", "192.0.2.1"], "cannot listen there"),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_status_2(options, part, folder, tmp_path, capsys):
    (tmp_path / "file").touch()
    given = [option.format(tmp=tmp_path) for option in options]
    assert main(["serve", "--studies", folder, *given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert part in line


def test_a_taken_port_is_told_with_another_one(folder, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", "--studies", folder, "--port", str(port)]) == 2
    assert f"Port {port} of 127.0.0.1 is taken" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "part"),
    [(errno.EADDRINUSE, "taken"), (errno.EACCES, "reserved"), (errno.EINVAL, "cannot listen")],
)
def test_each_reason_of_the_system_has_its_sentence(number, part):
    assert part in serve._why_not(OSError(number, "reason"), "127.0.0.1", 80)


def test_studies_come_from_the_environment_where_none_are_named(folder, monkeypatch):
    monkeypatch.setenv(serve.STUDIES_VARIABLE, folder)
    assert serve._find_studies(None) == folder
    monkeypatch.setenv(serve.STUDIES_VARIABLE, folder + "/gone")
    with pytest.raises(ArgumentError, match="missing"):
        serve._find_studies(None)


def test_an_archives_address_is_taken_as_it_is():
    assert serve._find_studies("https://pacs.example/dicom-web/") == "https://pacs.example/dicom-web"


def test_a_network_address_is_warned_of(capsys):
    serve._warn_of_network("0.0.0.0")
    warning = capsys.readouterr().err
    assert "without log-in" in warning
    assert "--host 0.0.0.0" in warning


def test_the_start_page_finds_nothing_wrong_where_nothing_was_trained_yet(folder, tmp_path, monkeypatch):
    """The default registry is made by the first training; only a named one must be there."""
    monkeypatch.setenv("DERMCHECK_MODELS", str(tmp_path / "not yet"))
    seen = {}

    def run_server(settings, say_ready):
        app = SimpleNamespace(
            model_versions=lambda: {"versions": {}, "problems": [], "backend": None},
            store=SimpleNamespace(problems=list, image_ids=list),
        )
        say_ready(app)
        seen["registry of the server"] = settings.registry
        seen["found"] = app.examine()

    def examine(subject):
        for each in probe_registry(subject.registry):
            yield Finding(each["name"], each["found"], each["advice"])

    monkeypatch.setattr("dermcheck.label_app.running.run_server", run_server)
    monkeypatch.setattr("dermcheck.doctor.examine", examine)
    assert main(["serve", "--studies", folder, "--port", "0"]) == 0
    assert seen["registry of the server"] == tmp_path / "not yet"
    assert [each["name"] for each in seen["found"]][-1] == "Registry of models"
    assert all(each["advice"] is None for each in seen["found"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--retrain-at", "late"], "a beginning and an end like 22:00-06:00"),
        (["--retrain-after", "0"], "expected 1 to 100,000"),
        (["--retrain-after", "50", "--models", "."], "leave one of them out"),
    ],
)
def test_trainings_that_cannot_start_by_themselves_are_refused_in_words(folder, capsys, options, words):
    assert main(["serve", "--studies", folder, "--port", "0", *options]) == 2
    assert words in capsys.readouterr().err
