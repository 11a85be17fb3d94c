import pytest
import torch
from torch import nn

from dermcheck.networks import DendriticLinear, build_densenet121, build_network
from dermcheck.networks.dendrites import replace_head


def test_the_output_is_the_sum_of_the_neuron_and_its_weighted_dendrites():
    torch.manual_seed(0)
    head = DendriticLinear(5, 3, dendrites=2)
    nn.init.normal_(head.to_neuron)
    nn.init.normal_(head.between)
    x = torch.randn(4, 5)
    first = torch.sigmoid(x @ head.dendrites[0].weight.T + head.dendrites[0].bias)
    second = torch.sigmoid(
        x @ head.dendrites[1].weight.T + head.dendrites[1].bias + head.between[1, 0] * first
    )
    expected = x @ head.neuron.weight.T + head.neuron.bias
    expected = expected + head.to_neuron[0] * first + head.to_neuron[1] * second
    torch.testing.assert_close(head(x), expected)


def test_fresh_dendrites_change_nothing():
    head = DendriticLinear(5, 3, dendrites=3)
    x = torch.randn(4, 5)
    torch.testing.assert_close(head(x), head.neuron(x))


def test_a_dendrite_is_not_influenced_by_later_ones():
    torch.manual_seed(0)
    head = DendriticLinear(5, 3, dendrites=2)
    nn.init.normal_(head.to_neuron)
    x = torch.randn(4, 5)
    before = head(x)
    with torch.no_grad():
        head.between[0, 1] = 100.0
        head.between[0, 0] = 100.0
    torch.testing.assert_close(head(x), before)


def test_no_dendrites_is_refused_as_that_is_a_plain_layer():
    with pytest.raises(ValueError, match=r"use nn\.Linear"):
        DendriticLinear(5, 3, dendrites=0)


def test_the_head_of_densenet121_is_replaced_and_the_rest_stays():
    plain = build_densenet121()
    dendritic = build_network("densenet121", "classification", dendrites=2)
    assert isinstance(dendritic.get_submodule("class_layers.out"), DendriticLinear)
    outside = {name for name in plain.state_dict() if not name.startswith("class_layers.out.")}
    assert outside == {name for name in dendritic.state_dict() if not name.startswith("class_layers.out.")}
    assert dendritic.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


def test_only_a_linear_layer_can_have_dendrites():
    with pytest.raises(TypeError, match="0 is a ReLU, expected a Linear layer"):
        replace_head(nn.Sequential(nn.ReLU()), "0", 1)
