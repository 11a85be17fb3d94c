"""`dermcheck train` as a process of its own: what it prints, its exit status, and what a kill leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dermcheck.cli import main
from dermcheck.learning.place import is_training, latest_progress
from dermcheck.registry import Registry


@pytest.fixture
def registry(tmp_path, monkeypatch) -> Registry:
    monkeypatch.setenv("DERMCHECK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DERMCHECK_STUDIES", raising=False)
    monkeypatch.delenv("DERMCHECK_REFERENCE_DATA", raising=False)
    return Registry(tmp_path / "registry")


@pytest.fixture(scope="module")
def studies(make_corrections, tmp_path_factory) -> Path:
    return make_corrections(tmp_path_factory.mktemp("train") / "studies", 24)


@pytest.fixture
def arguments(registry, studies) -> list[str]:
    """A training from corrections, small enough for a test."""
    return [
        "train", "segmentation", "--from-corrections", "--studies", str(studies),
        "--registry", str(registry.folder), "--epochs", "3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "What shall be learnt from"),
        (["--from-corrections"], "Whose corrections"),
        (["--data", "nowhere", "--epochs", "0"], "the folder of the data set is missing"),
        (["--data", "nowhere", "--dendrite-weight", "0.1"], "needs --dendrites"),
        (["--data", "nowhere", "--dendrites", "head", "--dendrite-weight", "-1"], "setting weight is -1.0"),
        (["--from-corrections", "--studies", "nowhere"], "nowhere"),
    ],
)
def test_a_user_s_mistake_is_one_sentence_and_a_status(registry, capsys, options, sentence):
    status = main(["train", "classification", "--registry", str(registry.folder), *options])
    error = capsys.readouterr().err
    assert status in (1, 2)
    assert error.startswith("dermcheck: ")
    assert sentence in error
    assert error.count("\n") == 1


def test_a_full_training_says_what_came_of_it_and_keeps_no_password(registry, arguments, capsys):
    assert main([*arguments, "--epochs", "1"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("segmentation-0001 is not taken into use: too few untouched photographs")
    assert "dermcheck models list" in said
    card = registry.find("segmentation-0001").read_card()
    assert card.command.startswith("dermcheck train segmentation --studies")
    assert "--epochs 1" in card.command
    assert main([*arguments, "--epochs", "1", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["version"], answer["promoted"]) == ("segmentation-0001", False)


def test_killed_at_any_moment_it_goes_on_and_leaves_the_models_alone(registry, arguments, capsys):
    """kill -9, then Ctrl-C by SIGTERM, then the end: one version, and one log without a gap."""
    for number, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 130)):
        process = subprocess.Popen(
            [sys.executable, "-m", "dermcheck", *arguments],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        already = latest_progress(registry.folder, "segmentation")
        until = time.monotonic() + 200
        while not _is_past(registry, already.epoch if already else 0):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(number)
        _, error = process.communicate()
        assert process.returncode == status
        assert "Traceback" not in error
        assert not is_training(registry.folder)
        assert registry.history() == []
    assert "stopped after" in error
    assert "Run the same command again" in error
    assert main(arguments) == 0
    run = Path(json.loads(_outcome(arguments, capsys))["run"])
    epochs = [line.split(",")[0] for line in (run / "log.csv").read_text().splitlines()]
    assert epochs == ["epoch", "1", "2", "3"]
    assert len(registry.history()) == 2  # submitted, refused


def _is_past(registry: Registry, epoch: int) -> bool:
    """Whether another epoch was finished by a running training."""
    progress = latest_progress(registry.folder, "segmentation")
    return progress is not None and progress.phase == "training" and progress.epoch > epoch


def _outcome(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Ask again as a program: the training was done, so that this answers at once."""
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    return capsys.readouterr().out
