import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from dermcheck.errors import ModelError
from dermcheck.networks import Calibration, InputSpec, ModelCard, save_model
from dermcheck.networks.architectures import ARCHITECTURES
from dermcheck.networks.dendrites import DendriticLayer, DendriticLinear, replace_layers
from dermcheck.training.dendrites import DendriteGrowth, DendriteSettings

BLOCKER = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"perforatedai", "perforatedbp"}:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Refuse())
try:
    import perforatedai
except ImportError:
    pass
else:
    raise SystemExit("the blocker does not work")
"""


def in_a_process_without_perforatedai(program: str, folder: Path) -> None:
    command = [sys.executable, "-c", BLOCKER + program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


def grow_real_network(architecture: str, where: str, folder: Path) -> tuple[nn.Module, nn.Module]:
    """Train a network a little on drawn pictures until it has two dendrites; also give its export."""
    torch.manual_seed(0)
    network = ARCHITECTURES[architecture].build()
    settings = DendriteSettings(where=where, most=2, patience=1, tries=2)
    with DendriteGrowth.start(network, architecture, settings, folder) as growth:
        pixels, target = torch.randn(8, 3, 32, 32), torch.arange(8) % 7
        for score in (0.3, 0.4, 0.4, 0.5, 0.5, 0.6):
            optimizer = torch.optim.Adam(network.parameters(), 1e-3)
            torch.nn.functional.cross_entropy(network.train()(pixels), target).backward()
            optimizer.step()
            growth.after_epoch(score)
        assert growth.dendrites == 2
        return network.eval(), growth.export()


def make_card(architecture: str, where: str) -> ModelCard:
    return ModelCard(
        name="Dendritic",
        version="1",
        task="classification",
        architecture=architecture,
        dendrites=2,
        dendrites_on=where,
        classes=("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
        input=InputSpec(side=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), geometry="centre_square"),
        calibration=Calibration.identity(),
        data="drawn",
        licence="none",
        command="test",
    )


def test_saved_models_with_dendrites_anywhere_answer_alike_where_perforatedai_cannot_be_imported(tmp_path):
    pixels = torch.rand(2, 3, 64, 64)
    answers = {"pixels": pixels}
    for architecture, where in (
        ("densenet121", "head"),
        ("densenet121", "last_block"),
        ("efficientnet_lite0", "head"),
        ("efficientnet_lite0", "network"),
    ):
        grown, exported = grow_real_network(architecture, where, tmp_path / "run")
        assert isinstance(exported.get_submodule(ARCHITECTURES[architecture].head), DendriticLinear)
        with torch.no_grad():
            torch.testing.assert_close(exported(pixels), grown(pixels), rtol=0, atol=1e-6)
            halved = {
                n: t.half().float() if t.is_floating_point() else t for n, t in exported.state_dict().items()
            }
            exported.load_state_dict(halved)  # a model file holds half precision
            answers[f"{architecture}-{where}"] = exported(pixels)
        card = make_card(architecture, where)
        save_model(tmp_path / f"{architecture}-{where}", exported, card)
    safetensors.torch.save_file(answers, tmp_path / "answers")
    program = """
from pathlib import Path
import safetensors.torch, torch
from dermcheck.networks import load_model
folder = Path(sys.argv[1])
answers = safetensors.torch.load_file(folder / "answers")
pixels = answers.pop("pixels")
assert len(answers) == 4
for name, expected in answers.items():
    network, card = load_model(folder / name)
    with torch.no_grad():
        torch.testing.assert_close(network(pixels), expected, rtol=0, atol=1e-6)
assert "perforatedai" not in sys.modules
"""
    in_a_process_without_perforatedai(program, tmp_path)


def test_a_card_that_names_another_place_than_the_dendrites_have_is_refused(tmp_path):
    _, exported = grow_real_network("efficientnet_lite0", "head", tmp_path / "run")
    card = make_card("efficientnet_lite0", "last_block")
    with pytest.raises(ModelError, match="This network is not the efficientnet_lite0 of its card"):
        save_model(tmp_path / "model", exported, card)
    with pytest.raises(ModelError, match="dendrites_on is 'heads', expected head or last_block or network"):
        replace(card, dendrites_on="heads")


@pytest.mark.parametrize("where", ["head", "last_block", "network"])
def test_exported_outputs_are_those_of_the_perforated_network(tiny, grow, where):
    growth = grow(2, where=where)
    exported = growth.export()
    pixels, _ = tiny.batch(7)
    plain = growth.network.get_submodule(growth.layers[-1]).main_module
    assert not torch.equal(
        exported.get_submodule(growth.layers[-1]).to_neuron, torch.zeros(2, plain.out_features)
    )
    torch.testing.assert_close(exported(pixels), growth.network.eval()(pixels), rtol=0, atol=1e-6)
    assert not any("perforatedai" in type(module).__module__ for module in exported.modules())


def test_dendritic_convolutions_load_where_perforatedai_cannot_be_imported(tiny, grow, tmp_path):
    growth = grow(2, where="network")
    exported = growth.export()
    pixels, _ = tiny.batch(7)
    with torch.no_grad():
        safetensors.torch.save_file({"pixels": pixels, "expected": exported(pixels)}, tmp_path / "answers")
    safetensors.torch.save_file(exported.state_dict(), tmp_path / "weights")
    (tmp_path / "card").write_text(json.dumps([growth.layers, growth.dendrites]))
    program = """
import json
from pathlib import Path
import safetensors.torch, torch
from torch import nn
from dermcheck.networks.dendrites import replace_layers
class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.block2 = nn.Sequential(nn.Conv2d(8, 8, 3, bias=False), nn.ReLU())
        self.out = nn.Linear(8, 7)
    def forward(self, pixels):
        return self.out(self.block2(self.block1(pixels)).mean((2, 3)))
folder = Path(sys.argv[1])
network = Plain().eval()
replace_layers(network, *json.loads((folder / "card").read_text()))
network.load_state_dict(safetensors.torch.load_file(folder / "weights"), strict=True)
answers = safetensors.torch.load_file(folder / "answers")
with torch.no_grad():
    torch.testing.assert_close(network(answers["pixels"]), answers["expected"], rtol=0, atol=1e-6)
"""
    in_a_process_without_perforatedai(program, tmp_path)


def test_a_network_without_dendrites_is_exported_as_the_plain_one(tiny, start):
    growth = start(where="network")
    assert set(growth.export().state_dict()) == set(tiny.Tiny().state_dict())


def test_the_export_leaves_the_growing_network_as_it_is(tiny, grow):
    growth = grow(1)
    before = {name: tensor.clone() for name, tensor in growth.network.state_dict().items()}
    exported = growth.export()
    torch.nn.init.zeros_(exported.out.neuron.weight)
    torch.testing.assert_close(growth.network.state_dict(), before, rtol=0, atol=0)


def test_every_weight_of_an_export_can_be_trained_again(tiny, grow):
    exported = grow(2).export()
    assert all(parameter.requires_grad for parameter in exported.parameters())


def test_replaced_layers_keep_their_weights_and_give_the_same_outputs_at_first(tiny):
    network = tiny.Tiny().eval()
    pixels, _ = tiny.batch(0)
    before = network(pixels)
    replace_layers(network, ["block1.0", "block2.0", "out"], 2)
    assert isinstance(network.block1[0], DendriticLayer)
    torch.testing.assert_close(network(pixels), before, rtol=0, atol=0)


def test_a_normalisation_cannot_have_dendrites(tiny):
    with pytest.raises(TypeError, match=r"block1\.1 is a BatchNorm2d, expected a Linear or Conv2d layer"):
        replace_layers(tiny.Tiny(), ["block1.1"], 1)
