"""Whole trainings in this process: what they leave in the registry and in their folder, however they end."""

import csv
import json
import os
import signal
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from dermcheck.errors import DermCheckError, StorageError
from dermcheck.learning import job
from dermcheck.learning.job import carry_out
from dermcheck.learning.learnt import last_learnt
from dermcheck.learning.order import TrainingOrder
from dermcheck.learning.place import TrainingRunsError, is_training, latest_progress, one_training
from dermcheck.networks import load_model
from dermcheck.networks.checkpoint import WEIGHTS_NAME
from dermcheck.training.classification import ClassificationLesson
from dermcheck.training.data import DataError
from dermcheck.training.dendrites import DendriteGrowth, DendriteSettings
from dermcheck.training.examination import run_evaluator
from dermcheck.training.fitting import TrainingError
from dermcheck.training.trainer import train
from dermcheck.training.training_state import CHECKPOINT_NAME


def weights(folder: Path) -> bytes:
    return (folder / WEIGHTS_NAME).read_bytes()


def in_use(registry) -> str:
    return registry.in_use("classification").name


@pytest.fixture
def at_step(monkeypatch):
    """Let something happen at a step of the training."""

    def arrange(step: int, happening) -> None:
        steps = iter(range(10**6))
        original = ClassificationLesson.loss

        def loss(self, *arguments):
            if next(steps) == step:
                happening()
            return original(self, *arguments)

        monkeypatch.setattr(ClassificationLesson, "loss", loss)

    return arrange


def test_a_better_model_is_taken_into_use_and_all_is_on_record(order, registry, enough_data):
    told = []
    outcome = carry_out(order(epochs=4, data=(enough_data,)), registry, listener=told.append, bar=False)
    assert outcome.promoted, outcome.answer
    assert in_use(registry) == outcome.version == "classification-0001"
    version = registry.find(outcome.version)
    assert (version.parent, version.who) == (None, "tester")
    assert version.configuration["schedule"]["epochs"] == 4
    card = version.read_card()
    assert card.used_folds["drawn"].fit == tuple(range(8))
    assert card.used_folds["drawn"].select == (8,)
    run = Path(outcome.run)
    rows = list(csv.DictReader((run / "log.csv").open()))
    assert [float(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert len((run / "split.csv").read_text().splitlines()) == 701
    phases = list(dict.fromkeys(progress.phase for progress in told))
    assert phases == ["reading", "training", "calibrating", "comparing", "finished"]
    assert asdict(told[-1])["version"] == outcome.version


def test_the_same_seed_gives_the_same_model_and_another_seed_another(order, registry):
    one, same, other = (
        carry_out(order(epochs=1, seed=seed), registry, run=registry.folder / name, bar=False)
        for name, seed in (("one", 0), ("same", 0), ("other", 1))
    )
    kept = [weights(registry.find(outcome.version).folder) for outcome in (one, same, other)]
    assert kept[0] == kept[1]
    assert kept[0] != kept[2]


def test_a_finished_training_is_not_done_twice(order, registry):
    first = carry_out(order(epochs=1), registry, bar=False)
    assert carry_out(order(epochs=1), registry, bar=False) == first
    trained = [version for version in registry.versions("classification") if not version.is_reference]
    assert len(trained) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_training_changes_nothing_and_ends_as_an_undisturbed_one(order, registry, at_step, number):
    whole = carry_out(order(), registry, run=registry.folder / "whole", bar=False)
    before = registry.history()
    at_step(9, lambda: os.kill(os.getpid(), number))
    with pytest.raises(KeyboardInterrupt):
        carry_out(order(), registry, bar=False)
    assert registry.history() == before
    assert latest_progress(registry.folder, "classification").phase == "stopped"
    assert not is_training(registry.folder)
    again = carry_out(order(), registry, bar=False)
    assert weights(registry.find(again.version).folder) == weights(registry.find(whole.version).folder)


def test_what_kill_9_leaves_is_called_interrupted_and_goes_on(order, registry, at_step):
    """A killed process writes nothing on its way out: neither progress nor checkpoint."""

    patch = pytest.MonkeyPatch()

    def killed():
        patch.setattr("dermcheck.training.progress.ProgressFile.__call__", lambda *_: None)
        raise SystemError("killed")

    at_step(9, killed)
    with pytest.raises(SystemError):
        carry_out(order(), registry, bar=False)
    patch.undo()
    progress = latest_progress(registry.folder, "classification")
    assert (progress.phase, progress.epoch) == ("interrupted", 1)
    assert in_use(registry) == "reference"
    outcome = carry_out(order(), registry, bar=False)
    rows = list(csv.DictReader((Path(outcome.run) / "log.csv").open()))
    assert [float(row["epoch"]) for row in rows] == [1, 2]


def test_a_loss_that_is_not_a_number_ends_in_a_sentence(order, registry):
    with pytest.raises(TrainingError, match=r"learning rate is too high.*untouched"):
        carry_out(order(rate=1e30), registry, bar=False)
    progress = latest_progress(registry.folder, "classification")
    assert progress.phase == "failed"
    assert "learning rate is too high" in progress.answer
    assert (in_use(registry), registry.history()) == ("reference", [])


@pytest.mark.parametrize("name", ["checkpoint.pt", "split.csv", "log.csv"])
def test_a_full_disk_ends_in_a_sentence_and_afterwards_it_goes_on(order, registry, name, fill_disk):
    run = registry.folder / "run"
    make_room = fill_disk(name)
    with pytest.raises(StorageError, match="No space left on device"):
        carry_out(order(), registry, run=run, bar=False)
    assert (in_use(registry), registry.history()) == ("reference", [])
    make_room()
    assert carry_out(order(), registry, run=run, bar=False).version == "classification-0001"


def test_a_candidate_that_cannot_be_kept_changes_nothing(order, registry, monkeypatch):
    def refuse(*_, **__):
        raise StorageError("the disk is full")

    monkeypatch.setattr(job, "compete", refuse)
    with pytest.raises(StorageError, match="the disk is full"):
        carry_out(order(epochs=1), registry, bar=False)
    monkeypatch.undo()
    assert in_use(registry) == "reference"


def test_the_folder_of_another_run_is_refused_in_words(order, registry, at_step):
    run = registry.folder / "run"
    at_step(9, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        carry_out(order(), registry, run=run, bar=False)
    with pytest.raises(TrainingError, match=r"another schedule.*empty folder"):
        carry_out(order(epochs=3), registry, run=run, bar=False)


def test_one_training_runs_at_a_time(order, registry):
    with one_training(registry.folder, "segmentation"):
        assert is_training(registry.folder)
        with pytest.raises(TrainingRunsError, match="running already"):
            carry_out(order(), registry, bar=False)
    assert not is_training(registry.folder)


def test_an_unfinished_outcome_is_refused_in_words(order, registry):
    run = registry.folder / "run"
    run.mkdir(parents=True)
    (run / "outcome.json").write_text("half an outc")
    with pytest.raises(StorageError, match="not the outcome of a training"):
        carry_out(order(), registry, run=run, bar=False)


def test_a_class_without_photographs_is_refused_in_words(order, registry, make_data_set, tmp_path):
    folder = make_data_set(tmp_path / "data", 7)
    table = (folder / "labels.csv").read_text().replace(",mel,", ",nv,")
    (folder / "labels.csv").write_text(table)
    with pytest.raises(DermCheckError, match="no photograph of mel in folds 0 to 7"):
        carry_out(order(data=(folder,)), registry, bar=False)


# ---- corrections ----


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_corrections_teach_the_model_in_use_without_touching_it(task, corrected_studies, registry):
    """The real networks. Of 24 drawn patients, the gate can tell nothing, so that the old model stays."""
    order = TrainingOrder(
        task=task, studies=str(corrected_studies), from_corrections=True, epochs=1, batch=32, who="tester"
    )
    reference = weights(registry.in_use(task).folder)
    given_up = registry.folder / f"training/{task}-corrections-before/{CHECKPOINT_NAME}"
    given_up.parent.mkdir(parents=True)
    given_up.touch()
    outcome = carry_out(order, registry, bar=False)
    assert not outcome.promoted
    assert not given_up.exists()  # with fewer corrections: nobody can go on with it
    assert "too few" in outcome.answer
    version = registry.find(outcome.version)
    assert version.parent == "reference"
    assert version.configuration["corrections_learnt"] == 24
    assert len(last_learnt(registry.folder, task, registry.history()).labels) == 24
    assert weights(registry.in_use(task).folder) == reference != weights(version.folder)
    started, _ = registry.in_use(task).load()
    learnt, card = load_model(version.folder)
    assert "Went on from" in card.data
    assert "not to be passed on" in card.licence
    changed = {
        name
        for name, value in learnt.state_dict().items()
        if not torch.equal(value, started.state_dict()[name])
    }
    assert changed
    assert not any(name.startswith(("features.denseblock1", "model.0")) for name in changed)


def test_reference_data_is_replayed_and_judged_on(corrected_studies, drawn_data, registry, monkeypatch):
    seen = {}

    def spy(configuration, photographs, start, run, progress, **options):
        seen["sources"] = set(photographs.source)
        seen["configuration"] = configuration
        return train(configuration, photographs, start, run, progress, **options)

    monkeypatch.setattr(job, "train", spy)
    order = TrainingOrder(
        task="classification",
        studies=str(corrected_studies),
        from_corrections=True,
        reference_data=(drawn_data,),
        epochs=1,
        batch=32,
    )
    outcome = carry_out(order, registry, bar=False)
    assert seen["sources"] == {"corrections", "drawn"}
    assert seen["configuration"].corrections_share == 0.5
    judged = registry.history()[-1].details["figures"]
    assert judged["photographs"] == 14 + 3  # fold 9 of both
    assert outcome.answer == registry.history()[-1].reason


def test_too_few_corrections_are_refused_with_the_number_needed(make_corrections, tmp_path, registry):
    studies = make_corrections(tmp_path / "studies", 3)
    order = TrainingOrder(task="classification", studies=str(studies), from_corrections=True)
    with pytest.raises(
        DataError, match=r"3 corrections with a diagnosis, and at least 20 .* Correct 17 more"
    ):
        carry_out(order, registry, bar=False)
    assert latest_progress(registry.folder, "classification").phase == "failed"


def test_where_one_photograph_is_missing_one_is_asked_for(make_corrections, tmp_path, registry):
    studies = make_corrections(tmp_path / "studies", 19)
    order = TrainingOrder(task="segmentation", studies=str(studies), from_corrections=True)
    with pytest.raises(DataError, match="Correct 1 more photograph; the corrections made so far"):
        carry_out(order, registry, bar=False)


def test_a_single_correction_is_refused_in_words(make_corrections, tmp_path, registry):
    studies = make_corrections(tmp_path / "studies", 1)
    order = TrainingOrder(task="segmentation", studies=str(studies), from_corrections=True)
    with pytest.raises(DataError, match="There is 1 correction with an outline"):
        carry_out(order, registry, bar=False)


def test_progress_is_a_file_that_others_can_read(order, registry):
    outcome = carry_out(order(epochs=1), registry, bar=False)
    kept = json.loads((registry.folder / "training/classification.json").read_text())
    assert (kept["phase"], kept["epoch"], kept["total_epochs"]) == ("finished", 1, 1)
    assert (kept["metric"], kept["version"]) == ("balanced_accuracy", outcome.version)


# ---- dendrites ----


def test_the_tracker_of_the_dendrites_is_told_what_the_evaluator_found(order, registry, monkeypatch):
    """Each epoch once, in step, to the last bit; and the grown network is published in plain torch."""
    told, found = [], []
    close = DendriteGrowth.close
    monkeypatch.setattr(DendriteGrowth, "close", lambda self: (told.append(self.history), close(self)))

    def evaluate(*arguments):
        figures = run_evaluator(*arguments)
        if found:  # never better than at first, whatever this machine computes: so a dendrite is tried
            figures["balanced_accuracy"] = min(found[0], figures["balanced_accuracy"])
        found.append(figures["balanced_accuracy"])
        return figures

    monkeypatch.setattr("dermcheck.training.classification.run_evaluator", evaluate)
    settings = DendriteSettings(patience=1, most=1, weight=0.1)
    outcome = carry_out(order(dendrites=settings, epochs=8), registry, bar=False)
    assert told == [tuple(found)]
    assert len(found) > 2
    rows = list(csv.DictReader((Path(outcome.run) / "log.csv").open()))
    assert [float(row["balanced_accuracy"]) for row in rows] == pytest.approx(found, rel=1e-5)
    assert max(float(row["dendrites"]) for row in rows) >= 1, "one was tried"
    network, card = registry.find(outcome.version).load()
    assert card.dendrites == len(getattr(network.out, "dendrites", ()))


def test_where_dendrites_cannot_grow_it_is_said_and_trained_without(order, registry, monkeypatch, caplog):
    monkeypatch.setattr(
        "dermcheck.training.trainer.dendrites_available", lambda: "no wheel for this platform"
    )
    outcome = carry_out(order(dendrites=DendriteSettings(), epochs=1), registry, bar=False)
    assert "no wheel for this platform" in caplog.text
    assert registry.find(outcome.version).read_card().dendrites == 0
