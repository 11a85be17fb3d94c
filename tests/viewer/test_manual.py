"""The documents in the browser."""

import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from dermcheck.errors import NotFoundError
from dermcheck.viewer.manual import router

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def browser():
    server = FastAPI()
    server.include_router(router)
    return TestClient(server)


@pytest.mark.parametrize("name", sorted(path.name for path in DOCS.glob("*.md")))
def test_every_document_is_shown_and_its_links_lead_somewhere(browser, name):
    answer = browser.get(f"/viewer/docs/{name}")
    assert answer.status_code == 200
    title = (DOCS / name).read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    assert f">{title}</h1>" in answer.text
    for address in re.findall(r'(?:href|src)="([^"]+)"', answer.text):
        if address in ("/", "/viewer/static/start.css"):
            continue
        target = answer.url.join(address)
        page = browser.get(target)
        assert page.status_code == 200, address
        if target.fragment:
            assert f'id="{target.fragment}"' in page.text, address


def test_tables_and_code_are_shown_as_such_and_remarks_for_tests_are_not(browser):
    page = browser.get("/viewer/docs/administrator.md").text
    assert "<table>" in page
    assert "<pre><code" in page
    assert "<!-- not run" in page  # a comment, not a text
    assert "&lt;!--" not in page


@pytest.mark.parametrize("name", ["docs/nothing.md", "docs/a.b.md", "pyproject.md", "docs/images/x.png"])
def test_nothing_else_is_given(browser, name):
    with pytest.raises(NotFoundError, match="no document"):
        browser.get(f"/viewer/{name}")
