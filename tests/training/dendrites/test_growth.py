import copy
import logging
import os
import pdb
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.handlers import ROCAUC
from torch.optim.swa_utils import AveragedModel

from dermcheck.networks import build_densenet121
from dermcheck.training.dendrites import DendriteError, DendriteGrowth, DendriteSettings


def feed(tiny, growth, scores):
    optimizer, steps = tiny.make_optimizer(growth.network), []
    for epoch, score in enumerate(scores):
        tiny.train_epoch(growth, optimizer, epoch)
        steps.append(growth.after_epoch(score))
        if steps[-1].finished:
            break
        if steps[-1].restructured:
            optimizer = tiny.make_optimizer(growth.network)
    return steps


def test_a_dendrite_is_added_when_the_score_stops_rising_and_growth_ends_at_the_most(tiny, start):
    steps = feed(tiny, start(most=1), [0.3, 0.4, 0.4, 0.5, 0.6, 0.6])
    assert [step.dendrites for step in steps] == [0, 0, 1, 1, 1, 1]
    assert [step.restructured for step in steps] == [False, False, True, False, False, True]
    assert [step.finished for step in steps] == [False] * 5 + [True]


def test_a_dendrite_that_brings_nothing_is_dropped_at_the_end(tiny, start):
    steps = feed(tiny, start(most=3, tries=1), [0.3, 0.5, 0.4, 0.4, 0.4])
    assert max(step.dendrites for step in steps) == 1
    assert steps[-1].finished
    assert steps[-1].dendrites == 0


def test_the_first_epoch_can_be_the_best(tiny, start):
    growth = start(patience=3)
    steps = feed(tiny, growth, [0.6, 0.5, 0.5, 0.5])
    assert growth.best_score == 0.6
    assert [step.restructured for step in steps] == [False, False, False, True]


def test_at_the_end_the_network_holds_the_weights_of_its_best_epoch(tiny, start):
    growth = start(most=1)
    optimizer, kept = tiny.make_optimizer(growth.network), {}
    for epoch, score in enumerate([0.3, 0.4, 0.4, 0.5, 0.7, 0.6]):
        tiny.train_epoch(growth, optimizer, epoch)
        kept[score] = growth.export().state_dict()
        step = growth.after_epoch(score)
        if step.restructured:
            optimizer = tiny.make_optimizer(growth.network)
    assert step.finished
    assert growth.best_score == 0.7
    torch.testing.assert_close(growth.export().state_dict(), kept[0.7], rtol=0, atol=0)


def test_training_that_ends_before_growth_does_can_take_the_best_weights(tiny, start):
    """Also those of before the last restructuring: the dendrite that brought nothing is dropped."""
    growth = start(most=2)
    optimizer, kept = tiny.make_optimizer(growth.network), {}
    for epoch, score in enumerate([0.3, 0.5, 0.4, 0.45]):
        tiny.train_epoch(growth, optimizer, epoch)
        kept[score] = growth.export().state_dict()
        if growth.after_epoch(score).restructured:
            optimizer = tiny.make_optimizer(growth.network)
    assert growth.dendrites == 1
    growth.load_best()
    assert growth.dendrites == 0
    torch.testing.assert_close(growth.export().state_dict(), kept[0.5], rtol=0, atol=0)
    with pytest.raises(DendriteError, match="Growth has ended"):
        growth.after_epoch(0.6)


def test_the_trackers_history_is_the_evaluators(tiny, start):
    """MONAI's own metric handler evaluates; each value must arrive, also around restructurings."""
    growth = start(most=2, tries=2)
    optimizer, values, restructured = tiny.make_optimizer(growth.network), [], []

    def predict(engine: Engine, _):
        pixels, target = tiny.batch(100 + trainer.state.epoch)
        with torch.no_grad():
            probability = growth.network.eval()(pixels).softmax(1)[:, 3:4]
        return {"pred": list(probability), "label": list((target == 3).float()[:, None])}

    evaluator = Engine(predict)
    ROCAUC(output_transform=lambda o: (o["pred"], o["label"])).attach(evaluator, "auc")
    trainer = Engine(lambda engine, _: tiny.train_epoch(growth, optimizer, engine.state.epoch))

    @trainer.on(Events.EPOCH_COMPLETED)
    def tell(engine: Engine) -> None:
        nonlocal optimizer
        evaluator.run([0])
        values.append(evaluator.state.metrics["auc"])
        step = growth.after_epoch(values[-1])
        restructured.append(step.restructured)
        if step.finished:
            engine.terminate()
        elif step.restructured:
            optimizer = tiny.make_optimizer(growth.network)

    trainer.run([0], max_epochs=12)
    assert growth.history == tuple(values)
    assert sum(restructured) >= 2
    assert len(set(values)) > 2


@pytest.mark.parametrize("score", [float("nan"), float("inf"), np.float64("nan")])
def test_a_score_that_is_no_number_gives_a_sentence_and_changes_nothing(tiny, start, caplog, score):
    growth = start(most=2)
    feed(tiny, growth, [0.3, 0.4])
    before = copy.deepcopy(growth.state())
    with caplog.at_level(logging.WARNING):
        step = growth.after_epoch(score)
    assert (
        step.ignored
        == f"The score of this epoch is {score}, not a number: the dendrites' tracker ignores the epoch."
    )
    assert step.ignored in caplog.messages
    assert not step.restructured
    assert growth.state() == before


def test_after_an_ignored_score_growth_goes_on_as_if_it_had_not_been(tiny, start):
    growth = start(most=1)
    optimizer = tiny.make_optimizer(growth.network)
    steps = []
    for epoch, score in enumerate([0.3, 0.4, float("nan"), 0.4]):
        tiny.train_epoch(growth, optimizer, epoch)
        steps.append(growth.after_epoch(score))
    assert [step.restructured for step in steps] == [False, False, False, True]
    assert growth.history == (0.3, 0.4, 0.4)
    assert growth.best_score == 0.4


def test_a_score_before_any_training_is_refused(start):
    with pytest.raises(DendriteError, match="train before scoring"):
        start().after_epoch(0.5)


def test_a_second_network_in_the_same_process_is_refused_until_the_first_is_closed(tiny, start, tmp_path):
    first = start()
    with pytest.raises(DendriteError, match="Another network is growing dendrites in this process"):
        DendriteGrowth.start(tiny.Tiny(), "tiny", DendriteSettings(), tmp_path / "second")
    first.close()
    with DendriteGrowth.start(tiny.Tiny(), "tiny", DendriteSettings(), tmp_path / "second") as second:
        assert second.dendrites == 0
    with pytest.raises(DendriteError, match="closed"):
        first.after_epoch(0.5)


def test_a_network_trained_after_another_one_is_the_same_as_trained_first(tiny, start):
    exported = []
    for where in ("head", "last_block", "head"):
        torch.manual_seed(1)
        growth = start(where=where, most=2)
        steps = feed(tiny, growth, tiny.SCORES)
        exported.append((steps, growth.export().state_dict()))
        growth.close()
    assert exported[0][0] == exported[2][0]
    torch.testing.assert_close(exported[0][1], exported[2][1], rtol=0, atol=0)


def test_the_working_directory_the_debugger_and_the_random_numbers_are_left_alone(tiny, start):
    directory, debugger = Path.cwd(), pdb.set_trace
    growth = start(most=1)
    tiny.train_epoch(growth, tiny.make_optimizer(growth.network), 0)
    random = torch.get_rng_state()
    for score in (0.3, 0.4, 0.3):
        growth.after_epoch(score)
    assert growth.dendrites == 1
    assert torch.equal(torch.get_rng_state(), random)
    assert Path.cwd() == directory
    assert pdb.set_trace is debugger
    assert sys.exit.__module__ == "sys"


def test_nothing_is_printed_and_no_graph_is_drawn(tiny, start, tmp_path, capfd):
    feed(tiny, start(most=2), tiny.SCORES)
    output = capfd.readouterr()
    assert output.out == ""
    assert output.err == ""
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".png", ".csv"}]


def test_only_the_best_weights_are_kept_on_disk(tiny, start, tmp_path):
    feed(tiny, start(most=2), tiny.SCORES)
    weights = [path.name for path in tmp_path.rglob("*") if path.suffix in {".pt", ".safetensors"}]
    assert len(weights) <= 2
    assert "best_model.pt" in weights


def test_the_debugger_of_perforatedai_becomes_a_sentence(tiny, start):
    growth = start()
    tiny.train_epoch(growth, tiny.make_optimizer(growth.network), 0)
    wrapped = torch.nn.DataParallel(growth.network)  # it wants the network itself
    with pytest.raises(DendriteError, match="asked for its debugger"), growth._calling():
        growth._tracker.add_validation_score(0.5, wrapped)


def test_an_exit_of_perforatedai_becomes_a_sentence(tiny, start):
    growth = start()
    with pytest.raises(DendriteError, match=r"wanted to end the program \(status 1\)"), growth._calling():
        growth._package.utils.perforate_model(tiny.Tiny(), save_name="not/allowed")


def test_an_exit_in_a_backward_pass_becomes_a_sentence_too(tiny, start):
    growth = start()
    growth.network.out.set_this_output_dimensions([-1, 0, -1])  # not what a linear layer gives
    pixels, target = tiny.batch(0)
    logits = growth.network.train()(pixels)
    with pytest.raises(DendriteError, match=r"wanted to end the program \(status 0\)"):
        torch.nn.functional.cross_entropy(logits, target).backward()


def test_a_setting_that_perforatedai_does_not_have_is_refused(start):
    package = start()._package
    with pytest.raises(DendriteError, match="has no setting n_epoch_to_switch"):
        package.configure({"n_epoch_to_switch": 3})  # perforatedai itself says nothing
    with pytest.raises(AttributeError):
        package.globals.pc._n_epoch_to_switch  # noqa: B018


def test_the_paid_package_is_not_used(start):
    assert start()._package.globals.pc.get_perforated_backpropagation() is False


def test_settings_of_an_earlier_run_in_the_folder_are_not_read(tiny, start, tmp_path):
    growth = start(patience=7)
    growth.close()
    assert list(tmp_path.rglob("growth_config.json")), "perforatedai keeps its settings there"
    assert start(patience=1)._package.globals.pc.get_n_epochs_to_switch() == 1


def test_an_average_of_the_network_can_be_kept_and_exported(tiny, grow):
    growth = grow(1)
    average = AveragedModel(growth.network, use_buffers=True)
    optimizer = tiny.make_optimizer(growth.network)
    for epoch in range(2):
        tiny.train_epoch(growth, optimizer, epoch)
        average.update_parameters(growth.network)
    pixels, _ = tiny.batch(0)
    expected = average.module.eval()(pixels)
    exported = growth.export(average.module)
    torch.testing.assert_close(exported(pixels), expected, rtol=0, atol=1e-6)
    assert not torch.equal(exported(pixels), growth.network.eval()(pixels))


def test_channels_last_memory_is_kept(tiny, start):
    growth = start(most=1)
    growth.network.to(memory_format=torch.channels_last)
    feed(tiny, growth, [0.3, 0.4, 0.4])
    weight = growth.network.block1[0].weight
    assert growth.dendrites == 1
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()


def test_an_architecture_without_a_head_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(DendriteError, match="no place for dendrites"):
        DendriteGrowth.start(build_densenet121(), "unet", DendriteSettings(), tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="a file as a folder is refused differently elsewhere")
def test_a_folder_that_cannot_be_written_gives_a_sentence(tiny, tmp_path):
    (tmp_path / "run").write_text("not a folder")
    with pytest.raises(OSError, match="dendrites' state cannot be written here"):
        DendriteGrowth.start(tiny.Tiny(), "tiny", DendriteSettings(), tmp_path / "run")
