from dataclasses import replace

import pytest
from torch import nn

from dermcheck.errors import ArgumentError
from dermcheck.networks import build_densenet121, build_unet
from dermcheck.networks.architectures import ARCHITECTURES
from dermcheck.training.dendrites import DendriteError, DendriteSettings
from dermcheck.training.dendrites.settings import perforated_layers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("where", "heads"),
        ("weight", -0.1),
        ("weight", float("nan")),
        ("most", 0),
        ("patience", 1.5),
        ("tries", 0),
        ("improvement", 1.0),
        ("seed", -1),
    ],
)
def test_a_setting_out_of_range_is_refused_with_its_name_and_value(name, value):
    with pytest.raises(ArgumentError, match=f"dendrite setting {name} is {value!r}, expected"):
        DendriteSettings(**{name: value})


def test_the_head_of_densenet121_is_its_last_linear_layer():
    assert perforated_layers(build_densenet121(), "densenet121", "head") == ("class_layers.out",)


def test_the_last_block_of_densenet121_has_sixteen_layers_of_two_convolutions_and_the_head():
    layers = perforated_layers(build_densenet121(), "densenet121", "last_block")
    assert len(layers) == 33
    assert all(name.startswith("features.denseblock4.") for name in layers[:-1])
    assert layers[-1] == "class_layers.out"


def test_the_whole_network_has_every_convolution_and_ends_with_the_head():
    network = build_densenet121()
    layers = perforated_layers(network, "densenet121", "network")
    kinds = (nn.Conv2d, nn.Linear)
    assert set(layers) == {name for name, layer in network.named_modules() if isinstance(layer, kinds)}
    assert layers[-1] == "class_layers.out"


def test_a_network_that_outlines_has_no_place_for_dendrites():
    with pytest.raises(DendriteError, match="unet has no linear layer of classes"):
        perforated_layers(build_unet(), "unet", "head")


def test_the_last_block_of_an_architecture_without_one_is_refused(monkeypatch):
    entry = replace(ARCHITECTURES["efficientnet_lite0"], last_block=None)
    monkeypatch.setitem(ARCHITECTURES, "efficientnet_lite0", entry)
    with pytest.raises(DendriteError, match="efficientnet_lite0 has no last block for dendrites"):
        perforated_layers(nn.Linear(1, 1), "efficientnet_lite0", "last_block")


def test_the_last_block_of_efficientnet_lite0_has_three_convolutions():
    network = ARCHITECTURES["efficientnet_lite0"].build()
    layers = perforated_layers(network, "efficientnet_lite0", "last_block")
    assert len(layers) == 4
    assert all(name.startswith("encoder.blocks.15.") for name in layers[:-1])
    assert layers[-1] == "out"
