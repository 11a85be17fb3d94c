r"""Prove that the figures of the reference models' cards are those of the product.

    python3 scripts/check_reference_models.py --ham10000 DIR --task1 DIR --diagnoses CSV --cache DIR

Lets `dermcheck batch` predict the photograph files of fold 9 with the shipped half-precision weights,
computes all figures from the CSV tables and PNG masks that it writes, and compares them with the cards:
accuracy, intervals, operating points, confusion, reliability, subgroups. Exit status 0 if all are equal to
the last of their four decimals, 1 if not. Robustness and pictures of other things are not part of it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from dermcheck.networks.checkpoint import REFERENCE_MODELS, read_card
from dermcheck.training.data import DataSet, identify, open_data_set
from reference_publishing.measuring import HAM10000, TASK1, fold_9, only
from reference_publishing.product_path import differences, predict_fold_9, reports_of_results


def main() -> int:
    """Predict, compute, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ham10000", type=Path, required=True, help="folder with images, masks, labels.csv")
    parser.add_argument("--task1", type=Path, required=True, help="the same of ISIC 2018 Task 1")
    parser.add_argument("--diagnoses", type=Path, required=True, help="CSV of Task 1's diagnoses")
    parser.add_argument("--cache", type=Path, required=True, help="folder for what is known of the files")
    parser.add_argument("--models", type=Path, default=REFERENCE_MODELS, help="folder of the models")
    arguments = parser.parse_args()
    data = open_data_set(arguments.ham10000, name=HAM10000)
    data += open_data_set(arguments.task1, diagnoses=arguments.diagnoses, name=TASK1)
    data = identify(data, arguments.cache)
    classifiers = [f for f in sorted(arguments.models.iterdir()) if f.name.startswith("classifier")]
    equal = [_check(folder, arguments.models / "outliner", data) for folder in classifiers]
    return 0 if all(equal) else 1


def _check(classifier: Path, outliner: Path, data: DataSet) -> bool:
    """Compare the figures of one pair of models; the outliner's are compared with each classifier's again."""
    cards = {"classification": read_card(classifier), "segmentation": read_card(outliner)}
    all_equal = True
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        shutil.copytree(classifier, models / "classifier")
        shutil.copytree(outliner, models / "outliner")
        for source in (HAM10000, TASK1):
            part, output = only(data, source), Path(folder) / source
            predict_fold_9(part, models, output)
            for task, report in reports_of_results(part, output, cards["classification"]).items():
                name = classifier.name if task == "classification" else outliner.name
                all_equal &= _compare(f"{name}, {source}", cards[task].figures.get(source), fold_9(report))
    return all_equal


def _compare(name: str, card: Any, found: dict[str, Any]) -> bool:
    compared, different = _count(found), list(differences(card, found))
    print(f"{name}: {compared - len(different)} of {compared} values equal the card's")
    for where, one, two in different:
        print(f"  {where}: the card says {one}, dermcheck batch gives {two}")
    return not different


def _count(found: object) -> int:
    if isinstance(found, dict):
        return sum(map(_count, found.values()))
    return sum(map(_count, found)) if isinstance(found, list) else 1


if __name__ == "__main__":
    sys.exit(main())
