import time

import torch
from torch import nn

from dermcheck.training import numerics
from dermcheck.training.numerics import Numerics, best_device, fastest_numerics, remembered_numerics


def test_timing_a_step_leaves_the_network_untouched(make_classifier):
    network = make_classifier()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fastest_numerics(network, 32, 4)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name])
    assert all(parameter.grad is None for parameter in network.parameters())


def test_what_is_slow_in_bfloat16_is_trained_in_float32():
    class Slow(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, pixels):
            if torch.is_autocast_enabled("cpu"):
                for _ in range(300):
                    self.layer(pixels)
            return self.layer(pixels)

    assert fastest_numerics(Slow(), 64, 4, torch.device("cpu")).precision is torch.float32


def test_a_first_step_that_prepares_something_does_not_count():
    class Prepares(nn.Module):
        """Is quick in bfloat16, once the first step has compiled what it needs."""

        prepared = False

        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, pixels):
            if not torch.is_autocast_enabled("cpu"):
                time.sleep(0.1)
            elif not Prepares.prepared:
                Prepares.prepared = True
                time.sleep(1)
            return self.layer(pixels)

    assert fastest_numerics(Prepares(), 8, 4, torch.device("cpu")).precision is torch.bfloat16


def test_bfloat16_is_automatic_mixed_precision():
    numerics = Numerics(torch.device("cpu"), torch.bfloat16)
    layer = nn.Linear(4, 4)
    with numerics.autocast():
        assert layer(torch.rand(1, 4)).dtype is torch.bfloat16
    assert layer.weight.dtype is torch.float32


def test_batches_come_in_the_chosen_memory_format():
    pixels = torch.rand(2, 3, 8, 8)
    placed = Numerics(torch.device("cpu")).place(pixels)
    assert placed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(placed, pixels)


def test_a_device_that_exists_is_chosen():
    assert torch.zeros(1, device=best_device()).item() == 0


def test_the_answer_is_remembered_so_that_a_training_can_be_repeated(tmp_path, make_classifier, monkeypatch):
    path, asked = tmp_path / "cache" / "numerics.json", []

    def fastest(network, side, batch, device):
        asked.append(side)
        return Numerics(device, torch.bfloat16, torch.contiguous_format)

    monkeypatch.setattr(numerics, "fastest_numerics", fastest)
    cpu = torch.device("cpu")
    first, again = (remembered_numerics(path, "tiny", make_classifier(), 32, 4, cpu) for _ in range(2))
    assert first == again == Numerics(cpu, torch.bfloat16, torch.contiguous_format)
    assert asked == [32]
    remembered_numerics(path, "tiny", make_classifier(), 64, 4, cpu)
    path.write_text('{"half a fi')
    remembered_numerics(path, "tiny", make_classifier(), 32, 4, cpu)
    assert asked == [32, 64, 32]
