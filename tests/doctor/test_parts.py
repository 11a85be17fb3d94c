import json
import shutil
import subprocess
import sys

import pytest

from dermcheck.doctor.parts import check_backend, check_models, check_processor, check_server
from dermcheck.doctor.probe import main as probe_main
from dermcheck.doctor.probe import probe_backend, probe_registry
from dermcheck.registry import Registry


def ended_with(code: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def start_probe_here(monkeypatch, capsys):
    """Answer as the child process does, without the seconds that its imports take."""

    def start(*arguments: str) -> "subprocess.Popen[str]":
        monkeypatch.setattr(sys, "argv", ["probe", *arguments])
        probe_main()
        return ended_with(f"print({capsys.readouterr().out!r})")

    return start


def test_sound_models_are_named_with_their_hash(models, start_probe_here):
    findings = check_models(start_probe_here("models", str(models)))
    assert [each.name for each in findings] == ["Model classifier", "Model outliner"]
    assert all(each.ok and "SHA-256" in each.found for each in findings)


def test_a_damaged_and_a_missing_model_are_problems(models, tmp_path, start_probe_here):
    shutil.copytree(models / "classifier", tmp_path / "classifier")
    weights = tmp_path / "classifier" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    damaged, missing = check_models(start_probe_here("models", str(tmp_path)))
    assert "the SHA-256 of the weights is" in damaged.found
    assert "card is missing" in missing.found
    assert not damaged.ok
    assert not missing.ok


def test_what_runs_the_networks_is_named(models, monkeypatch):
    monkeypatch.setenv("DERMCHECK_BACKEND", "torch")
    answer = probe_backend(models, None)
    assert answer["found"].startswith("torch ")
    finding = check_backend(ended_with(f"print({json.dumps(answer)!r})"))
    assert finding.ok
    assert finding.found == answer["found"]


def test_a_back_end_that_was_asked_for_but_is_missing_is_a_problem(models, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setenv("DERMCHECK_BACKEND", "openvino")
    answer = probe_backend(models, None)
    assert answer["found"].startswith("torch ")
    assert "OpenVINO cannot be imported" in answer["found"]
    assert not check_backend(ended_with(f"print({json.dumps(answer)!r})")).ok


def test_a_mix_of_diagnoses_that_makes_no_sense_is_a_problem(models, monkeypatch):
    monkeypatch.setenv("DERMCHECK_PRIOR", "mel=2%")
    answer = probe_backend(models, None)
    assert "DERMCHECK_PRIOR: the share of akiec, bcc" in answer["found"]
    assert not check_backend(ended_with(f"print({json.dumps(answer)!r})")).ok


@pytest.fixture
def registry(tmp_path, models):
    """Two versions of each task, the newer one in use."""
    registry = Registry.open(tmp_path / "registry")
    for role in ("classifier", "classifier", "outliner", "outliner"):
        version = registry.submit(
            models / role, parent=None, data_fingerprint="", configuration={}, who="test"
        )
        registry.promote(version, "for the test", "test")
    return registry


def test_what_the_registry_has_in_use_is_named(registry, start_probe_here):
    findings = check_models(start_probe_here("registry", str(registry.folder)))
    assert [each.name for each in findings] == [
        "Model for classification",
        "Model for segmentation",
        "Registry of models",
    ]
    assert all(each.ok for each in findings)
    assert findings[0].found.startswith("Test classifier classification-0002, SHA-256")
    assert findings[2].found == f"{registry.folder}: all files are as they were"


def test_damaged_versions_are_told_with_what_to_do(registry):
    for version in (registry.in_use("classification"), registry.find("segmentation-0001")):
        (version.folder / "weights.safetensors").write_bytes(b"exchanged")
    in_use, sound, others = probe_registry(registry.folder)
    assert "the SHA-256 of the weights is" in in_use["found"]
    assert in_use["advice"].endswith("dermcheck models rollback classification.")
    assert sound["advice"] is None
    assert "segmentation-0001" in others["found"]
    assert "back-up" in others["advice"]
    assert probe_backend(None, registry.folder)["found"].startswith("torch ")  # the version before answers


def test_a_registry_that_is_not_there_is_a_problem_only_if_it_was_named(tmp_path, monkeypatch):
    (named,) = probe_registry(tmp_path / "nowhere")
    assert "there is no such registry" in named["found"]
    assert named["advice"]
    monkeypatch.setenv("DERMCHECK_MODELS", str(tmp_path / "not yet"))
    *_, default = probe_registry(None)
    assert default["found"] == f"{tmp_path / 'not yet'}: nothing was trained yet"
    assert default["advice"] is None


def test_a_broken_package_costs_its_finding_only():
    finding = check_server(ended_with("raise ImportError('no module of that name')"))
    assert finding.found == "MONAI Label cannot be imported: ImportError: no module of that name"


def test_a_crash_without_words_is_told_by_its_status():
    finding = check_processor(ended_with("import os; os._exit(5)"))
    assert finding.found == "torch cannot be imported: it ended with status 5"


def test_what_libraries_print_is_not_the_answer():
    finding = check_processor(ended_with("print('Welcome to a library'); print('\"CPU\"')"))
    assert finding.found == "CPU"
