"""Write the figures of the reference models' cards into the documentation.

    python3 scripts/write_reference_pages.py

The tables of docs/reference-models.md, the reliability diagram and the drawn difficult photographs beside it
are made from the cards and the models, so that no figure is typed by hand. Prints the README's line.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from dermcheck.inference import Predictor
from dermcheck.networks.checkpoint import REFERENCE_MODELS, read_card
from reference_publishing.measuring import HAM10000, TASK1
from reference_publishing.pages import CLASSIFIERS, Cards, one_line, with_tables
from reference_publishing.pictures import difficult_photographs_png, reliability_svg

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, PICTURES = "reference-models.md", "images"


def shipped_cards() -> Cards:
    """Read the cards of all shipped models."""
    return {folder: read_card(REFERENCE_MODELS / folder) for folder in (*CLASSIFIERS, "outliner")}


def reliability(cards: Cards) -> str:
    """Draw the reliability diagram of the best classifier on both data sets, and of the other one."""
    best, *others = CLASSIFIERS
    panels = [(best, HAM10000, "HAM10000"), (best, TASK1, "other hospitals (Task 1)")]
    panels += [(other, HAM10000, "HAM10000") for other in others]
    return reliability_svg(
        {
            f"{CLASSIFIERS[folder]}, {where}": cards[folder].figures[source]["reliability"]
            for folder, source, where in panels
        }
    )


def main() -> None:
    """Write all of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the documents")
    arguments = parser.parse_args()
    cards, page = shipped_cards(), arguments.docs / PAGE
    page.write_text(with_tables(page.read_text(encoding="utf-8"), cards), encoding="utf-8")
    pictures = arguments.docs / PICTURES
    (pictures / "reliability.svg").write_text(reliability(cards), encoding="utf-8")
    (pictures / "difficult-photographs.png").write_bytes(difficult_photographs_png(Predictor.load()))
    print(one_line(cards))


if __name__ == "__main__":
    main()
