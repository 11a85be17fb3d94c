"""`dermcheck evaluate` on drawn photographs, with models that see colour and brightness."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dermcheck.cli import main
from dermcheck.lesions import CLASSES
from dermcheck.networks import ARCHITECTURES, Architecture, Calibration, InputSpec, ModelCard, save_model
from dermcheck.networks.cards import AnswerRules, UsedFolds
from dermcheck.training.evaluation.page import write_page

HALF = (0.5, 0.5, 0.5)
RULES = AnswerRules(
    sure_from=0.2,
    sure_share=0.8,
    sure_error=0.1,
    possible_from=(0.1,) * 7,
    possible_coverage=0.9,
    melanoma_from=0.1,
)


class Colours(nn.Module):
    """Each class is a colour; the nearest one to the picture's mean colour gets the highest logit."""

    def __init__(self) -> None:
        super().__init__()
        grey = torch.linspace(-0.9, 0.9, len(CLASSES))
        self.colours = nn.Parameter(torch.stack([grey, -grey, grey**2], 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return -8 * torch.cdist(pixels.mean((2, 3)), self.colours)


class Darkness(nn.Module):
    """What is dark is lesion."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(-0.9))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.threshold - pixels.mean(1, keepdim=True)


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "colours", Architecture("classification", Colours))
    monkeypatch.setitem(ARCHITECTURES, "darkness", Architecture("segmentation", Darkness))
    monkeypatch.setenv("DERMCHECK_CACHE", str(tmp_path / "cache"))
    used = {"clinic": UsedFolds(fit=tuple(range(8)), select=(8,), own_folds=True)}
    common = {"version": "7", "used_folds": used, "data": "drawn", "licence": "CC0", "command": "pytest"}
    classifier = ModelCard(
        name="Colour classifier", task="classification", architecture="colours", classes=CLASSES,
        input=InputSpec(side=32, mean=HALF, std=HALF, geometry="centre_square"),
        calibration=Calibration.identity(), rules=RULES, **common,
    )  # fmt: skip
    outliner = ModelCard(
        name="Dark outliner", task="segmentation", architecture="darkness", classes=("lesion",),
        input=InputSpec(side=32, mean=HALF, std=HALF, geometry="short_side"), **common,
    )  # fmt: skip
    save_model(tmp_path / "models" / "classifier", Colours(), classifier)
    save_model(tmp_path / "models" / "outliner", Darkness(), outliner)
    return tmp_path / "models"


@pytest.fixture
def clinic(tmp_path) -> Path:
    """140 photographs of 70 lesions, coloured by class with noise; black squares are the lesions."""
    folder, chance = tmp_path / "clinic", np.random.default_rng(0)
    folder.mkdir()
    lines = ["image_id,lesion_id,dx,age,sex,localization,fold"]
    colours = (Colours().colours.detach().numpy() + 1) * 127.5
    for i in range(140):
        c = i % 7
        colour = np.clip(colours[c] + chance.normal(0, 25, 3), 0, 255)
        pixels = np.broadcast_to(colour, (32, 40, 3)).astype(np.uint8).copy()
        mask = np.zeros((32, 40), np.uint8)
        mask[14:18, 4:8] = 255
        pixels[mask > 0] = 0
        Image.fromarray(pixels).save(folder / f"p{i:03}.png")
        Image.fromarray(mask).save(folder / f"p{i:03}_segmentation.png")
        sex = "male" if i % 3 else "female"
        lines.append(f"p{i:03},l{i // 2},{CLASSES[c]},{10 + i // 2},{sex},back,{8 + i // 2 % 2}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def evaluate(*arguments, capsys) -> tuple[int, str, str]:
    status = main(["evaluate", *map(str, arguments)])
    output, errors = capsys.readouterr()
    return status, output, errors


def test_untouched_photographs_are_measured_and_reported(models, clinic, tmp_path, capsys):
    report = tmp_path / "report"
    status, output, _ = evaluate(
        "--data", clinic, "--models", models, "--json", "--report", report, capsys=capsys
    )
    found = json.loads(output)
    assert status == 0
    assert found["honest"]
    assert found["folds"] == [9]
    classified, outlined = found["classification"], found["segmentation"]
    assert classified["images"] == outlined["images"] == 70
    assert classified["figures"]["macro_auc"]["value"] > 0.8
    assert {"decision sensitivity", "melanoma not excluded sensitivity"} <= set(
        classified["operating_points"]
    )
    assert classified["possible_classes"]["coverage"]["value"] > 0.5
    assert outlined["figures"]["jaccard"]["value"] > 0.5
    assert set(classified["subgroups"]["sex"]) == {"female", "male"}
    assert json.loads((report / "report.json").read_text()) == found
    page = (report / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 4 + 1 + 12
    assert "http" not in page.replace("http-equiv", "")  # needs nothing from outside


def test_words_name_figures_with_their_intervals(models, clinic, capsys):
    status, output, _ = evaluate(
        "--data", clinic, "--models", models, "--task", "classification", capsys=capsys
    )
    assert status == 0
    (line,) = [line for line in output.splitlines() if line.strip().startswith("balanced accuracy  ")]
    assert line.count("0.") == 3
    assert "segmentation" not in output


def test_a_classifier_that_does_not_look_closer_needs_no_outliner(models, clinic, capsys):
    shutil.rmtree(models / "outliner")
    arguments = ("--data", clinic, "--models", models, "--task", "classification", "--json")
    status, output, errors = evaluate(*arguments, capsys=capsys)
    assert status == 0, errors
    assert "classification" in json.loads(output)


def test_folds_that_the_model_has_seen_are_refused_and_accepted_only_aloud(models, clinic, capsys):
    status, _, errors = evaluate("--data", clinic, "--models", models, "--folds", "8", capsys=capsys)
    assert status == 2
    assert "Colour classifier 7 was selected and calibrated on fold 8 of clinic" in errors
    assert "--accept-seen" in errors
    arguments = ("--data", clinic, "--models", models, "--folds", "8,9", "--accept-seen", "--json")
    status, output, _ = evaluate(*arguments, capsys=capsys)
    found = json.loads(output)
    assert status == 0
    assert not found["honest"]
    assert "no honest measurement" in found["title"]
    assert found["classification"]["images"] == 140


def test_robustness_is_measured_on_request(models, clinic, capsys):
    for picture in (*clinic.glob("p1*.png"), *clinic.glob("p0[1-9]*.png")):  # ten are left
        picture.unlink()
    arguments = ("--data", clinic, "--models", models, "--folds", "8,9", "--accept-seen", "--robustness")
    status, output, _ = evaluate(*arguments, capsys=capsys)
    assert status == 0
    assert "agreement, at least 0.95 under everyday changes" in output
    _, output, _ = evaluate(*arguments, "--json", capsys=capsys)
    found = json.loads(output)
    for task, figure in (("classification", "agreement"), ("segmentation", "jaccard_with_unchanged")):
        robustness = found[task]["robustness"]
        assert robustness["images"] == found[task]["images"] == 10
        assert robustness["everyday"]["mirrored"][figure]["value"] > 0.9  # mean colours stay
        assert {"hair", "ruler", "ink", "dark corners"} < set(robustness["difficult"])
    page = write_page(found, {}, {})
    assert page.count("Changed photographs") == 2
    assert "rotated by 90°" in page


def test_robustness_needs_both_models(models, clinic, capsys):
    arguments = ("--data", clinic, "--models", models, "--task", "segmentation", "--robustness")
    status, _, errors = evaluate(*arguments, capsys=capsys)
    assert status == 2
    assert "leave out --task" in errors


def test_the_files_of_a_batch_give_the_same_figures(models, clinic, tmp_path, capsys, monkeypatch):
    """What `scripts/check_reference_models.py` proves of the reference models."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "scripts")
    from dermcheck.networks.checkpoint import read_card
    from dermcheck.training.data import open_data_set
    from reference_publishing.product_path import differences, predict_fold_9, reports_of_results

    _, output, _ = evaluate("--data", clinic, "--models", models, "--json", capsys=capsys)
    measured = json.loads(output)
    data = open_data_set(clinic)
    predict_fold_9(data, models, tmp_path / "batch")
    reports = reports_of_results(data, tmp_path / "batch", read_card(models / "classifier"))
    for task, report in reports.items():
        assert report["images"] == 70
        assert not list(differences(measured[task], report))
    report["figures"]["jaccard"]["value"] -= 0.0001
    ((where, ours, _),) = differences(measured["segmentation"], report)
    assert where == "/figures/jaccard/value"
    assert ours == measured["segmentation"]["figures"]["jaccard"]["value"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "Measure on what?"),
        (["--data", "nowhere"], 1, "the folder of the data set is missing"),
        (["--data", "a", "--data", "b", "--masks", "c"], 2, "belong to one data set"),
    ],
)
def test_wrong_arguments_are_a_sentence(models, arguments, status, words, capsys):
    found, _, errors = evaluate(*arguments, "--models", models, capsys=capsys)
    assert found == status
    assert words in errors


def test_a_fold_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--data", "x", "--folds", "12"])
    assert "expected for example 9 or 0,1,2" in capsys.readouterr().err


def test_the_clinics_own_corrections_are_measured(models, make_corrections, tmp_path, capsys):
    studies = make_corrections(tmp_path / "studies", 24)
    status, output, _ = evaluate("--studies", studies, "--models", models, "--json", capsys=capsys)
    found = json.loads(output)
    assert status == 0
    assert found["honest"]  # the cards name other data only
    assert found["folds"] == list(range(10))
    assert found["classification"]["sources"] == {"corrections": 24}
    assert found["segmentation"]["images"] == 24


def test_studies_without_corrections_are_a_sentence(models, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    status, _, errors = evaluate("--studies", tmp_path / "empty", "--models", models, "--json", capsys=capsys)
    assert status == 1
    assert "nobody has corrected a photograph of these studies yet" in errors
