"""Answers through the product's path, from files and from the cache."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dermcheck.networks import ARCHITECTURES, Architecture, InputSpec
from dermcheck.training.data import assign_folds, open_data_set
from dermcheck.training.evaluation import (
    NothingToAnswerError,
    answer_photographs,
    classify_photographs,
    outline_photographs,
)
from dermcheck.training.evaluation.reports import classification_report, outline_report


class DarkOutliner(nn.Module):
    """What is darker than mid-grey is lesion."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.zeros(()))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.threshold - pixels.mean(1, keepdim=True)


@pytest.fixture
def classifier(make_classifier, make_card, monkeypatch):
    monkeypatch.setitem(
        ARCHITECTURES, "colours", Architecture("classification", make_classifier, head="head")
    )
    return make_classifier().eval(), make_card(architecture="colours", sha256="0" * 64)


@pytest.fixture
def outliner(make_card, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "dark", Architecture("segmentation", DarkOutliner))
    spec = InputSpec(side=64, mean=(0.5,) * 3, std=(0.5,) * 3, geometry="short_side")
    card = make_card(
        task="segmentation", architecture="dark", classes=("lesion",), calibration=None, input=spec
    )
    return DarkOutliner().eval(), card


@pytest.fixture
def folder(tmp_path, photographs):
    """Seventy photographs as files, with a table and masks; one picture is broken."""
    lines = ["image_id,lesion_id,dx,age,sex,localization,fold"]
    for i in range(70):
        name = f"photo_{i:02}"
        Image.fromarray(photographs.images[i]).save(tmp_path / f"{name}.png")
        Image.fromarray(photographs.masks[i] * 255).save(tmp_path / f"{name}_segmentation.png")
        dx = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")[photographs.diagnosis[i]]
        lines.append(
            f"{name},lesion_{i // 2},{dx},{20 + i},{'male' if i % 2 else 'female'},back,{i // 2 % 10}"
        )
    (tmp_path / "photo_69.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_files_and_cache_are_answered_alike(classifier, folder, photographs):
    answers = classify_photographs(classifier, assign_folds(open_data_set(folder)), range(9))
    assert len(answers) == 63
    for i, name in enumerate(answers.image_id):
        assert answers.truth[i] == photographs.diagnosis[int(name[-2:])]
    cached = classify_photographs(classifier, photographs, range(10))
    rows = [int(name[-2:]) for name in answers.image_id]
    first = {name: i for i, name in enumerate(cached.image_id)}
    same = [first[f"ham_{row:04}"] for row in rows]
    np.testing.assert_allclose(cached.probability[same], answers.probability, atol=1e-5)
    np.testing.assert_array_equal(cached.decision[same], answers.decision)


def test_what_cannot_be_read_is_told_and_costs_no_other_photograph(classifier, folder):
    answers = classify_photographs(classifier, assign_folds(open_data_set(folder)), (4,))
    assert len(answers) == 7
    (problem,) = answers.problems
    assert "photo_69.png" in problem


def test_outlines_are_measured_at_the_photographs_own_size(outliner, folder):
    answers = outline_photographs(outliner, assign_folds(open_data_set(folder)), range(9))
    assert len(answers) == 63
    dark = answers.jaccard > 0.9
    assert dark.mean() > 0.5  # the darker classes are found by their brightness
    assert (answers.boundary_distance[dark] < 0.02).all()
    assert (answers.dice >= answers.jaccard).all()


def test_the_card_decides_what_is_answered(classifier, outliner, photographs):
    assert hasattr(answer_photographs(classifier, photographs, (9,)), "decision")
    assert hasattr(answer_photographs(outliner, photographs, (9,)), "jaccard")


def test_no_photograph_of_the_task_is_an_error_in_words(classifier, photographs):
    with pytest.raises(NothingToAnswerError, match="none of the photographs asked for has a diagnosis"):
        classify_photographs(classifier, photographs, (-1,))


def test_reports_tell_figures_of_subgroups_and_count_small_ones(classifier, outliner, folder):
    data = assign_folds(open_data_set(folder))
    report = classification_report(classify_photographs(classifier, data, range(10)), None)
    assert report["images"] == 69
    assert report["lesions"] == 35
    assert sum(map(sum, report["confusion"]["counts"])) == 69
    ages = report["subgroups"]["age"]
    assert sum(group["images"] for group in ages.values()) == 69
    assert "accuracy" not in ages["under 30"]  # five lesions
    assert set(report["subgroups"]["sex"]) == {"male", "female"}
    assert "accuracy" in report["subgroups"]["sex"]["male"]
    assert "site" not in report["subgroups"]  # one site tells no difference
    figures = outline_report(outline_photographs(outliner, data, range(10)))["figures"]
    assert figures["thresholded_jaccard"]["value"] <= figures["jaccard"]["value"]


def test_skin_tones_become_subgroups_with_counts(classifier, photographs):
    answers = classify_photographs(classifier, photographs, range(10))
    assert np.isfinite(answers.typology_angle).all()  # every photograph has a mask
    assert "skin_tone" not in classification_report(answers, None)["subgroups"]  # drawn on one skin
    angle = np.where(np.arange(len(answers)) % 3 == 0, 60.0, 20.0)
    angle[1] = np.nan
    mixed = dataclasses.replace(answers, typology_angle=angle)
    tones = classification_report(mixed, None)["subgroups"]["skin_tone"]
    assert set(tones) == {"very light (over 55°)", "tan (10 to 28°)", "unknown"}
    assert sum(tone["images"] for tone in tones.values()) == len(answers)
    assert tones["unknown"] == {"images": 1, "lesions": 1}
    assert "accuracy" in tones["tan (10 to 28°)"]
