"""The HTML page of an evaluation: one file that needs nothing else, with its pictures inside."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from dermcheck.training.evaluation.pictures import Picture

__all__ = ["write_page"]

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em; color: #222; }
h1 { font-size: 1.5em; } h2 { margin-top: 2em; } h3 { margin-top: 1.5em; font-size: 1em; }
.warning { background: #fde8e0; border-left: .4em solid #d55e00; padding: .5em 1em; }
table { border-collapse: collapse; margin: .5em 0; } td, th { padding: .15em .8em; text-align: left; }
tr:nth-child(even) { background: #f3f5f7; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { display: inline-block; margin: .5em; max-width: 32em; vertical-align: top; }
figure.case { max-width: 15em; } figcaption { font-size: .85em; } img { max-width: 100%; }
"""
_SECTIONS: Final = {
    "figures": "Figures",
    "operating_points": "Melanoma against the rest",
    "not_sure": "Not sure",
    "possible_classes": "Classes that remain possible",
    "lesion_photograph": "Lesion photograph or not",
}


def write_page(
    report: Mapping[str, Any],
    pictures: Mapping[str, Sequence[Picture]],
    cases: Mapping[str, Sequence[Picture]],
) -> str:
    """Write the page.

    Parameters
    ----------
    report
        As `dermcheck evaluate` prints it: title, notice, warnings, models, and a report for each task.
    pictures, cases
        By task.
    """
    parts = [f"<h1>{escape(report['title'])}</h1>", f"<p>{escape(report['notice'])}</p>"]
    if report["warnings"]:
        sentences = "".join(f"<li>{escape(sentence)}.</li>" for sentence in report["warnings"])
        parts.append(
            f'<div class="warning"><p>These figures are not honest ones: they are too good.</p>'
            f"<ul>{sentences}</ul></div>"
        )
    parts.append(
        f"<p>Data: {escape(report['data'])}. Folds: {escape(', '.join(map(str, report['folds'])))}.</p>"
    )
    for task, model in report["models"].items():
        parts.append(
            f"<h2>{escape(task.capitalize())}: {escape(model['name'])} {escape(model['version'])}</h2>"
        )
        parts.append(_task(report[task], pictures.get(task, ()), cases.get(task, ())))
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>{escape(report['title'])}</title>\n"
        f"<style>{_STYLE}</style>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _task(report: Mapping[str, Any], pictures: Iterable[Picture], cases: Sequence[Picture]) -> str:
    counts = f"{report['images']:,} photographs of {report['lesions']:,} lesions."
    parts = [f"<p>{counts} Intervals are 95 % bootstrap intervals over lesions.</p>"]
    parts += [_figure(picture) for picture in pictures]
    for name, heading in _SECTIONS.items():
        if report.get(name):
            parts.append(f"<h3>{heading}</h3>{_table(report[name])}")
    for attribute, groups in report["subgroups"].items():
        parts.append(f"<h3>By {escape(_words(attribute))}</h3>{_subgroups(groups)}")
    if "robustness" in report:
        parts.append(_robustness(report["robustness"]))
    if cases:
        parts.append("<h3>Worst cases</h3>")
        parts += [_figure(case, "case") for case in cases]
    if report["problems"]:
        sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in report["problems"])
        parts.append(f"<h3>Photographs left out</h3><ul>{sentences}</ul>")
    return "\n".join(parts)


def _table(figures: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><td>{escape(_words(name))}</td><td class="number">{_number(figure)}</td></tr>'
        for name, figure in figures.items()
    )
    return f"<table>{rows}</table>"


def _robustness(robustness: Mapping[str, Any]) -> str:
    aim = robustness["aim"]
    reached = "is reached" if aim["reached"] else "is missed"
    return (
        "<h3>Changed photographs</h3>"
        f"<p>{_words(aim['figure']).capitalize()} shall be at least {aim['least']} under every everyday "
        f"change: this {reached}.</p>"
        + _subgroups({"unchanged": robustness["unchanged"]} | robustness["everyday"], ())
        + "<h3>Difficult photographs</h3>"
        + _subgroups(robustness["difficult"], ())
    )


def _subgroups(groups: Mapping[str, Mapping[str, Any]], counts: Sequence[str] = ("images", "lesions")) -> str:
    names = list(dict.fromkeys(name for group in groups.values() for name in group if name not in counts))
    head = "".join(f"<th>{escape(_words(name))}</th>" for name in ("", *counts, *names))
    rows = "".join(
        f"<tr><td>{escape(value)}</td>"
        + "".join(f'<td class="number">{group[name]:,}</td>' for name in counts)
        + "".join(f'<td class="number">{_number(group.get(name))}</td>' for name in names)
        + "</tr>"
        for value, group in groups.items()
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def _number(figure: Mapping[str, Any] | None) -> str:
    """Write value and interval; a dash where there are too few photographs to tell."""
    if figure is None or figure["value"] is None:
        return "–"
    low, high = figure["interval95"]
    interval = "" if low is None else f" [{low:.3f}, {high:.3f}]"
    return f"{figure['value']:.3f}{interval}"


def _figure(picture: Picture, kind: str = "") -> str:
    source = base64.b64encode(picture.png).decode()
    return (
        f'<figure class="{kind}"><img alt="{escape(picture.caption)}" src="data:image/png;base64,{source}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def _words(name: str) -> str:
    return name.replace("_", " ")
