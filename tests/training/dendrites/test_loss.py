import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn import functional as F

from dermcheck.training.dendrites import dendrites_available
from dermcheck.training.dendrites.loss import correlation_loss, remaining_error

needs_perforatedai = pytest.mark.skipif(dendrites_available() is not None, reason="needs perforatedai")
numbers = arrays("float32", (6, 3), elements=st.floats(-100, 100, width=32))


def own_parameters(growth):
    """Give the newest dendrite's own weights: of its layer, and of what it hears from earlier ones."""
    grown = growth.network.get_submodule(growth.layers[-1]).dendrite_module
    newest = grown.num_dendrites - 1
    heard = [grown.dendrites_to_dendrites[newest]] if newest else []
    return [*grown.layers[newest].parameters(), *heard]


@given(output=numbers, error=numbers)
def test_the_loss_lies_between_minus_one_and_zero(output, error):
    loss = correlation_loss(torch.from_numpy(output), torch.from_numpy(error)).item()
    assert -1 - 1e-5 <= loss <= 0


def test_an_output_that_follows_the_error_has_minus_one_whatever_its_sign_and_scale():
    error = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    output = error * torch.tensor([2.0, -0.5, 10.0]) + torch.tensor([1.0, 0.0, -3.0])
    assert correlation_loss(output, error).item() == pytest.approx(-1, abs=1e-4)


def test_the_mean_over_classes_counts_each_class_alike():
    error = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    output = torch.stack([error[:, 0], error[:, 0]], 1)  # the second class' error has nothing to do with it
    assert correlation_loss(output, error).item() == pytest.approx(-0.5, abs=1e-6)


def test_a_constant_output_has_no_loss_and_a_finite_gradient():
    output = torch.full((8, 2), 0.5, requires_grad=True)
    loss = correlation_loss(output, torch.randn(8, 2))
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(output.grad).all()


def test_fewer_than_four_images_say_nothing():
    assert correlation_loss(torch.randn(3, 2), torch.randn(3, 2)).item() == 0


@pytest.mark.parametrize("shares", [False, True])
def test_the_error_is_the_gradient_of_the_cross_entropy_by_the_logits(shares):
    logits = torch.randn(5, 7, requires_grad=True)
    target = torch.randint(0, 7, (5,))
    if shares:
        target = torch.softmax(torch.randn(5, 7), 1)
    F.cross_entropy(logits, target, reduction="sum").backward()
    torch.testing.assert_close(remaining_error(logits, target), logits.grad)
    assert not remaining_error(logits, target).requires_grad


@needs_perforatedai
def test_before_a_dendrite_exists_the_loss_is_zero_and_the_total_is_the_cross_entropy(tiny, start):
    growth = start(weight=0.5)
    pixels, target = tiny.batch(0)
    logits = growth.network.train()(pixels)
    cross_entropy = F.cross_entropy(logits, target)
    assert growth.loss(logits, target).item() == 0
    assert growth.add_to(cross_entropy, logits, target) is cross_entropy


@needs_perforatedai
@pytest.mark.parametrize("dendrites", [1, 2])
def test_the_gradient_reaches_the_newest_dendrites_own_weights_and_nothing_else(tiny, grow, dendrites):
    growth = grow(dendrites, weight=0.5)
    pixels, target = tiny.batch(0)
    growth.network.zero_grad()
    growth.loss(growth.network.train()(pixels), target).backward()
    own = {id(parameter) for parameter in own_parameters(growth)}
    assert len(own) == (2 if dendrites == 1 else 3)
    reached = {id(p) for p in growth.network.parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert reached == own


@needs_perforatedai
def test_the_loss_of_a_dendrite_lies_between_minus_one_and_zero_and_can_be_lowered(tiny, grow):
    growth = grow(1, weight=0.5)
    pixels, target = tiny.batch(0)
    optimizer = torch.optim.Adam(own_parameters(growth), 0.05)
    losses = []
    for _ in range(100):
        loss = growth.loss(growth.network.train()(pixels), target)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(-1 <= value < 0 for value in losses)
    assert losses[-1] < losses[0] - 0.1


@needs_perforatedai
def test_with_weight_zero_the_total_is_the_cross_entropy_bit_for_bit(tiny, grow):
    growth = grow(2, weight=0.0)
    pixels, target = tiny.batch(0)
    logits = growth.network.train()(pixels)
    cross_entropy = F.cross_entropy(logits, target)
    assert growth.loss(logits, target).item() < 0  # there would be something to add
    assert growth.add_to(cross_entropy, logits, target) is cross_entropy


@needs_perforatedai
def test_with_a_weight_the_total_is_the_weighted_sum(tiny, grow):
    growth = grow(1, weight=0.25)
    pixels, target = tiny.batch(0)
    logits = growth.network.train()(pixels)
    cross_entropy = F.cross_entropy(logits, target)
    expected = cross_entropy + 0.25 * growth.loss(logits, target)
    torch.testing.assert_close(growth.add_to(cross_entropy, logits, target), expected, rtol=0, atol=0)


@needs_perforatedai
@pytest.mark.parametrize("dendrites", [1, 2])
def test_the_loss_of_a_forward_pass_in_mixed_precision_is_nearly_that_in_single_precision(
    tiny, grow, dendrites
):
    growth = grow(dendrites, weight=0.5)
    pixels, target = tiny.batch(0)
    expected = growth.loss(growth.network.train()(pixels), target).item()
    with torch.autocast("cpu", torch.bfloat16):
        assert growth.network.block2(growth.network.block1(pixels)).dtype == torch.bfloat16
        logits = growth.network(pixels)
    loss = growth.loss(logits, target)
    loss.backward()
    assert loss.item() == pytest.approx(expected, abs=0.05)
    with torch.autocast("cpu", torch.bfloat16):
        assert growth.loss(growth.network(pixels), target).item() == pytest.approx(expected, abs=0.05)
