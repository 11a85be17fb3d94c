"""A tiny architecture that can grow dendrites in milliseconds, in this process or as a program."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from dermcheck.networks import architectures
from dermcheck.training.dendrites import DendriteGrowth, DendriteSettings, dendrites_available

PROGRAM = Path(__file__).parent / "tiny_run.py"

if (reason := dendrites_available()) is not None:
    collect_ignore = [
        "test_growth.py",
        "test_export.py",
        "test_resume.py",
    ]  # this platform has no perforatedai


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module `tiny_run`, with its architecture registered for one test."""
    specification = importlib.util.spec_from_file_location("tiny_run", PROGRAM)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    entry = architectures.Architecture("classification", module.Tiny, head="out", last_block="block2")
    monkeypatch.setitem(architectures.ARCHITECTURES, "tiny", entry)  # type: ignore[arg-type]
    torch.manual_seed(0)
    return module


@pytest.fixture
def start(tiny: ModuleType, tmp_path: Path) -> Iterator[Callable[..., DendriteGrowth]]:
    """Start the growth of a new tiny network; closed at the end of the test."""
    growths: list[DendriteGrowth] = []

    def begin(**values: object) -> DendriteGrowth:
        chosen = DendriteSettings(**{"patience": 1, "tries": 2, **values})
        growths.append(DendriteGrowth.start(tiny.Tiny(), "tiny", chosen, tmp_path))
        return growths[-1]

    yield begin
    for growth in growths:
        growth.close()


@pytest.fixture
def grow(tiny: ModuleType, start: Callable[..., DendriteGrowth]) -> Callable[..., DendriteGrowth]:
    """Start and train until there are so many dendrites."""

    def until(dendrites: int, **values: object) -> DendriteGrowth:
        growth = start(most=dendrites + 1, **values)
        score, epoch = 0.1, 0
        while growth.dendrites < dendrites:
            optimizer = tiny.make_optimizer(growth.network)
            for rise in (0.1, 0.1, 0.0):
                tiny.train_epoch(growth, optimizer, epoch)
                score, epoch = score + rise / 4, epoch + 1
                if growth.after_epoch(score).restructured:
                    break
        tiny.train_epoch(growth, tiny.make_optimizer(growth.network), epoch)
        return growth

    return until


@pytest.fixture
def run_program() -> Callable[..., list[int]]:
    """Run `tiny_run.py` in folders, each time in a process of its own; gives the exit statuses."""

    def run(*runs: tuple[Path, float | None]) -> list[int]:
        orders = json.dumps([[str(folder), kill_after] for folder, kill_after in runs])
        done = subprocess.run(
            [sys.executable, PROGRAM, orders], capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
