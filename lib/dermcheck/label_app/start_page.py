"""The page a browser shows at the server's address: what to do, what is done, how the server is."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from dermcheck.errors import DermCheckError
from dermcheck.label_app.learning_words import say_plan
from dermcheck.label_app.start_page_texts import TEXTS
from dermcheck.lesions import Language

if TYPE_CHECKING:
    from dermcheck.dicom.header import PhotographHeader
    from dermcheck.label_app.application import DermCheckApp

__all__ = ["HEADERS", "START_PAGE_WITHOUT_LIST", "Listed", "render_start_page", "spoken_language"]

Listed = Literal["open", "done", "all"]
"""Which photographs are listed."""

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self'; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PAGE_SIZE: Final = 50
_MOST_PROBLEMS: Final = 20


@dataclass(frozen=True, slots=True)
class _Row:
    """A photograph in the list."""

    header: PhotographHeader
    labelled_by: str | None
    labelled_on: str | None
    visitors: tuple[str, ...]


def spoken_language(accept_language: str) -> Language:
    """Return the language that a browser prefers among those we have.

    >>> spoken_language("de-AT,de;q=0.9,en;q=0.8")
    'de'
    >>> spoken_language("fr, en;q=0.5")
    'en'
    """
    wanted = [part.partition(";")[0].strip().casefold()[:2] for part in accept_language.split(",")]
    return "de" if next((name for name in wanted if name in TEXTS), "en") == "de" else "en"


def render_start_page(app: DermCheckApp, language: Language, listed: Listed = "open", page: int = 1) -> str:
    """Write the page.

    Parameters
    ----------
    page
        Which page of the list, from 1; one that there is not becomes the nearest.
    """
    say = TEXTS[language]
    films = app.store.multi_frame_ids()  # nobody is asked to label them
    images = [image for image in app.store.image_ids() if image not in films]
    done = app.store.finished_ids().intersection(images)
    body = "\n".join(
        (
            f"<header><h1>DermCheck</h1><p><strong>{say['research']}</strong></p></header>",
            _next_step(say, len(images), len(done)),
            _problems(say, [*_unsent(app, say), *app.store.problems(), *app.model_versions()["problems"]]),
            _worklist(app, say, images, done, listed, page),
            _upload(say),
            _learning(app, say, language),
            f"<section><h2>{say['slicer']}</h2><p>{say['slicer_steps']}</p></section>",
            f"<section><h2>{say['documents']}</h2><p>{say['documents_list']}</p></section>",
            _server(app, say),
        )
    )
    return _FRAME.format(language=language, body=body)


def _next_step(say: dict[str, str], total: int, done: int) -> str:
    if not total:
        return f"<section class='first'><p>{say['no_photographs']}</p></section>"
    counts = say["counts"].format(done=done, total=total, left=total - done)
    return (
        "<section class='first'>"
        f"<p><a class='button' href='/viewer/start'>{say['start']}</a> "
        f"<a href='/ohif/'>{say['studies']}</a></p>"
        f"<p><progress max='{total}' value='{done}'></progress> <span>{counts}</span></p>"
        f"<p id='waiting' data-text='{_text(say['waiting'])}' hidden></p>"
        f"<p class='small'>{say['keys']}</p></section>"
    )


def _unsent(app: DermCheckApp, say: dict[str, str]) -> list[str]:
    """Say how many labels wait for the archive, and why."""
    waiting = app.store.unsent()
    reasons = sorted({entry.reason for entry in waiting if entry.reason})
    return [" ".join([say["unsent"].format(count=len(waiting)), *reasons])] if waiting else []


def _problems(say: dict[str, str], problems: list[str]) -> str:
    if not problems:
        return ""
    lines = "".join(f"<li>{_text(problem)}</li>" for problem in problems[:_MOST_PROBLEMS])
    if (more := len(problems) - _MOST_PROBLEMS) > 0:
        lines += f"<li>{say['more'].format(more=more)}</li>"
    return f"<section class='problems'><h2>{say['problems']}</h2><ul>{lines}</ul></section>"


def _worklist(
    app: DermCheckApp, say: dict[str, str], images: list[str], done: frozenset[str], listed: Listed, page: int
) -> str:
    chosen = [image for image in images if listed == "all" or (image in done) == (listed == "done")]
    pages = max(1, math.ceil(len(chosen) / _PAGE_SIZE))
    page = min(max(page, 1), pages)
    rows = [
        _row(app, image, say["somebody"]) for image in chosen[(page - 1) * _PAGE_SIZE : page * _PAGE_SIZE]
    ]
    tabs = " ".join(_tab(say[f"list_{name}"], name, listed == name) for name in ("open", "done", "all"))
    steps = ""
    if pages > 1:
        before = f"<a href='/?list={listed}&amp;page={page - 1}'>{say['before']}</a>" if page > 1 else ""
        after = f"<a href='/?list={listed}&amp;page={page + 1}'>{say['after']}</a>" if page < pages else ""
        steps = f"<p>{before} {say['page'].format(page=page, pages=pages)} {after}</p>"
    head = "".join(f"<th scope='col'>{say[name]}</th>" for name in ("photograph", "taken", "where", "state"))
    lines = "".join(_line(row, say) for row in rows)
    empty = "" if rows else f"<p>{say['nothing_listed']}</p>"
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>" if rows else ""
    return f"<section><h2>{say['list']}</h2><p class='tabs'>{tabs}</p>{table}{empty}{steps}</section>"


def _tab(label: str, name: str, chosen: bool) -> str:
    return f"<a href='/?list={name}'{' aria-current=true' if chosen else ''}>{label}</a>"


def _row(app: DermCheckApp, image: str, somebody: str) -> _Row:
    label = app.store.latest_final(image)
    visitors = {visit.clinician or somebody for visit in app.worklist.visits(image)}
    return _Row(
        app.store.header(image),
        (label.creator or somebody) if label else None,
        f"{label.created:%Y-%m-%d %H:%M}" if label and label.created.year > 1 else None,
        tuple(sorted(visitors)),
    )


def _line(row: _Row, say: dict[str, str]) -> str:
    header = row.header
    study, series, image = (
        header.study_instance_uid,
        header.series_instance_uid,
        header.sop_instance_uid,
    )
    thumbnail = f"/dicom-web/studies/{study}/series/{series}/instances/{image}/thumbnail"
    link = f"/ohif/derm?StudyInstanceUIDs={study}&amp;image={image}"
    taken = f"{header.acquired:%Y-%m-%d}" if header.acquired else "–"
    side = say.get(f"side_{header.laterality}")
    where = " · ".join(part for part in (header.anatomic_site, side, header.tracking_id) if part)
    state = say["open"]
    if row.labelled_by:
        state = say["labelled"].format(who=row.labelled_by, when=row.labelled_on or "")
    if row.visitors:
        state += f" · {say['visited'].format(who=', '.join(row.visitors))}"
    picture = f"<img src='{thumbnail}' alt='{_text(say['open_photograph'])}' loading='lazy' height='48'>"
    return (
        f"<tr><td><a href='{link}'>{picture}</a></td><td>{taken}</td><td>{_text(where or '–')}</td>"
        f"<td>{_text(state)}</td></tr>"
    )


def _upload(say: dict[str, str]) -> str:
    fields = "".join(
        f"<label>{say[name]} <input name='{name}' type='{kind}'></label>"
        for name, kind in (("patient_id", "text"), ("body_site", "text"), ("acquired", "date"))
    )
    texts = " ".join(f"data-{name}='{_text(say[f'upload_{name}'])}'" for name in ("done", "failed", "busy"))
    return (
        f"<section><h2>{say['upload']}</h2><form id='upload' {texts}>"
        f"<p>{say['upload_hint']}</p><p class='fields'>{fields}</p>"
        f"<label class='drop'>{say['upload_drop']} <input type='file' multiple "
        "accept='image/jpeg,image/png,image/tiff,application/dicom,.dcm'></label>"
        "<ul role='status' aria-live='polite'></ul></form></section>"
    )


def _learning(app: DermCheckApp, say: dict[str, str], language: Language) -> str:
    """Say when the next training starts, or why not, and show how the models came on."""
    if app.automatic is None:
        return ""
    try:
        plans = [say_plan(plan, language) for plan in app.automatic.plans()]
    except DermCheckError as error:
        return f"<section><h2>{say['learning']}</h2><p class='failed'>{_text(str(error))}</p></section>"
    lines = "".join(
        f"<li><strong>{_text(name)}:</strong> {_text(sentences)}</li>" for name, sentences in plans
    )
    return (
        f"<section><h2>{say['learning']}</h2><ul>{lines}</ul><details><summary>{say['history']}</summary>"
        f"<img src='/viewer/history.svg' alt='{_text(say['history'])}' loading='lazy' width='100%'>"
        "</details></section>"
    )


def _server(app: DermCheckApp, say: dict[str, str]) -> str:
    state: dict[str, Any] = app.model_versions()
    models = "".join(
        f"<li>{_text(version['name'])} {_text(version['version'])}"
        f"{' (' + _text(version['registered_as']) + ')' if 'registered_as' in version else ''}</li>"
        for version in state["versions"].values()
    )
    doctor = ""
    if app.examine is not None:
        doctor = f"<p><button type='button' id='examine'>{say['examine']}</button></p><ul id='findings'></ul>"
    return (
        f"<section><h2>{say['server']}</h2><p>{say['models']}</p><ul>{models or say['loading']}</ul>"
        f"<div id='training' data-running='{_text(say['training'])}'></div>{doctor}"
        f"<p class='small'><a href='/info/'>{say['offers']}</a> (JSON) · "
        f"<a href='/openapi.json'>{say['requests']}</a> (OpenAPI)</p></section>"
    )


def _text(text: str) -> str:
    return html.escape(text, quote=True)


_FRAME: Final = """<!DOCTYPE html>
<html lang="{language}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>DermCheck</title><link rel="stylesheet" href="/viewer/static/start.css">
<script type="module" src="/viewer/static/start.js"></script></head>
<body>
{body}
</body>
</html>
"""

START_PAGE_WITHOUT_LIST: Final = _FRAME.format(
    language="en",
    body=f"<h1>DermCheck</h1><p><strong>{TEXTS['en']['research']}</strong></p>"
    f"<h2>{TEXTS['en']['slicer']}</h2><p>{TEXTS['en']['slicer_steps']}</p>",
).replace('<script type="module" src="/viewer/static/start.js"></script>', "")
"""For servers with log-in."""
