"""Views: image and mask move together, chance is the generator's, validation sees what prediction sees."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from monai.transforms import Compose, MapTransform, Randomizable

from dermcheck.inference.preprocessing import prepare
from dermcheck.networks.cards import InputSpec
from dermcheck.training.data import (
    decode,
    open_data_set,
    to_batch,
    training_transforms,
    validation_transforms,
)
from dermcheck.training.data.transforms import RandomHair, RandomLight, RandomShadesOfGrey, RandomView

HALF = (0.5, 0.5, 0.5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int = 4, side: int = 40) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=generator(1))


# ---- batches ----


def test_a_batch_holds_floats_of_the_rows_asked_for(photographs):
    rows = np.array([5, 0, 5])
    batch = to_batch(photographs, rows, masks=True)
    assert batch["image"].shape == (3, 3, photographs.side, photographs.side)
    assert batch["mask"].shape == (3, 1, photographs.side, photographs.side)
    expected = photographs.images[rows].transpose(0, 3, 1, 2) / np.float32(255)
    np.testing.assert_array_equal(batch["image"].numpy(), expected)
    np.testing.assert_array_equal(batch["mask"][:, 0].numpy(), photographs.masks[rows])
    assert "mask" not in to_batch(photographs, rows)


def test_transforms_are_monais(photographs):
    transforms = training_transforms(32, hair=0.5, colour_constancy=0.5)
    assert isinstance(transforms, Compose)
    assert all(isinstance(transform, MapTransform) for transform in transforms.transforms)
    assert not any(isinstance(transform, Randomizable) for transform in transforms.transforms)


# ---- training ----


@given(seed=st.integers(0, 2**31), scale=st.floats(0.5, 1.4))
def test_image_and_mask_move_together(seed, scale):
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 12:40, 20:52] = 1
    batch = {"image": mask.expand(1, 3, 64, 64), "mask": mask, "generator": generator(seed)}
    view = RandomView(48, scale, scale)(batch)
    brightness = view["image"][0].mean(0)
    middle = (brightness.max() + brightness.min()) / 2
    assume(brightness.max() - brightness.min() >= 0.3)  # else the view holds only lesion or only skin
    assert ((brightness > middle) == (view["mask"][0, 0] > 0.5)).float().mean() > 0.97


def test_views_are_turned_mirrored_and_scaled():
    """Two discs beside the centre, each in a colour of its own, tell where a view came from."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    picture = torch.zeros(1, 3, 64, 64)
    for channel, (row, column) in enumerate(((32, 42), (42, 32))):
        picture[0, channel, (y - row) ** 2 + (x - column) ** 2 < 25] = 1
    view = RandomView(64, 1.0, 1.3)({"image": picture.expand(200, 3, 64, 64), "generator": generator()})[
        "image"
    ]
    weight = view[:, :2] / view[:, :2].sum((2, 3), keepdim=True)
    right = torch.stack([(weight * y).sum((2, 3)), (weight * x).sum((2, 3))], 2)  # centres of the discs
    across = right[:, 0] - right[:, 1]
    angle = torch.atan2(across[:, 0], across[:, 1])
    assert torch.histc(angle, 8, -torch.pi, torch.pi).min() > 10
    centre = 2 * view.shape[-1] / 4
    first, second = right[:, 0] - centre, right[:, 1] - centre
    mirrored = (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) > 0
    assert 0.3 < mirrored.float().mean() < 0.7
    area = view[:, 0].sum((1, 2))
    assert area.max() > 1.5 * area.min()


def test_the_same_seed_draws_the_same_view_and_another_seed_another():
    transforms = training_transforms(24, hair=0.5, colour_constancy=0.5)
    first, again, other = (
        transforms({"image": noise(), "generator": generator(seed)})["image"] for seed in (7, 7, 8)
    )
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert (first - other).abs().mean() > 0.05


def test_the_global_generator_is_neither_used_nor_changed():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    training_transforms(24, hair=0.5, colour_constancy=0.5)({"image": noise(), "generator": generator()})
    assert torch.equal(before, torch.get_rng_state())


def test_views_reach_past_the_border_without_black():
    bright = torch.full((4, 3, 32, 32), 200 / 255)
    view = RandomView(32, 1.4, 1.4)({"image": bright, "generator": generator()})["image"]
    torch.testing.assert_close(view, bright)


def test_the_input_is_left_alone():
    image = noise()
    kept = image.clone()
    training_transforms(24, hair=1.0, colour_constancy=1.0)({"image": image, "generator": generator()})
    torch.testing.assert_close(image, kept, rtol=0, atol=0)


def test_hair_is_dark_thin_and_on_some_images_and_never_on_masks():
    skin, mask = torch.full((200, 3, 64, 64), 0.8), torch.ones(200, 1, 64, 64)
    drawn = RandomHair(0.5)({"image": skin, "mask": mask, "generator": generator()})
    darkened = drawn["image"][:, 0] < 0.79
    share = (darkened.any(2).any(1)).float().mean()
    assert 0.3 < share < 0.6  # a chosen image may draw no hair
    assert darkened.float().mean((1, 2)).max() < 0.75
    assert drawn["image"].min() > 0
    assert torch.equal(drawn["mask"], mask)
    untouched = RandomHair(0.0)({"image": skin, "generator": generator()})["image"]
    assert torch.equal(untouched, skin)


def test_colour_constancy_makes_the_norms_of_the_channels_equal():
    cast = noise() * torch.tensor([1.0, 0.7, 0.4]).view(1, 3, 1, 1)
    neutral = RandomShadesOfGrey(1.0)({"image": cast, "generator": generator()})["image"]
    norms = neutral.pow(6).mean((2, 3)).pow(1 / 6)
    torch.testing.assert_close(norms, norms.mean(1, keepdim=True).expand_as(norms))
    torch.testing.assert_close(norms.mean(1), cast.pow(6).mean((2, 3)).pow(1 / 6).mean(1))
    untouched = RandomShadesOfGrey(0.0)({"image": cast, "generator": generator()})["image"]
    assert torch.equal(untouched, cast)


def test_black_pictures_stay_finite():
    black = torch.zeros(2, 3, 32, 32)
    view = training_transforms(24, hair=1.0, colour_constancy=1.0)({"image": black, "generator": generator()})
    assert torch.isfinite(view["image"]).all()


def test_light_varies_within_bounds():
    grey = torch.full((300, 3, 8, 8), 0.5)
    lit = RandomLight()({"image": grey, "generator": generator()})["image"].mean((2, 3))
    assert lit.min() > 0.5 * 0.8 * 0.94 * 0.99
    assert lit.max() < 0.5 * 1.2 * 1.06 * 1.01
    assert lit.std() > 0.03


# ---- validation ----


def test_networks_see_the_range_minus_one_to_one():
    pixels = torch.tensor([0.0, 127 / 255, 1.0]).view(1, 3, 1, 1)
    view = validation_transforms(1)({"image": pixels})["image"]
    torch.testing.assert_close(view[0, :, 0, 0], torch.tensor([-1.0, -1 / 255, 1.0]))


@pytest.mark.parametrize("side", [32, 24])
def test_validation_sees_what_prediction_sees(drawn, cache, side):
    """To the rounding of the cache; at another side than the cache's to that of resampling twice."""
    data_set = open_data_set(drawn)
    photographs = decode(data_set, 32, cache, progress=False)
    view = validation_transforms(side)(to_batch(photographs, np.arange(12)))["image"]
    spec = InputSpec(side=side, mean=HALF, std=HALF, geometry="centre_square")
    seen = torch.cat([prepare(data_set.read_picture(row), spec).pixels for row in range(12)])
    difference = (view - seen).abs()
    if side == photographs.side:
        assert difference.max() <= 1 / 255 + 1e-5
    else:
        assert difference.mean() < 0.03


def test_validation_scales_masks_like_images():
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48, 8:40] = 1
    view = validation_transforms(32, mean=(0.0,) * 3, std=(1.0,) * 3)(
        {"image": mask.expand(1, 3, 64, 64), "mask": mask}
    )
    torch.testing.assert_close(view["image"][:, :1], view["mask"])
    assert view["mask"][0, 0, 8:24, 4:20].min() > 0.5


def test_views_are_channels_last_as_networks_want_them():
    for transforms in (training_transforms(24), validation_transforms(24)):
        view = transforms({"image": noise(), "generator": generator()})["image"]
        assert view.is_contiguous(memory_format=torch.channels_last)
