import pytest
import torch

from dermcheck.errors import ModelError
from dermcheck.networks import ARCHITECTURES, build_network


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_every_architecture_gives_the_shape_of_its_task(name):
    task = ARCHITECTURES[name].task
    network = build_network(name, task).eval()
    output = network(torch.zeros(2, 3, 64, 96))
    assert output.shape == ((2, 7) if task == "classification" else (2, 1, 64, 96))


@pytest.mark.parametrize("name", [name for name, entry in ARCHITECTURES.items() if entry.head])
def test_every_head_takes_dendrites(name):
    network = build_network(name, ARCHITECTURES[name].task, dendrites=1).eval()
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


def test_an_unknown_architecture_is_refused_with_the_known_ones():
    with pytest.raises(ModelError, match=r"'resnet' is unknown; expected one of densenet121, "):
        build_network("resnet", "classification")


def test_an_architecture_of_the_other_task_is_refused():
    with pytest.raises(ModelError, match="unet is for segmentation, but the model's task is classification"):
        build_network("unet", "classification")


def test_dendrites_without_a_place_are_refused():
    with pytest.raises(ModelError, match="The card says 2 dendrites, but unet has no place for them"):
        build_network("unet", "segmentation", dendrites=2)
