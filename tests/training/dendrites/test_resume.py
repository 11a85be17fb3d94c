import json
import signal

import pytest
import torch

from dermcheck.training.dendrites import DendriteError, DendriteGrowth, DendriteSettings


def result(folder):
    return json.loads((folder / "result.json").read_text()), torch.load(
        folder / "exported.pt", weights_only=True
    )


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is a matter of POSIX")
def test_a_run_killed_anywhere_and_resumed_ends_as_an_uninterrupted_one(tmp_path, run_program):
    """Killed after an epoch, and between the tracker's files and the checkpoint, around a restructuring."""
    once, often = tmp_path / "whole", tmp_path / "killed"
    once.mkdir()
    often.mkdir()
    runs = (once, None), (often, 2), (often, 4.5), (often, 6), (often, None)
    assert run_program(*runs) == [0, -signal.SIGKILL, -signal.SIGKILL, -signal.SIGKILL, 0]
    (whole, weights), (killed, weights_killed) = result(once), result(often)
    assert killed["history"] == whole["history"]
    assert killed["steps"] == whole["steps"][-len(killed["steps"]) :]
    assert sum(restructured for restructured, _, _ in whole["steps"]) >= 2
    torch.testing.assert_close(weights_killed, weights, rtol=1e-5, atol=1e-6)


def test_the_state_of_other_settings_is_refused(tiny, start, tmp_path):
    growth = start(patience=2)
    state = growth.state()
    growth.close()
    with pytest.raises(DendriteError, match="other dendrite settings"):
        DendriteGrowth.restore(tiny.Tiny(), "tiny", DendriteSettings(patience=3), tmp_path, state)


def test_a_folder_without_the_best_weights_is_refused_and_nothing_in_it_is_lost(tiny, start, tmp_path):
    growth = start(most=1)
    tiny.train_epoch(growth, tiny.make_optimizer(growth.network), 0)
    growth.after_epoch(0.5)
    state = growth.state()
    growth.close()
    other = tmp_path / "other"
    (other / "dendrites").mkdir(parents=True)
    (other / "dendrites" / "best-00009.safetensors").write_bytes(b"of another run")
    with pytest.raises(DendriteError, match="the checkpoint belongs to another folder"):
        DendriteGrowth.restore(tiny.Tiny(), "tiny", growth.settings, other, state)
    assert (other / "dendrites" / "best-00009.safetensors").read_bytes() == b"of another run"


def test_the_state_can_be_saved_without_pickle(tiny, start, tmp_path):
    growth = start(most=1)
    for epoch, score in enumerate((0.3, 0.4, 0.4)):
        tiny.train_epoch(growth, tiny.make_optimizer(growth.network), epoch)
        growth.after_epoch(score)
    torch.save(growth.state(), tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True) == growth.state()
    assert json.loads(json.dumps(growth.state())) == growth.state()
