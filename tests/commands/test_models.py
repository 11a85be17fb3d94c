import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dermcheck.cli import main
from dermcheck.networks import build_network, save_model
from dermcheck.networks.checkpoint import REFERENCE_MODELS, read_card
from dermcheck.registry import ModelVersion, Registry, current_account


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained classifier, as a training would leave it."""
    card = read_card(REFERENCE_MODELS / "classifier")
    card = replace(card, architecture="efficientnet_lite0", dendrites=0, photograph_check=None)
    folder = tmp_path_factory.mktemp("training") / "candidate"
    save_model(folder, build_network(card.architecture, card.task), card)
    return folder


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("DERMCHECK_MODELS", str(tmp_path / "registry"))
    return Registry.open()


@pytest.fixture
def submit(registry: Registry, candidate: Path) -> Callable[[], ModelVersion]:
    def run() -> ModelVersion:
        return registry.submit(
            candidate, parent="reference", data_fingerprint="d1", configuration={"epochs": 2}, who="anna"
        )

    return run


@pytest.fixture
def models(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run `dermcheck models`; gives what it says."""

    def run(*arguments: str, status: int = 0) -> str:
        assert main(["models", *arguments]) == status
        said = capsys.readouterr()
        return said.err if status else said.out

    return run


def test_without_a_registry_the_reference_is_in_use(models):
    said = models("list")
    assert said.count("* reference") == 2
    assert said.count("in use") == 2


def test_the_list_says_what_came_of_each_version_who_decided_and_why(models, registry, submit):
    first, second, third, fourth = (submit() for _ in range(4))
    registry.promote(first, "better: balanced accuracy 0.8", "anna")
    registry.refuse(second, "it misses melanomas", "ben")
    registry.promote(third, "better still", "clara")
    registry.rollback("classification", "dora", reason="odd answers on scalps")
    said = models("list", "classification")
    lines = {line.split()[0].strip("*"): line for line in said.splitlines() if "classification-" in line[:20]}
    assert "* classification-0001" in said
    assert "refused" in lines[second.name]
    assert "was in use" in lines[third.name]
    assert "never compared" in lines[fourth.name]
    assert "by ben: it misses melanomas" in said
    assert "replaced by classification-0001 (rolled back)" in said
    assert "by dora: odd answers on scalps" in said
    answer = json.loads(models("list", "--json"))
    assert answer["classification"]["in_use"] == first.name
    assert answer["classification"]["rollback_leads_to"] == ["reference"]
    assert answer["segmentation"]["in_use"] == "reference"
    states = [each["state"] for each in answer["classification"]["versions"]]
    names = [each["version"] for each in answer["classification"]["versions"]]
    assert names[:2] == ["reference", "reference-densenet121"], "both come along"
    assert states == ["was in use", "never compared", "in use", "refused", "was in use", "never compared"]


def test_show_tells_all_that_is_known(models, registry, submit):
    version = submit()
    registry.promote(version, "good", "anna", figures={"photographs": 500})
    said = models("show", version.name)
    for part in (
        "from       reference",
        "data       d1",
        str(version.folder),
        "by anna: good",
    ):
        assert part in said
    assert re.search(r"epochs +2$", said, re.MULTILINE)
    answer = json.loads(models("show", version.name, "--json"))
    assert answer["configuration"] == {"epochs": 2}
    assert answer["sha256"] == version.read_card().sha256
    assert [each["what"] for each in answer["events"]] == ["submitted", "promoted"]
    assert answer["events"][1]["figures"] == {"photographs": 500}
    assert (
        json.loads(models("show", "reference", "--task", "segmentation", "--json"))["task"] == "segmentation"
    )


def test_show_leaves_long_tables_to_json(models, registry, candidate, tmp_path):
    folder = tmp_path / "with tables"
    folder.mkdir()
    card = read_card(candidate)
    figure = {"value": 0.8, "interval95": [0.75, 0.85]}
    unknown = {"value": None, "interval95": [None, None]}
    figures = {"jaccard": figure, "dice": unknown, "subgroups": {"sex": {"male": 0.7}}}
    card = replace(card, figures={"ham10000": figures})
    (folder / "card.json").write_text(card.to_json())
    (folder / "weights.safetensors").write_bytes((candidate / "weights.safetensors").read_bytes())
    version = registry.submit(folder, parent=None, data_fingerprint="", configuration={}, who="anna")
    said = models("show", version.name)
    assert re.search(r"jaccard +0\.800  \[0\.750, 0\.850\]$", said, re.MULTILINE)
    assert "dice" not in said, "there is nothing to show"
    assert "subgroups" not in said
    answer = json.loads(models("show", version.name, "--json"))
    assert answer["figures"]["ham10000"]["subgroups"] == {"sex": {"male": 0.7}}


def test_promote_and_rollback_note_the_account_and_the_reason(models, registry, submit):
    version = submit()
    said = models("promote", version.name, "--reason", "checked by hand")
    assert said == (
        "classification-0001 is in use for classification now, instead of reference. "
        "A running server uses it from its next prediction on.\n"
    )
    answer = json.loads(models("rollback", "classification", "--reason", "odd answers", "--json"))
    assert (answer["what"], answer["version"], answer["instead_of"]) == (
        "rolled back",
        "reference",
        version.name,
    )
    promoted, back = registry.history()[-2:]
    assert (promoted.who, promoted.reason) == (current_account(), "checked by hand")
    assert (back.who, back.reason) == (current_account(), "odd answers")


def test_a_damaged_version_is_marked_and_cannot_be_promoted(models, submit):
    version = submit()
    (version.folder / "weights.safetensors").write_bytes(b"")
    assert "DAMAGED" in models("list")
    assert "not as it was" in models("show", version.name)
    error = models("promote", version.name, "--reason", "x", status=1)
    assert error.startswith("dermcheck: ")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (["rollback", "classification"], 2, "there is nothing to go back to"),
        (["rollback", "classification", "--to", "x"], 2, "nothing to go back to"),
        (["show", "classification-0009"], 1, "There is no version"),
        (["show", "reference"], 2, "say which: classification or segmentation"),
        (["promote", "reference", "--task", "segmentation", "--reason", "x"], 2, "in use for segmentation"),
        (["list", "--registry", "/nowhere/at/all"], 2, "there is no such registry"),
    ],
)
def test_a_mistake_is_one_sentence(models, registry, arguments, status, part):
    error = models(*arguments, status=status)
    assert part in error
    assert len(error.splitlines()) == 1


def test_promoting_needs_a_reason(submit, capsys):
    with pytest.raises(SystemExit):
        main(["models", "promote", submit().name])
    assert "--reason" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "batch", "doctor"])
def test_models_and_a_registry_exclude_each_other(command, capsys):
    arguments = [command, "in", "--output", "out"] if command == "batch" else [command]
    with pytest.raises(SystemExit) as exit_info:
        main([*arguments, "--models", "a", "--registry", "b"])
    assert exit_info.value.code == 2
    assert "not allowed with argument --models" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["", "list", "show", "promote", "rollback"])
def test_there_is_help(action, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["models", *filter(None, [action]), "--help"])
    assert exit_info.value.code == 0
    assert "usage: dermcheck models" in capsys.readouterr().out
