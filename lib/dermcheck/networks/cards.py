"""Model cards: what a model is, how its input is prepared, how its output is calibrated.

A card is a JSON file beside the weights. Everything that a prediction depends on besides the
weights stands in it and nowhere else, so a retrained model may change its input size or its
calibration without a change of code (as in timm, where preprocessing travels with the weights).
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Final, Literal, TypeVar, get_args

from dermcheck.errors import ModelError
from dermcheck.lesions import CLASSES
from dermcheck.networks.dendrites import DendritePlace

__all__ = [
    "OUTLINER_CLASSES",
    "AnswerRules",
    "Calibration",
    "Geometry",
    "InputSpec",
    "ModelCard",
    "PhotographCheck",
    "Task",
    "UsedFolds",
]

Task = Literal["classification", "segmentation"]
Geometry = Literal["centre_square", "short_side"]

OUTLINER_CLASSES: Final = ("lesion",)
"""The one class of a segmentation model."""

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """How a photograph becomes a network's input. All sizes are pixels of that input."""

    side: int
    """Side of the square (`centre_square`), or length of the short side (`short_side`)."""
    mean: tuple[float, float, float]
    """Subtracted from red, green and blue in [0, 1]."""
    std: tuple[float, float, float]
    """Divides the difference."""
    geometry: Geometry
    """`centre_square` sees the largest centred square; `short_side` sees the whole photograph with its
    aspect ratio kept."""
    multiple: int = 16
    """`short_side` only: rows and columns are padded, by mirroring, to a multiple of this."""
    max_aspect: float = 4.0
    """`short_side` only: the long side is at most this many times `side`. A longer panorama is seen
    smaller, with its aspect ratio kept, so that it costs bounded memory."""
    quarter_turns: bool = False
    """`centre_square` only: whether the answers to the square in its four quarter turns are averaged, which
    takes four times as long."""
    closer_look: bool = False
    """With `quarter_turns` only: whether two of the turns show the square around the outliner's outline in
    the place of the centred one (`inference.closer_look`), which takes no longer."""

    def __post_init__(self) -> None:
        """Refuse what would fail or silently mislead later."""
        _expect("input.side", self.side, _is_count(self.side, 1), "pixels, 1 or more")
        _expect("input.mean", self.mean, _are_numbers(self.mean, 3), "three numbers")
        _expect(
            "input.std", self.std, _are_numbers(self.std, 3) and min(self.std) > 0, "three numbers above 0"
        )
        _expect_choice("input.geometry", self.geometry, get_args(Geometry))
        _expect("input.multiple", self.multiple, _is_count(self.multiple, 1), "pixels, 1 or more")
        wide = _are_numbers((self.max_aspect,), 1) and self.max_aspect >= 1
        _expect("input.max_aspect", self.max_aspect, wide, "a number, 1 or more")
        turns = isinstance(self.quarter_turns, bool) and (
            not self.quarter_turns or self.geometry == "centre_square"
        )
        _expect("input.quarter_turns", self.quarter_turns, turns, "true or false, and false with short_side")
        closer = isinstance(self.closer_look, bool) and (not self.closer_look or self.quarter_turns)
        _expect(
            "input.closer_look", self.closer_look, closer, "true or false, and true with quarter_turns only"
        )


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How logits become probabilities for patients as they come.

    `inference.calibration` holds the rule: temperature scaling (Guo et al. 2017), then exchange of
    the training prior for the natural one (Saerens et al. 2002).
    """

    temperature: float
    """Divides the logits; above 1 it makes the model less sure."""
    training_prior: tuple[float, ...]
    """Class shares the network behaves as if it had been trained on, in the order of the card's classes."""
    natural_prior: tuple[float, ...]
    """Share of each class among the patients the probabilities are meant for."""

    def __post_init__(self) -> None:
        """Refuse what would give infinite or undefined probabilities."""
        positive = _are_numbers((self.temperature,), 1) and self.temperature > 0
        _expect("calibration.temperature", self.temperature, positive, "a number above 0")
        for name in ("training_prior", "natural_prior"):
            prior = getattr(self, name)
            fits = _are_numbers(prior, len(CLASSES)) and min(prior) > 0 and abs(math.fsum(prior) - 1) < 1e-3
            _expect(f"calibration.{name}", prior, fits, "seven shares above 0 that sum to 1")

    @classmethod
    def identity(cls) -> Calibration:
        """Temperature 1 and equal priors: the probabilities are the softmax of the logits."""
        equal = (1 / len(CLASSES),) * len(CLASSES)
        return cls(temperature=1.0, training_prior=equal, natural_prior=equal)


@dataclass(frozen=True, kw_only=True)
class AnswerRules:
    """When a classifier is not sure, which classes remain possible, when melanoma is not excluded.

    `inference.rules` applies them, `training.calibration` fits them on the select fold. All of them act on
    the probabilities under the card's own `natural_prior`, whatever prior a clinic sets: conditional on the
    true class, their error rates then do not depend on how frequent the classes are.
    """

    sure_from: float
    """Smallest confidence, 0 to 1, with which the model does not say "not sure"."""
    sure_share: float
    """Share of the select fold's photographs that it was sure about."""
    sure_error: float
    """Share of wrong decisions among those."""
    possible_from: tuple[float, ...]
    """A class remains possible if its probability is at least this; one threshold for each class."""
    possible_coverage: float
    """Share of photographs, of each class, whose true class shall remain possible."""
    melanoma_from: float | None = None
    """Probability of melanoma from which melanoma is not excluded; None if the fold held too few."""
    melanoma_sensitivity: float = 0.95
    """Share of melanomas that shall lie at or above `melanoma_from`."""

    def __post_init__(self) -> None:
        """Refuse thresholds that are none."""
        for name in ("sure_from", "sure_share", "sure_error", "possible_coverage", "melanoma_sensitivity"):
            value = getattr(self, name)
            _expect(f"rules.{name}", value, _is_share(value), "a number of 0 to 1")
        each = _are_numbers(self.possible_from, len(CLASSES)) and all(map(_is_share, self.possible_from))
        _expect("rules.possible_from", self.possible_from, each, "seven numbers of 0 to 1")
        melanoma = self.melanoma_from is None or _is_share(self.melanoma_from)
        _expect("rules.melanoma_from", self.melanoma_from, melanoma, "a number of 0 to 1, or null")


@dataclass(frozen=True, kw_only=True)
class PhotographCheck:
    """From which score on a picture counts as a lesion photograph.

    The score's weights lie in the weights file, beside the network's own (`networks.photograph_probe`).
    """

    lesion_from: float
    """Smallest score, 0 to 1, of what counts as a lesion photograph."""
    wrongly_flagged: float
    """Share of the select fold's photographs below it."""

    def __post_init__(self) -> None:
        """Refuse a threshold that is none."""
        for name in ("lesion_from", "wrongly_flagged"):
            value = getattr(self, name)
            _expect(f"photograph_check.{name}", value, _is_share(value), "a number of 0 to 1")


@dataclass(frozen=True, kw_only=True)
class UsedFolds:
    """Which folds of one data set a model has seen, and what for. No figure may come from these."""

    fit: tuple[int, ...] = ()
    """Trained on."""
    select: tuple[int, ...] = ()
    """Used to stop, choose, calibrate or set thresholds."""
    own_folds: bool = False
    """Whether the data set came with folds of its own. Without them, DermCheck chooses folds that depend on
    the patient or lesion alone, and they are then others."""

    def __post_init__(self) -> None:
        """Refuse folds that are no numbers."""
        for name in ("fit", "select"):
            folds = getattr(self, name)
            fits = isinstance(folds, tuple) and all(_is_count(fold, 0) for fold in folds)
            _expect(f"used_folds.{name}", folds, fits, "numbers of folds, 0 or more")
        _expect("used_folds.own_folds", self.own_folds, isinstance(self.own_folds, bool), "true or false")


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """All there is to know about one model; valid once constructed.

    Raises
    ------
    ModelError
        If a value is wrong; the sentence names the field, the value found and the value expected.
    """

    name: str
    """What DICOM objects show as the algorithm's name, e.g. ``DermCheck classifier``."""
    version: str
    task: Task
    architecture: str
    """A key of `ARCHITECTURES`."""
    dendrites: int = 0
    """Number of dendrites of each neuron that has some; 0 means a plain network."""
    dendrites_on: DendritePlace = "head"
    """The layers whose neurons have them."""
    classes: tuple[str, ...]
    """In the order of the network's outputs."""
    input: InputSpec
    calibration: Calibration | None = None
    """For classification only, and required there (`Calibration.identity()` where none was fitted)."""
    rules: AnswerRules | None = None
    """For classification only; without them a model is never "not sure"."""
    photograph_check: PhotographCheck | None = None
    """For classification only; without it every picture counts as a lesion photograph."""
    used_folds: Mapping[str, UsedFolds] = field(default_factory=dict)
    """By data set's name; empty in cards that do not say (`data` may, in words)."""
    data: str
    """What the model was trained, selected and calibrated on, for people."""
    licence: str
    """Of the weights, with every condition inherited from the data."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Measured accuracy: free JSON that names data set, fold, command and confidence interval."""
    command: str
    """The command that made the model."""
    created: str = ""
    """ISO 8601 date and time with zone; filled in by `save_model` if empty."""
    sha256: str = ""
    """Of the weights file, in hexadecimal; filled in by `save_model`."""

    def __post_init__(self) -> None:
        """Check every field, and those that must fit each other."""
        for name in ("name", "version"):
            value = getattr(self, name)
            _expect(name, value, _is_long_string(value), "1 to 64 printable characters without a backslash")
        for name in ("architecture", "data", "licence", "command"):
            value = getattr(self, name)
            _expect(name, value, isinstance(value, str) and bool(value.strip()), "text")
        _expect("dendrites", self.dendrites, _is_count(self.dendrites, 0), "a number, 0 or more")
        _expect("input", self.input, isinstance(self.input, InputSpec), "side, mean, std and geometry")
        _expect("figures", self.figures, isinstance(self.figures, Mapping), "a JSON object")
        used = isinstance(self.used_folds, Mapping) and all(
            isinstance(name, str) and isinstance(folds, UsedFolds) for name, folds in self.used_folds.items()
        )
        _expect("used_folds", self.used_folds, used, "fit and select for each data set's name")
        _expect("created", self.created, isinstance(self.created, str), "date and time in ISO 8601")
        hexadecimal = isinstance(self.sha256, str) and re.fullmatch("[0-9a-f]{64}|", self.sha256) is not None
        _expect("sha256", self.sha256, hexadecimal, "64 hexadecimal digits")
        _expect_choice("dendrites_on", self.dendrites_on, get_args(DendritePlace))
        _expect_choice("task", self.task, get_args(Task))
        self._check_task()

    def _check_task(self) -> None:
        classifies = self.task == "classification"
        classes = CLASSES if classifies else OUTLINER_CLASSES
        _expect("classes", self.classes, self.classes == classes, f"{', '.join(classes)} in this order")
        if classifies:
            calibrated = isinstance(self.calibration, Calibration)
            _expect("calibration", self.calibration, calibrated, "one, as the task is classification")
            for name, kind in (("rules", AnswerRules), ("photograph_check", PhotographCheck)):
                value = getattr(self, name)
                _expect(
                    name,
                    value,
                    value is None or isinstance(value, kind),
                    "an object with its fields, or null",
                )
        else:
            _expect(
                "calibration", self.calibration, self.calibration is None, "none, as the task is segmentation"
            )
            for name in ("rules", "photograph_check"):
                value = getattr(self, name)
                _expect(name, value, value is None, "none, as the task is segmentation")
            whole = self.input.geometry == "short_side"
            _expect(
                "input.geometry",
                self.input.geometry,
                whole,
                "short_side, as an outline covers the whole picture",
            )

    def to_json(self) -> str:
        """Write the card as indented JSON text, in the order of the fields.

        Raises
        ------
        ModelError
            If `figures` holds something that JSON cannot say, e.g. NaN.
        """
        try:
            return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        except (TypeError, ValueError) as error:
            raise ModelError(f"Model card: figures cannot be written as JSON ({error}).") from error

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read what `to_json` wrote. Strict: no field may be unknown, missing or of another type.

        Raises
        ------
        ModelError
            In one sentence that names the field; the caller adds the file.
        """
        try:
            loaded = json.loads(text, parse_constant=_refuse_constant)
        except ValueError as error:
            raise ModelError(f"Model card: this is not valid JSON ({error}).") from error
        values = _known_fields(cls, loaded, "the card")
        values["input"] = InputSpec(**_known_fields(InputSpec, values["input"], "input"))
        for name, kind in _PARTS.items():
            if values.get(name) is not None:
                values[name] = kind(**_known_fields(kind, values[name], name))
        if isinstance(used := values.get("used_folds"), dict):
            values["used_folds"] = {
                name: UsedFolds(**_known_fields(UsedFolds, folds, f"used_folds.{name}"))
                for name, folds in used.items()
            }
        return cls(**values)


_PARTS: Final[Mapping[str, type[Any]]] = {
    "calibration": Calibration,
    "rules": AnswerRules,
    "photograph_check": PhotographCheck,
}
"""Fields of a card that are objects, or null."""


def _known_fields(kind: type[_T], value: object, where: str) -> dict[str, Any]:
    """Give the JSON object's entries for the dataclass `kind`, lists as tuples (but not inside `figures`)."""
    if not isinstance(value, dict):
        raise ModelError(f"Model card: {where} is {value!r}, expected a JSON object.")
    known = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]
    for name in value:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "it may come from a newer DermCheck."
            raise ModelError(f"Model card: {where} has the unknown field {name!r}; {hint}")
    required = [
        n for n, entry in known.items() if entry.default is MISSING and entry.default_factory is MISSING
    ]
    missing = [name for name in required if name not in value]
    if missing:
        raise ModelError(f"Model card: {where} lacks {', '.join(missing)}.")
    return {name: tuple(entry) if isinstance(entry, list) else entry for name, entry in value.items()}


def _expect(name: str, value: object, fits: bool, expected: str) -> None:
    if not fits:
        raise ModelError(f"Model card: {name} is {value!r}, expected {expected}.")


def _expect_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    _expect(name, value, value in choices, " or ".join(choices))


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_share(value: object) -> bool:
    return _are_numbers((value,), 1) and 0 <= value <= 1  # type: ignore[operator]


def _is_long_string(value: object) -> bool:
    """Whether DICOM can hold it as a Long String (PS3.5 section 6.2: 64 characters, no backslash)."""
    return (
        isinstance(value, str) and 0 < len(value.strip()) <= 64 and value.isprintable() and "\\" not in value
    )


def _are_numbers(values: object, count: int) -> bool:
    """Whether `values` is a tuple of so many finite numbers."""
    return (
        isinstance(values, tuple)
        and len(values) == count
        and all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)
    )


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")
