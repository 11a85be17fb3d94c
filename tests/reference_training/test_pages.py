"""The page of the reference models says what their cards say."""

from pathlib import Path

import pytest

import write_reference_pages as pages
from reference_publishing.pages import one_line, with_tables
from reference_publishing.pictures import reliability_svg

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def cards():
    return pages.shipped_cards()


def test_the_tables_are_those_of_the_cards(cards):
    page = (DOCS / "reference-models.md").read_text(encoding="utf-8")
    assert with_tables(page, cards) == page, "run scripts/write_reference_pages.py"


def test_the_reliability_diagram_is_that_of_the_cards(cards):
    assert (DOCS / "images/reliability.svg").read_text() == pages.reliability(cards)


def test_a_page_that_lacks_a_table_is_refused(cards):
    with pytest.raises(ValueError, match="expected"):
        with_tables("<!-- table: accuracy -->\n<!-- end -->", cards)


def test_the_readmes_line_has_figures_with_their_intervals(cards):
    line = one_line(cards)
    assert line.count(" to 0.") == 6
    assert "–" not in line


def test_circles_lie_where_confidence_and_accuracy_are():
    bins = [
        {"images": 3, "confidence": 0.25, "accuracy": 1.0},
        {"images": 1, "confidence": 1.0, "accuracy": 0.5},
    ]
    drawn = reliability_svg({"a": bins})
    assert 'cx="65.0" cy="0.0"' in drawn
    assert 'cx="260.0" cy="130.0"' in drawn
    assert drawn.count("<circle") == 2
