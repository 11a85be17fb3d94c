"""Changed photographs: the way back fits the change, and answers that move are counted."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dermcheck.inference import Predictor
from dermcheck.networks import ARCHITECTURES, Architecture, InputSpec
from dermcheck.training.evaluation.perturbations import PERTURBATIONS, Perturbation
from dermcheck.training.evaluation.robustness import answer_perturbed, robustness_report


class BlackOutliner(nn.Module):
    """What is nearly black is lesion."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(-0.8))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return (self.threshold - pixels.mean(1, keepdim=True)) * 50


class MiddleColour(nn.Module):
    """The nearer the colour in the middle is to that of a class's discs, the likelier the class."""

    def __init__(self) -> None:
        super().__init__()
        label = torch.arange(7)
        self.colours = nn.Parameter(torch.stack([label * 30, 120 - label * 15, label * 20], 1) / 127.5 - 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return -5 * torch.cdist(pixels[:, :, 28:36, 28:36].mean((2, 3)), self.colours)


@pytest.fixture
def photograph():
    """A black ellipse off the middle of grey skin, 90 × 120, and where it is."""
    rows, columns = np.mgrid[:90, :120]
    mask = ((rows - 40) / 18) ** 2 + ((columns - 66) / 26) ** 2 < 1
    pixels = np.full((90, 120, 3), 180, np.uint8)
    pixels[mask] = 0
    return pixels, mask


@pytest.mark.parametrize("perturbation", PERTURBATIONS, ids=lambda each: each.name)
def test_what_is_seen_on_the_changed_photograph_comes_back_to_its_place(perturbation, photograph):
    pixels, mask = photograph
    changed = perturbation.change(pixels, np.random.default_rng(0))
    assert changed.dtype == np.uint8
    dark = (changed == changed.max(2, keepdims=True)).all(2) & (changed.max(2) < 90)
    restored = perturbation.restore(dark, mask.shape)
    seen = perturbation.restore(np.ones(changed.shape[:2], bool), mask.shape)
    assert restored.shape == seen.shape == mask.shape
    assert seen.mean() > 0.8
    covered = np.zeros_like(mask)
    if perturbation.name == "dark corners":  # its black is no lesion
        covered = np.hypot(*(np.mgrid[:90, :120] - np.array([44.5, 59.5])[:, None, None])) > 40
    here = seen & ~covered
    assert (restored & mask & here).sum() > 0.93 * ((restored | mask) & here).sum() - 1


@pytest.mark.parametrize("perturbation", PERTURBATIONS, ids=lambda each: each.name)
def test_every_change_changes_and_leaves_the_photograph_itself_alone(perturbation, photograph):
    pixels, before = photograph[0], photograph[0].copy()
    changed = perturbation.change(pixels, np.random.default_rng(0))
    np.testing.assert_array_equal(pixels, before)
    again = perturbation.change(pixels, np.random.default_rng(0))
    np.testing.assert_array_equal(changed, again)  # the same chance gives the same picture
    assert changed.shape != pixels.shape or (changed != pixels).any()


@pytest.fixture
def predictor(make_card, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "colours", Architecture("classification", MiddleColour))
    monkeypatch.setitem(ARCHITECTURES, "black", Architecture("segmentation", BlackOutliner))
    spec = InputSpec(side=32, mean=(0.5,) * 3, std=(0.5,) * 3, geometry="short_side")
    outliner = make_card(
        task="segmentation", architecture="black", classes=("lesion",), calibration=None, input=spec,
        sha256="1" * 64,
    )  # fmt: skip
    classifier = MiddleColour().eval(), make_card(architecture="colours", sha256="0" * 64)
    return Predictor(classifier, (BlackOutliner().eval(), outliner), backend="torch")


NOTHING = Perturbation("nothing", "everyday", lambda pixels, chance: pixels)
RECOLOURED = Perturbation(
    "recoloured", "everyday", lambda pixels, chance: np.ascontiguousarray(255 - pixels[..., ::-1])
)
HALF = Perturbation(
    "left half",
    "difficult",
    lambda pixels, chance: np.ascontiguousarray(pixels[:, : pixels.shape[1] // 2]),
    lambda mask, shape: np.pad(mask, ((0, 0), (0, shape[1] - mask.shape[1]))),
)


def test_answers_that_stay_and_answers_that_move_are_told_apart(predictor, photographs):
    answers = answer_perturbed(predictor, photographs, (9,), (NOTHING, RECOLOURED, HALF))
    assert len(answers.truth) == len(photographs.rows((9,))) > 0
    classified = robustness_report(answers, "classification")
    assert classified["everyday"]["nothing"]["agreement"] == {"value": 1.0, "interval95": [1.0, 1.0]}
    moved = classified["everyday"]["recoloured"]["agreement"]["value"]
    assert moved == pytest.approx((answers.decision[:, 2] == answers.decision[:, 0]).mean(), abs=1e-4)
    assert moved < 0.95
    assert classified["aim"] == {"figure": "agreement", "least": 0.95, "reached": False}
    assert list(classified["difficult"]) == ["left half"]
    nothing = dataclasses.replace(answers, perturbations=answers.perturbations[:1])
    assert robustness_report(nothing, "classification")["aim"]["reached"]


def test_outlines_are_compared_where_both_photographs_show_the_skin(predictor, photographs):
    answers = answer_perturbed(predictor, photographs, (9,), (NOTHING, HALF))
    outlined = robustness_report(answers, "segmentation")
    assert outlined["everyday"]["nothing"]["jaccard_with_unchanged"]["value"] == 1
    assert outlined["everyday"]["nothing"]["jaccard"] == outlined["unchanged"]["jaccard"]
    assert outlined["aim"]["reached"]
    # half of each disc is out of sight: what is left still agrees
    assert outlined["difficult"]["left half"]["jaccard_with_unchanged"]["value"] > 0.7


def test_a_photograph_without_labels_counts_for_agreement_alone(predictor, photographs):
    unknown = dataclasses.replace(
        photographs,
        diagnosis=np.full(len(photographs.diagnosis), -1),
        has_mask=np.zeros(len(photographs.diagnosis), bool),
    )
    answers = answer_perturbed(predictor, unknown, (9,), (NOTHING,))
    classified, outlined = (robustness_report(answers, task) for task in ("classification", "segmentation"))
    assert classified["everyday"]["nothing"]["agreement"]["value"] == 1
    assert "balanced_accuracy" not in classified["everyday"]["nothing"]
    assert outlined["everyday"]["nothing"]["jaccard"]["value"] is None


def test_artefacts_are_drawn_in_the_photographs_proportion():
    """A photograph of any size gets the same marks."""
    for perturbation in PERTURBATIONS:
        if perturbation.name in ("hair", "ruler", "ink", "dark corners"):
            small, large = (
                perturbation.change(np.full((side, side, 3), 200, np.uint8), np.random.default_rng(3))
                for side in (300, 600)
            )
            shrunk = np.asarray(Image.fromarray(large).resize((300, 300), Image.Resampling.BOX))
            assert np.abs(shrunk.astype(int) - small).mean() < 0.25 * np.abs(small.astype(int) - 200).mean()
            assert np.abs(small.astype(int) - 200).mean() > 1, perturbation.name
