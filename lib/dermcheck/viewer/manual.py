"""Shows the documents of `docs/` in the browser, so that nobody at the workstation has to look for files."""

from __future__ import annotations

import html
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, Response

from dermcheck.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token

__all__ = ["router"]

router = APIRouter(prefix="/viewer", include_in_schema=False)

_PACKAGE: Final = Path(__file__).parents[1]
_PLACES: Final = (_PACKAGE, _PACKAGE.parents[1])
"""Where the folder `docs` is: in a package built with it, or in the repository."""
_NAME: Final = re.compile(r"[A-Za-z-]+\.md")
_PICTURE: Final = re.compile(r"[A-Za-z-]+\.(?:png|svg)")
_BESIDE: Final = ("README.md", "CHANGELOG.md")
"""Documents that lie beside the folder; those of `docs` refer to them."""
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self'; script-src 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
}


@router.get("/docs/{name}")
def document(name: str) -> Response:
    """Show a document."""
    if not _NAME.fullmatch(name):
        raise _unknown(name)
    return _page(f"docs/{name}")


@router.get("/docs/images/{name}")
def picture(name: str) -> Response:
    """Give a picture of a document."""
    if not _PICTURE.fullmatch(name):
        raise _unknown(name)
    return FileResponse(_find(f"docs/images/{name}"), headers=_HEADERS)


@router.get("/{name}.md")
def document_beside(name: str) -> Response:
    """Show one of the documents beside the folder."""
    if f"{name}.md" not in _BESIDE:
        raise _unknown(name)
    return _page(f"{name}.md")


def _page(path: str) -> HTMLResponse:
    found = _find(path)
    return HTMLResponse(_render(found, found.stat().st_mtime_ns), headers=_HEADERS)


def _find(path: str) -> Path:
    found = next((place / path for place in _PLACES if (place / path).is_file()), None)
    if found is None:
        raise _unknown(path)
    return found


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(f"There is no document {name!r}. Look into the folder docs of DermCheck.")


@cache
def _render(path: Path, modified_ns: int) -> str:
    """Turn Markdown into a page; links between documents fit, as addresses are like the files' names."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable("table")  # HTML in it is ours: remarks for the tests
    tokens = parser.parse(path.read_text(encoding="utf-8"))
    _name_headings(tokens)
    _end_links_that_lead_elsewhere(tokens)
    body = parser.renderer.render(tokens, parser.options, {})
    return _FRAME.format(title=html.escape(path.stem), body=body)


def _name_headings(tokens: Sequence[Token]) -> None:
    """Give headings the names by which links find them, as GitHub forms them."""
    for heading, content in pairwise(tokens):
        if heading.type == "heading_open":
            words = re.sub(r"[^\w\- ]", "", content.content.lower())
            heading.attrSet("id", words.replace(" ", "-"))


def _end_links_that_lead_elsewhere(tokens: Sequence[Token]) -> None:
    """Leave the text of links to files that the server does not show."""
    for token in tokens:
        open_link = None
        for child in token.children or ():
            if child.type == "link_open":
                address = str(child.attrGet("href")).partition("#")[0]
                open_link = child
                if not _is_shown(address):
                    child.tag, child.attrs = "span", {}
            elif child.type == "link_close" and open_link is not None:
                child.tag, open_link = open_link.tag, None


def _is_shown(address: str) -> bool:
    return not address or bool(_NAME.fullmatch(address.removeprefix("docs/"))) or address[3:] in _BESIDE


_FRAME: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} – DermCheck</title><link rel="stylesheet" href="/viewer/static/start.css"></head>
<body class="document"><p><a href="/">DermCheck</a></p>
{body}
</body></html>
"""
