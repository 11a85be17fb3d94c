"""Growing dendrites on a network while it trains: perforatedai's tracker, fed once an epoch."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from dermcheck.training.dendrites.export import export_network
from dermcheck.training.dendrites.loss import HeadWatch
from dermcheck.training.dendrites.perforated import PerforatedAI, dendrites_available, load_perforatedai
from dermcheck.training.dendrites.settings import DendriteError, DendriteSettings, perforated_layers
from dermcheck.training.dendrites.state_folder import StateFolder

__all__ = ["DendriteGrowth", "GrowthStep"]

logger = logging.getLogger(__name__)

_NAME: Final = "growth"
"""perforatedai's name for its state folder, inside ours."""

_growing: DendriteGrowth | None = None
"""perforatedai keeps its tracker and settings in module variables: one network at a time per process."""


@dataclass(frozen=True)
class GrowthStep:
    """What happened to the network after an epoch."""

    restructured: bool
    """The network holds other weights (its best so far) and perhaps other parameters: build a new
    optimizer and a new average before training on."""
    finished: bool
    """Growth has ended and the network holds its best weights."""
    dendrites: int
    """How many dendrites each neuron of the perforated layers has now."""
    ignored: str | None = None
    """Why the score was not used, in a sentence; None if it was."""


class DendriteGrowth:
    """A network that grows dendrites; made by `start` or `restore`, ended by `close` (or ``with``).

    Use, once per epoch, after training and evaluation::

        step = growth.after_epoch(score)
        if step.finished: stop
        if step.restructured: make a new optimizer of growth.network.parameters()
    """

    def __init__(
        self,
        package: PerforatedAI,
        network: nn.Module,
        layers: tuple[str, ...],
        settings: DendriteSettings,
        folder: StateFolder,
    ) -> None:
        self._package = package
        self.network = network
        """The perforated network: the very object given to `start`."""
        self.layers = layers
        """Dotted paths of the perforated layers, the head last."""
        self.settings = settings
        self._folder = folder
        self._history: list[float] = []
        self._finished = False
        self._watch = HeadWatch(network.get_submodule(layers[-1]))

    @classmethod
    def start(
        cls, network: nn.Module, architecture: str, settings: DendriteSettings, run: Path
    ) -> DendriteGrowth:
        """Perforate a plain `network` in place.

        Parameters
        ----------
        run
            Folder of the training run. Its sub-folder ``dendrites`` is emptied and used: perforatedai
            would read the settings of an earlier run from there.

        Raises
        ------
        DendriteError
            If dendrites cannot be grown here, or another network is growing in this process.
        StorageError
            If the folder cannot be written.
        """
        global _growing
        if (reason := dendrites_available()) is not None:
            raise DendriteError(reason)
        if _growing is not None:
            raise DendriteError(
                "Another network is growing dendrites in this process, and perforatedai can hold one only: "
                "close the other one first, or train in a process of its own."
            )
        layers = perforated_layers(network, architecture, settings.where)
        folder = StateFolder(run / "dendrites")
        folder.clear()
        package = load_perforatedai()
        device = next(network.parameters()).device
        with folder.guarded(), package.working_in(folder.work):
            package.configure(_configuration(settings, layers, device))
            package.utils.perforate_model(
                network, save_name=_NAME, making_graphs=False, maximizing_score=True
            )
            found = {module.name.lstrip(".") for module in package.utils.get_pai_modules(network, 0)}
        if found != set(layers):  # an id that does not exist is ignored without a word
            wrong = sorted(found.symmetric_difference(layers))
            raise DendriteError(f"perforatedai perforated other layers than asked for, e.g. {wrong[0]}.")
        _remove_traces(network)
        _growing = cls(package, network, layers, settings, folder)
        return _growing

    @classmethod
    def restore(
        cls,
        network: nn.Module,
        architecture: str,
        settings: DendriteSettings,
        run: Path,
        state: Mapping[str, Any],
    ) -> DendriteGrowth:
        """Continue a stopped or killed run; the network's own weights are to be loaded afterwards.

        Parameters
        ----------
        network
            Plain, as it was given to `start`; perforated and grown in place, with random dendrites.
        state
            What `state` gave, saved with the checkpoint of ``network.state_dict()``.

        Raises
        ------
        DendriteError
            If the state belongs to other settings, or the folder lacks the best weights it names.
        """
        if state["settings"] != _as_state(settings):
            raise DendriteError(
                f"{run} was grown with other dendrite settings ({state['settings']}, now "
                f"{_as_state(settings)}): train in an empty folder or restore the settings."
            )
        best = StateFolder(run / "dendrites").read_best(state["best"])
        growth = cls.start(network, architecture, settings, run)
        try:
            growth._rebuild(state, best)
        except BaseException:
            growth.close()
            raise
        return growth

    @property
    def dendrites(self) -> int:
        """How many dendrites each neuron of the perforated layers has."""
        return int(self._head.dendrite_module.num_dendrites)

    @property
    def history(self) -> tuple[float, ...]:
        """Every score as the tracker recorded it, one an epoch, also those before a restructuring."""
        return tuple(self._history)

    @property
    def best_score(self) -> float:
        """The best score so far; 0 before the first epoch."""
        return float(self._tracker.member_vars["global_best_validation_score"])

    def after_epoch(self, score: float) -> GrowthStep:
        """Tell the tracker the evaluator's score of this epoch, higher is better.

        A score that is not a finite number would poison the tracker's average for ever. It is not
        passed on; the step says so, and training can go on.

        Raises
        ------
        DendriteError
            If growth has ended, no training step was made, or perforatedai failed.
        StorageError
            If the best weights cannot be written.
        """
        self._expect_growing()
        if not math.isfinite(score):
            reason = (
                f"The score of this epoch is {score}, not a number: the dendrites' tracker ignores the epoch."
            )
            logger.warning(reason)
            return GrowthStep(False, False, self.dendrites, reason)
        if not self._was_trained():
            raise DendriteError("No training step reached every perforated layer yet: train before scoring.")
        recorded: list[float] = self._tracker.member_vars[
            "accuracies"
        ]  # rebound when weights are loaded back
        with self._calling():
            network, restructured, finished = self._tracker.add_validation_score(float(score), self.network)
        if network is not self.network or recorded[-1] != score:
            raise DendriteError("perforatedai recorded another score or network than it was given.")
        self._history.append(recorded[-1])
        self._finished = bool(finished)
        self._folder.keep_best(_NAME, len(self._history))
        return GrowthStep(bool(restructured) or self._finished, self._finished, self.dendrites)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """L_dendrite of the last forward pass in training mode, in [-1, 0]; 0 before a dendrite exists.

        Parameters
        ----------
        logits
            (N, C), what the network gave.
        target
            (N,) class indices, or (N, C) shares of the classes.
        """
        return self._watch.loss(logits, target)

    def add_to(self, cross_entropy: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        """L_total = L_CE + λ L_dendrite. With λ = 0 or without dendrites, L_CE itself."""
        if self.settings.weight == 0 or self.dendrites == 0:
            return cross_entropy
        return cross_entropy + self.settings.weight * self.loss(logits, target)

    def load_best(self) -> None:
        """Put the weights of the best epoch back into the network and end the growth."""
        self._expect_growing()
        with self._calling():
            self._package.utils.load_system(self.network, _NAME, "best_model", switch_call=True)
        self._finished = True

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint must hold beside ``network.state_dict()``: strings, numbers and lists."""
        grown = {path: self._layer(path).dendrite_module for path in self.layers}
        trained = self._was_trained()
        return {
            "settings": _as_state(self.settings),
            "tracker": self._tracker.to_string(),
            "cycles": {path: int(module.num_cycles) for path, module in grown.items()},
            "shapes": {
                path: module.dendrite_values[0].dendrite_storage_shape.tolist() if trained else None
                for path, module in grown.items()
            },
            "history": list(self._history),
            "finished": self._finished,
            "best": self._folder.refer_to_best(),
        }

    def export(self, network: nn.Module | None = None) -> nn.Module:
        """Give the network in plain torch: `DendriticLinear` and `DendriticLayer` for what has dendrites.

        Parameters
        ----------
        network
            An averaged copy of the grown network to export in its place.
        """
        return export_network(self.network if network is None else network, self.layers)

    def close(self) -> None:
        """End the growth and let another network grow in this process. The network itself stays usable."""
        global _growing
        if _growing is self:
            _growing = None
            self._package.globals.pai_tracker = []  # as after import

    def __enter__(self) -> DendriteGrowth:
        """Give the growth itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the growth."""
        self.close()

    @property
    def _tracker(self) -> Any:
        return self._package.globals.pai_tracker

    @property
    def _head(self) -> Any:
        return self._layer(self.layers[-1])

    def _layer(self, path: str) -> Any:
        return self.network.get_submodule(path)

    def _was_trained(self) -> bool:
        values = (self._layer(path).dendrite_module.dendrite_values[0] for path in self.layers)
        return all(bool(value.current_d_init) for value in values)

    def _expect_growing(self) -> None:
        if _growing is not self:
            raise DendriteError("This growth was closed; start a new one.")
        if self._finished:
            raise DendriteError("Growth has ended; its network holds the best weights.")

    @contextlib.contextmanager
    def _calling(self) -> Iterator[None]:
        """Call perforatedai's tracker, and undo what it does to the network beside its work."""
        channels_last = any(
            p.dim() == 4 and not p.is_contiguous() and p.is_contiguous(memory_format=torch.channels_last)
            for p in self.network.parameters()
        )
        # It wants an optimizer, to note the learning rate and clear gradients. The trainer's own is
        # none of its business.
        self.network.zero_grad(set_to_none=True)
        self._tracker.set_optimizer_instance(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.0))
        seed = self.settings.seed * 1_000_003 + len(self._history)
        with (
            torch.random.fork_rng(devices=[]),  # new dendrites, and nothing else, depend on this seed
            self._folder.guarded(),
            self._package.working_in(self._folder.work),
        ):
            torch.manual_seed(seed)
            yield
        _remove_traces(self.network)
        if channels_last:  # saving makes all weights contiguous, which slows each convolution from then on
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _rebuild(self, state: Mapping[str, Any], best: bytes | None) -> None:
        """Give each layer its dendrites back, without their weights, and the tracker its memory."""
        with self._calling():
            for path in self.layers:
                if state["shapes"][path] is None:
                    continue
                layer = self._layer(path)
                layer.clear_dendrites()
                layer.dendrite_module.dendrite_values[0].setup_arrays(state["shapes"][path])
                self._package.utils.simulate_cycles(layer, state["cycles"][path], doing_pai=True)
            self._tracker.from_string(state["tracker"])
            self._tracker.loaded = True
        self._history = [float(score) for score in state["history"]]
        self._finished = bool(state["finished"])
        self._folder.put_best_back(_NAME, state["best"], best)


def _remove_traces(network: nn.Module) -> None:
    """Remove the tracker's copy in the network: its length changes, so no state dict would fit again."""
    network._buffers.pop("tracker_string", None)
    network.__dict__.pop("member_vars", None)


def _as_state(settings: DendriteSettings) -> dict[str, str]:
    return {name: repr(value) for name, value in asdict(settings).items()}


def _configuration(
    settings: DendriteSettings, layers: tuple[str, ...], device: torch.device
) -> dict[str, object]:
    """Give every setting that is used, so that nothing of an earlier network is left."""
    return {
        "configuration_confirmed": True,  # else it asks questions at the terminal
        "unwrapped_modules_confirmed": True,
        "checked_skipped_modules": False,
        "testing_dendrite_capacity": False,  # True adds a dendrite every epoch
        "find_best_lr": False,  # the trainer has its own schedule
        "drawing_pai": True,  # False crashes at the first switch; graphs are off by making_graphs
        "drawing_extra_graphs": False,
        "test_saves": False,  # the tracker's cost is its files: only the best weights are written
        "pai_saves": False,
        "using_safe_tensors": True,
        "dashboard_events_enabled": False,
        "silent": True,
        "verbose": False,
        "extra_verbose": False,
        "switch_mode": 1,  # DOING_HISTORY: after so many epochs without improvement
        "history_lookback": 1,  # the score itself, not a running average
        "initial_history_after_switches": -1,  # with 0, the first epoch could never be the best
        "n_epochs_to_switch": settings.patience,
        "max_dendrites": settings.most,
        "max_dendrite_tries": settings.tries,
        "improvement_threshold": float(settings.improvement),
        "improvement_threshold_raw": 1e-5,
        "retain_all_dendrites": False,
        "modules_to_perforate": [],
        "module_names_to_perforate": [],
        "module_ids_to_perforate": [f".{path}" for path in layers],
        "module_ids_to_track": [],
        "module_names_to_not_save": [".base_model"],
        "output_dimensions": [-1, 0, -1, -1],
        "device": device,
        "use_cuda": device.type == "cuda",
    }
