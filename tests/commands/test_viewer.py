import json

import pytest

from dermcheck.cli import main


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DERMCHECK_CACHE", str(tmp_path))


def test_the_list_says_what_there_is_and_what_is_used(capsys):
    assert main(["viewer", "list"]) == 0
    used, other = capsys.readouterr().out.splitlines()
    assert used.startswith("* ohif-3.10")
    assert used.endswith("  installed")
    assert other.startswith("  ohif-3.13")
    assert other.endswith("  not installed")
    assert main(["viewer", "list", "--json"]) == 0
    assert [entry["in_use"] for entry in json.loads(capsys.readouterr().out)] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["use", "ohif-3.13"], 1, "not installed"),
        (["use", "weasis"], 1, "There is no viewer 'weasis'"),
        (["install", "nowhere.tgz"], 2, "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments, status, words, capsys):
    assert main(["viewer", *arguments]) == status
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_the_viewer_in_use_can_be_chosen_by_name(capsys):
    assert main(["viewer", "use", "ohif-3.10"]) == 0
    assert "3.10.0-beta.5 is used from the server's next start on" in capsys.readouterr().out
