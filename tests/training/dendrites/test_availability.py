import importlib.metadata
import subprocess
import sys

import pytest

from dermcheck.training.dendrites import DendriteError, DendriteGrowth, DendriteSettings, dendrites_available


def missing(name: str) -> str:
    raise importlib.metadata.PackageNotFoundError(name)


def test_without_perforatedai_a_sentence_says_so_and_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", missing)
    sentence = dendrites_available()
    assert "perforatedai is not installed, so training goes on without dendrites" in sentence
    assert "python -m pip install perforatedai==3.2.9" in sentence


def test_another_version_is_not_trusted(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "3.3.0")
    assert "perforatedai 3.3.0 is installed, but DermCheck knows version 3.2.9 only" in dendrites_available()


def test_the_paid_package_is_refused(monkeypatch, tmp_path):
    (tmp_path / "perforatedbp.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert "The paid package perforatedbp is installed" in dendrites_available()


def test_growth_does_not_start_where_dendrites_are_not_available(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(DendriteError, match="perforatedai is not installed"):
        DendriteGrowth.start(None, "densenet121", DendriteSettings(), tmp_path)


def test_the_room_is_imported_without_perforatedai_and_a_broken_one_gives_a_sentence(tmp_path):
    (tmp_path / "perforatedai").mkdir()
    (tmp_path / "perforatedai" / "__init__.py").write_text("raise ImportError('no build for this processor')")
    program = """
import importlib.metadata, sys
sys.path.insert(0, sys.argv[1])
from dermcheck.training.dendrites import dendrites_available
assert "perforatedai" not in sys.modules
importlib.metadata.version = lambda name: "3.2.9"
print(dendrites_available())
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    expected = "cannot be imported here (no build for this processor); training goes on without dendrites."
    assert expected in done.stdout
