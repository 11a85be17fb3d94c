"""Runs of the simulation: one strategy with one seed, and where their outcomes are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dermcheck.errors import StorageError

__all__ = ["Outcome", "RunKey", "Runs", "Task"]

Task = Literal["class", "outline", "proposal"]
"""Diagnoses; outlines; or both of each photograph, as a clinician corrects them."""


@dataclass(frozen=True, slots=True, order=True)
class RunKey:
    """What is run."""

    task: Task
    strategy: str
    seed: int
    noise: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a model answered to the untouched photographs after so many labels."""

    budget: int
    answers: npt.NDArray[np.float64]
    """(T,): class indices, or (task "outline") Jaccard indices of the outlines."""
    counts: tuple[int, ...]
    """True classes of the photographs labelled, seven numbers."""
    jaccard: npt.NDArray[np.float64] | None = None
    """(T,) Jaccard indices beside the class indices (task "proposal"), else None."""


class Runs:
    """Outcomes in a file of JSON lines: a run that was stopped is made again, a finished one never.

    Parameters
    ----------
    folder
        Of the study, made if missing.
    study
        What all runs have in common. Runs of another study in the same folder are refused.

    Raises
    ------
    StorageError
        If the folder holds another study, or cannot be read or written.
    """

    def __init__(self, folder: Path, study: dict[str, Any]) -> None:
        self._path = folder / "runs.jsonl"
        self._found: dict[RunKey, list[Outcome]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._bind(folder / "study.json", study)
            if self._path.is_file():
                self._read()
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(
                f"{folder}: the study cannot be kept there ({error.strerror}). Choose another folder."
            ) from error

    def __contains__(self, key: RunKey) -> bool:
        """Tell whether a run is finished."""
        return key in self._found

    def __getitem__(self, key: RunKey) -> Sequence[Outcome]:
        """Return the outcomes of a finished run, by budget."""
        return self._found[key]

    def __iter__(self) -> Iterator[RunKey]:
        """Walk through the finished runs."""
        return iter(sorted(self._found))

    def add(self, key: RunKey, outcomes: Sequence[Outcome]) -> None:
        """Keep a finished run. Raises StorageError if the disk refuses."""
        line = {
            "task": key.task, "strategy": key.strategy, "seed": key.seed, "noise": key.noise,
            "outcomes": [_as_json(outcome) for outcome in outcomes],
        }  # fmt: skip
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise StorageError(
                f"{self._path}: a run cannot be written ({error.strerror}). Make room and start again; "
                "finished runs are kept."
            ) from error
        self._found[key] = list(outcomes)

    def _bind(self, note: Path, study: dict[str, Any]) -> None:
        text = json.dumps(study, indent=2) + "\n"
        if note.is_file() and (before := note.read_text(encoding="utf-8")) != text:
            differ = [name for name, value in study.items() if _known(before).get(name) != value]
            raise StorageError(
                f"{note.parent}: the folder holds another study ({', '.join(differ) or 'its settings'} "
                "differ). Choose another folder, or repeat the command with the same arguments."
            )
        note.write_text(text, encoding="utf-8")

    def _read(self) -> None:
        for text in self._path.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except ValueError:  # the last line of a run that was killed while it wrote
                continue
            key = RunKey(line["task"], line["strategy"], line["seed"], line["noise"])
            self._found[key] = [_from_json(outcome) for outcome in line["outcomes"]]
        if not self._path.read_bytes().endswith(b"\n"):
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n")


def _as_json(outcome: Outcome) -> dict[str, Any]:
    values: dict[str, Any] = {
        "budget": outcome.budget,
        "answers": np.round(outcome.answers, 4).tolist(),
        "counts": list(outcome.counts),
    }
    if outcome.jaccard is not None:
        values["jaccard"] = np.round(outcome.jaccard, 6).tolist()
    return values


def _from_json(values: dict[str, Any]) -> Outcome:
    jaccard = np.array(values["jaccard"], np.float64) if "jaccard" in values else None
    return Outcome(
        values["budget"], np.array(values["answers"], np.float64), tuple(values["counts"]), jaccard
    )


def _known(text: str) -> dict[str, Any]:
    try:
        known = json.loads(text)
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}
