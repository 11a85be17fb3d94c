import shutil
import subprocess
import sys

from dermcheck.doctor.parts import check_models, check_processor, check_server, start_probe


def ended_with(code: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_processor_is_described():
    finding = check_processor(start_probe("processor"))
    assert finding.ok
    assert "torch" in finding.found


def test_sound_models_are_named_with_their_hash(models):
    findings = check_models(start_probe("models", str(models)))
    assert [each.name for each in findings] == ["Model classifier", "Model outliner"]
    assert all(each.ok and "SHA-256" in each.found for each in findings)


def test_a_damaged_and_a_missing_model_are_problems(models, tmp_path):
    shutil.copytree(models / "classifier", tmp_path / "classifier")
    weights = tmp_path / "classifier" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    damaged, missing = check_models(start_probe("models", str(tmp_path)))
    assert "the SHA-256 of the weights is" in damaged.found
    assert "card is missing" in missing.found
    assert not damaged.ok
    assert not missing.ok


def test_the_server_imports_with_monai_label():
    assert check_server(start_probe("server")).found.startswith("MONAI Label 0.8.5")


def test_a_broken_package_costs_its_finding_only():
    finding = check_server(ended_with("raise ImportError('no module of that name')"))
    assert finding.found == "MONAI Label cannot be imported: ImportError: no module of that name"


def test_a_crash_without_words_is_told_by_its_status():
    finding = check_processor(ended_with("import os; os._exit(5)"))
    assert finding.found == "torch cannot be imported: it ended with status 5"


def test_what_libraries_print_is_not_the_answer():
    finding = check_processor(ended_with("print('Welcome to a library'); print('\"CPU\"')"))
    assert finding.found == "CPU"
