"""A tiny classifier that grows dendrites; as a program it runs several times, each in its own process.

`tiny_run.py '[[FOLDER, EPOCH], ...]'` forks for each run, which kill -9 ends after its epoch if it has one,
and prints the exit statuses. So the seconds that imports take are spent once. A run's checkpoint after each
epoch is what a trainer writes: the network, the optimizer and the growth's state.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dermcheck.networks import architectures
from dermcheck.training.dendrites import DendriteGrowth, DendriteSettings, dendrites_available

SCORES = (0.3, 0.4, 0.41, 0.35, 0.5, 0.52, 0.45, 0.44, 0.6, 0.55, 0.54, 0.53)
"""What the evaluator says: with a patience of 2 the network is restructured twice and then finished."""


class Tiny(nn.Module):
    """(N, 3, H, W) to (N, 7); block2 is its last block."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.block2 = nn.Sequential(nn.Conv2d(8, 8, 3, bias=False), nn.ReLU())
        self.out = nn.Linear(8, 7)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.out(self.block2(self.block1(pixels)).mean((2, 3)))


def register() -> None:
    """Make `tiny` an architecture of this process."""
    entry = architectures.Architecture("classification", Tiny, head="out", last_block="block2")
    architectures.ARCHITECTURES["tiny"] = entry  # type: ignore[index]


def batch(epoch: int) -> tuple[Tensor, Tensor]:
    """Sixteen drawn pictures of two kinds."""
    generator = torch.Generator().manual_seed(epoch)
    target = torch.randint(0, 7, (16,), generator=generator)
    pixels = torch.randn(16, 3, 12, 12, generator=generator) + target.view(-1, 1, 1, 1) / 7
    return pixels, target


def train_epoch(growth: DendriteGrowth, optimizer: torch.optim.Optimizer, epoch: int) -> float:
    """One epoch of three steps; gives the last loss."""
    growth.network.train()
    for step in range(3):
        pixels, target = batch(3 * epoch + step)
        logits = growth.network(pixels)
        loss = growth.add_to(F.cross_entropy(logits, target), logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def make_optimizer(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), 1e-2)


def main(folder: Path, kill_after: float | None) -> None:
    """Train to the end, from the checkpoint if there is one; leave the history and the exported weights."""
    register()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = Tiny()
    wanted = DendriteSettings(weight=0.1, patience=2, tries=2, most=2, seed=3)
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        growth = DendriteGrowth.restore(network, "tiny", wanted, folder, saved["growth"])
        network.load_state_dict(saved["network"])
        optimizer = make_optimizer(network)
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["epoch"]
    else:
        growth = DendriteGrowth.start(network, "tiny", wanted, folder)
        optimizer, first = make_optimizer(network), 0
    steps = []
    for epoch in range(first, len(SCORES)):
        train_epoch(growth, optimizer, epoch)
        step = growth.after_epoch(SCORES[epoch])
        steps.append((step.restructured, step.finished, step.dendrites))
        if step.restructured:
            optimizer = make_optimizer(network)
        if kill_after == epoch + 0.5:  # between the tracker's files and the checkpoint
            os.kill(os.getpid(), signal.SIGKILL)
        torch.save(
            {
                "growth": growth.state(),
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "epoch": epoch + 1,
            },
            checkpoint,
        )
        if kill_after == epoch:
            os.kill(os.getpid(), signal.SIGKILL)
        if step.finished:
            break
    torch.save(growth.export().state_dict(), folder / "exported.pt")
    (folder / "result.json").write_text(json.dumps({"history": growth.history, "steps": steps}))


def run_forked(folder: Path, kill_after: float | None) -> int:
    """Run in a copy of this process; gives its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            main(folder, kill_after)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    assert dendrites_available() is None  # imports all that a run needs
    print(json.dumps([run_forked(Path(folder), epoch) for folder, epoch in json.loads(sys.argv[1])]))
