from collections import OrderedDict

import pytest
import torch
from torch.nn import functional as F

from dermcheck.networks.efficientnet import (
    EfficientNetLite0,
    EfficientNetLite0Pair,
    build_efficientnet_lite0,
    build_efficientnet_lite0_unet,
    load_imagenet_weights,
)

PUBLISHED_PARAMETERS = 4_652_008
"""Of EfficientNet-Lite0 with its 1000 classes, as its authors' model card says (4.7 million)."""


def published_state(network: EfficientNetLite0) -> OrderedDict[str, torch.Tensor]:
    """Random tensors under the names of the published file, in its order."""
    torch.manual_seed(1)
    state = OrderedDict(
        (f"_blocks.{i}", torch.rand(tensor.shape) if tensor.is_floating_point() else tensor)
        for i, tensor in enumerate(network.encoder.state_dict().values())
    )
    for name, tensor in zip(
        ("_conv_head.weight", *(f"_bn1.{field}" for field in ("weight", "bias", "mean", "var", "count"))),
        network.top.state_dict().values(),
        strict=True,
    ):
        state[name] = torch.rand(tensor.shape) if tensor.is_floating_point() else tensor
    state["_fc.weight"] = torch.zeros(1000, 1280)
    return state


def test_it_has_as_many_parameters_as_the_published_network():
    network = EfficientNetLite0()
    own_head = sum(parameter.numel() for parameter in network.out.parameters())
    total = sum(parameter.numel() for parameter in network.parameters())
    assert total - own_head + 1280 * 1000 + 1000 == PUBLISHED_PARAMETERS


def test_halving_an_even_size_pads_right_and_below_as_tensorflow_does():
    stem = EfficientNetLite0().encoder.stem[0]
    pixels = torch.rand(1, 3, 32, 32)
    expected = F.conv2d(F.pad(pixels, (0, 1, 0, 1)), stem[1].weight, stride=2)
    assert torch.equal(stem(pixels), expected)


def test_the_feature_maps_halve_five_times():
    maps = EfficientNetLite0().eval().encoder(torch.rand(1, 3, 64, 96))
    assert [tuple(values.shape[1:]) for values in maps] == [
        (16, 32, 48),
        (24, 16, 24),
        (40, 8, 12),
        (112, 4, 6),
        (320, 2, 3),
    ]


def test_published_weights_fill_encoder_and_top_but_not_the_head():
    network = EfficientNetLite0()
    head = network.out.weight.clone()
    state = published_state(network)
    load_imagenet_weights(network, state)
    loaded = [*network.encoder.state_dict().values(), *network.top.state_dict().values()]
    for tensor, expected in zip(loaded, list(state.values())[:-1], strict=True):
        assert torch.equal(tensor, expected)
    assert torch.equal(network.out.weight, head)


def test_the_u_net_takes_the_encoder_weights_alone():
    network = build_efficientnet_lite0_unet()
    state = published_state(EfficientNetLite0())
    load_imagenet_weights(network, state)
    assert torch.equal(network.encoder.state_dict()["stem.0.1.weight"], state["_blocks.0"])


def test_weights_of_another_network_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        load_imagenet_weights(EfficientNetLite0(), {"_conv_stem.weight": torch.rand(32, 3, 3, 3)})


def test_a_pair_gives_the_mean_of_both_logits_and_keeps_both_apart_from_it():
    first, second = (build_efficientnet_lite0().eval() for _ in range(2))
    pair = EfficientNetLite0Pair.of_two(first, second)
    pixels = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        expected = (first(pixels) + second(pixels)) / 2
        torch.testing.assert_close(pair(pixels), expected)
        first.out.bias += 1  # the pair has weights of its own
        torch.testing.assert_close(pair(pixels), expected)
    assert not pair.training
