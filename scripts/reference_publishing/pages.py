"""The tables of docs/reference-models.md, made from the cards; no figure is typed by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from dermcheck.lesions import CLASSES
from dermcheck.networks.cards import ModelCard
from reference_publishing.measuring import HAM10000, TASK1

__all__ = ["TABLES", "Cards", "one_line", "with_tables"]

Cards = Mapping[str, ModelCard]
"""The shipped models' cards by folder."""

CLASSIFIERS: Final = {"classifier": "pair of EfficientNet-Lite0", "classifier_densenet121": "DenseNet121"}
"""Folders and the names of their columns, the better one first."""
_BEST, _OUTLINER = "classifier", "outliner"

_ACCURACY: Final = {
    "balanced accuracy, seven classes": ("figures", "balanced_accuracy"),
    "accuracy of the decision": ("figures", "accuracy"),
    "macro AUC": ("figures", "macro_auc"),
    "melanoma AUC": ("figures", "melanoma_auc"),
    "melanoma sensitivity of the decision": ("figures", "melanoma_sensitivity"),
    "melanoma specificity of the decision": ("figures", "melanoma_specificity"),
    "specificity at 80 % melanoma sensitivity": ("figures", "specificity_at_80_melanoma_sensitivity"),
    "expected calibration error, 15 bins": ("figures", "expected_calibration_error"),
    "Brier score": ("figures", "brier_score"),
    '"melanoma not excluded": sensitivity': ("operating_points", "melanoma not excluded sensitivity"),
    '"melanoma not excluded": specificity': ("operating_points", "melanoma not excluded specificity"),
    'share "not sure"': ("not_sure", "share not sure"),
    "error of the decision where sure": ("not_sure", "error where sure"),
    "error where not sure": ("not_sure", "error where not sure"),
    "true class among the possible ones (promised: 0.9)": ("possible_classes", "coverage"),
    "possible classes a photograph": ("possible_classes", "classes that remain"),
    "flagged as no lesion photograph": (
        "lesion_photograph",
        "share flagged as no lesion photograph",
    ),
}
_ELSEWHERE: Final = (
    "melanoma AUC",
    "accuracy of the decision",
    "melanoma sensitivity of the decision",
    '"melanoma not excluded": sensitivity',
    '"melanoma not excluded": specificity',
    "expected calibration error, 15 bins",
    "true class among the possible ones (promised: 0.9)",
    "flagged as no lesion photograph",
)
_OUTLINES: Final = {
    "Jaccard index": "jaccard",
    "thresholded Jaccard index (below 0.65 counts 0)": "thresholded_jaccard",
    "Dice": "dice",
    "boundary distance, parts of the short side": "boundary_distance",
    "share of outlines below 0.65": "share_below_threshold",
}


def one_line(cards: Cards) -> str:
    """Say the figures in one sentence, for the README."""
    classified, outlined = cards[_BEST].figures, cards[_OUTLINER].figures
    figures = classified[HAM10000]["figures"]
    return (
        f"On {classified[HAM10000]['images']:,} photographs that nothing was fitted to: balanced accuracy "
        f"{_figure(figures['balanced_accuracy'])}, melanoma AUC {_figure(figures['melanoma_auc'])}, expected "
        f"calibration error {_figure(figures['expected_calibration_error'])}, Jaccard index "
        f"{_figure(outlined[HAM10000]['figures']['jaccard'])}; on those of other hospitals melanoma AUC "
        f"{_figure(classified[TASK1]['figures']['melanoma_auc'])}, Jaccard index "
        f"{_figure(outlined[TASK1]['figures']['jaccard'])}."
    )


def with_tables(text: str, cards: Cards) -> str:
    """Exchange what stands between ``<!-- table: NAME -->`` and ``<!-- end -->`` for the table of that name.

    Raises
    ------
    ValueError
        If a table's place is missing or unknown.
    """
    found = re.findall(r"<!-- table: (\w+) -->", text)
    if sorted(found) != sorted(TABLES):
        raise ValueError(f"the page has the tables {sorted(found)}, expected {sorted(TABLES)}")

    def written(match: re.Match[str]) -> str:
        return f"<!-- table: {match[1]} -->\n\n{TABLES[match[1]](cards)}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->.*?<!-- end -->", written, text, flags=re.DOTALL)


def _accuracy(cards: Cards) -> str:
    return _of_classifiers(cards, HAM10000, "HAM10000 fold 9", list(_ACCURACY))


def _elsewhere(cards: Cards) -> str:
    return _of_classifiers(cards, TASK1, "ISIC 2018 Task 1 fold 9", _ELSEWHERE)


def _of_classifiers(cards: Cards, source: str, where: str, names: Iterable[str]) -> str:
    images = cards[_BEST].figures[source]["images"]
    rows = []
    for name in names:
        section, figure = _ACCURACY[name]
        rows.append([name, *(_figure(cards[f].figures[source][section][figure]) for f in CLASSIFIERS)])
    return _table([f"classifiers, {where} ({images:,} photographs)", *CLASSIFIERS.values()], rows)


def _classes(cards: Cards) -> str:
    found = cards[_BEST].figures[HAM10000]
    rows = [
        [
            name,
            str(found["classes"][name]),
            *(_figure(found["figures"][f"{kind}_{name}"]) for kind in ("auc", "sensitivity", "specificity")),
            _figure(found["possible_classes"][f"coverage {name}"]),
        ]
        for name in CLASSES
    ]
    head = [f"`{_BEST}` by class", "photographs", "AUC", "sensitivity", "specificity", "stays possible"]
    return _table(head, rows)


def _outlines(cards: Cards) -> str:
    found = cards[_OUTLINER].figures
    rows = [
        [words, *(_figure(found[source]["figures"][name]) for source in (HAM10000, TASK1))]
        for words, name in _OUTLINES.items()
    ]
    counts = [found[source]["images"] for source in (HAM10000, TASK1)]
    head = [
        "outliner, fold 9",
        f"HAM10000 ({counts[0]:,})",
        f"ISIC 2018 Task 1, expert masks ({counts[1]:,})",
    ]
    return _table(head, rows)


def _everyday(cards: Cards) -> str:
    """Agreement of decisions and outlines, and whether it reaches the aim."""
    head, columns = ["HAM10000 fold 9, changed"], []
    for folder, name in {**CLASSIFIERS, _OUTLINER: "outliner"}.items():
        if "robustness" not in cards[folder].figures[HAM10000]:
            continue
        aim = _robustness(cards, folder)["aim"]
        what = "same decision" if aim["figure"] == "agreement" else "Jaccard index with the unchanged"
        head.append(f"{name}: {what} (aim: {aim['least']})")
        columns.append((folder, aim["figure"], aim["least"]))
    rows = []
    for change in _robustness(cards, _BEST)["everyday"]:
        row = [change]
        for folder, name, least in columns:
            figure = _robustness(cards, folder)["everyday"][change][name]
            row.append(_figure(figure) + (", reached" if figure["value"] >= least else ", missed"))
        rows.append(row)
    return _table(head, rows)


def _difficult(cards: Cards) -> str:
    """Show what difficult photographs cost the models in use."""
    classified, outlined = _robustness(cards, _BEST), _robustness(cards, _OUTLINER)
    figures = (
        "balanced_accuracy",
        "agreement",
        "melanoma_not_excluded_sensitivity",
        "melanoma_not_excluded_specificity",
        "share_flagged_as_no_lesion_photograph",
    )
    rows = []
    for name, found in {"unchanged": classified["unchanged"], **classified["difficult"]}.items():
        mask = outlined["unchanged"] if name == "unchanged" else outlined["difficult"][name]
        rows.append([name, *(f"{found[f]['value']:.3f}" for f in figures), _figure(mask["jaccard"])])
    head = [
        "HAM10000 fold 9, made difficult",
        "balanced accuracy",
        "same decision",
        '"melanoma not excluded": sensitivity',
        "its specificity",
        "flagged as no lesion photograph",
        "outline: Jaccard index",
    ]
    return _table(head, rows)


def _subgroups(cards: Cards) -> str:
    classified = cards[_BEST].figures[HAM10000]["subgroups"]
    outlined = cards[_OUTLINER].figures[HAM10000]["subgroups"]
    figures = ("balanced_accuracy", "accuracy", "melanoma_not_excluded_sensitivity")
    rows = []
    for attribute, groups in classified.items():
        for value, found in groups.items():
            mask = outlined[attribute].get(value, {})
            rows.append(
                [
                    f"{attribute.replace('_', ' ')}: {value}",
                    str(found["images"]),
                    str(found["lesions"]),
                    *(_figure(found.get(name)) for name in figures),
                    _figure(mask.get("jaccard")),
                ]
            )
    head = ["HAM10000 fold 9", "photographs", "lesions", "balanced accuracy", "accuracy"]
    return _table([*head, '"melanoma not excluded": sensitivity', "outline: Jaccard index"], rows)


def _robustness(cards: Cards, folder: str) -> dict[str, Any]:
    found: dict[str, Any] = cards[folder].figures[HAM10000]["robustness"]
    return found


def _figure(figure: Mapping[str, Any] | None) -> str:
    """Write value and interval; a dash where there are too few lesions to tell."""
    if figure is None or figure["value"] is None:
        return "–"
    low, high = figure["interval95"]
    return f"{figure['value']:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


TABLES: Final[Mapping[str, Callable[[Cards], str]]] = {
    "accuracy": _accuracy,
    "classes": _classes,
    "elsewhere": _elsewhere,
    "outlines": _outlines,
    "everyday": _everyday,
    "difficult": _difficult,
    "subgroups": _subgroups,
}
