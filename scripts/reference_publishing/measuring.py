"""All figures of a card: accuracy, subgroups, robustness, and what is no lesion photograph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dermcheck.dicom import read_picture
from dermcheck.inference import Predictor
from dermcheck.inference.classifier import Classifier
from dermcheck.networks.checkpoint import LoadedModel
from dermcheck.networks.photograph_probe import probe_of
from dermcheck.training.data import DataSet, Photographs
from dermcheck.training.data.splits import REPORT
from dermcheck.training.evaluation.answers import classify_photographs, outline_photographs
from dermcheck.training.evaluation.reports import classification_report, outline_report
from dermcheck.training.evaluation.robustness import answer_perturbed, robustness_report
from dermcheck.training.negatives import NEGATIVE_KINDS, draw_negatives
from dermcheck.training.photograph_check import CheckFeatures, gather_features, measure_left_out

__all__ = ["HAM10000", "TASK1", "fold_9", "measure", "measure_check", "measure_robustness", "only"]

HAM10000, TASK1 = "ham10000", "isic2018_task1"
CHECKED_PX = 256


def measure(model: LoadedModel, data: DataSet, outliner: LoadedModel) -> dict[str, Any]:
    """Figures of fold 9, each with its 95 % bootstrap interval by lesion, by data set.

    `outliner` shows a classifier where to look closer, if its card asks for that.
    """
    card = model[1]
    figures: dict[str, Any] = {"fold": 9}
    for source in (HAM10000, TASK1):
        part = only(data, source)
        if card.task == "segmentation":
            figures[source] = outline_report(outline_photographs(model, part, REPORT, progress=True))
        else:
            answers = classify_photographs(model, part, REPORT, outliner=outliner, progress=True)
            figures[source] = classification_report(answers, card.rules)
        fold_9(figures[source])
    return figures


def fold_9(report: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a report what a card has elsewhere; changes it."""
    for known in ("sources", "problems"):
        del report[known]
    return report


def measure_robustness(
    classifier: LoadedModel, outliner: LoadedModel, data: DataSet
) -> dict[str, dict[str, Any]]:
    """Figures of fold 9 under perturbations, by task and data set."""
    predictor = Predictor(classifier, outliner)
    figures: dict[str, dict[str, Any]] = {"classification": {}, "segmentation": {}}
    for source in (HAM10000, TASK1):
        answers = answer_perturbed(predictor, only(data, source), REPORT, progress=True)
        figures["classification"][source] = robustness_report(answers, "classification")
        figures["segmentation"][source] = robustness_report(answers, "segmentation")
    return figures


def measure_check(
    model: LoadedModel,
    outliner: LoadedModel,
    photographs: Photographs,
    features: CheckFeatures | None = None,
) -> dict[str, Any] | None:
    """Measure how well a classifier tells lesion photographs from other pictures; None if it does not."""
    network, card = model
    if card.task != "classification" or probe_of(network) is None:
        return None
    classifier = Classifier(network, card, outliner=outliner)
    features = features or gather_features(classifier, photographs)
    return {
        "kinds_left_out_of_the_fit": features and measure_left_out(classifier, photographs, features),
        "new_pictures_of_all_kinds": flagged_kinds(classifier),
        "sample_pictures": flagged_samples(classifier),
    }


def only(data: DataSet, source: str) -> DataSet:
    """Keep one source's photographs, with the folds that all of them together have."""
    kept = tuple(photograph for photograph in data.photographs if photograph.source == source)
    return DataSet(source, kept, data.problems)


def flagged_kinds(classifier: Classifier) -> dict[str, float]:
    """Tell which share of newly drawn pictures is flagged, of each kind that the check was fitted on."""
    kinds, pictures = draw_negatives(40, CHECKED_PX, seed=7)
    said = [classifier.diagnose([pixels])[0].caution.is_lesion_photograph for pixels in pictures]
    flagged = ~np.array(said)
    return {kind: round(float(flagged[kinds == kind].mean()), 4) for kind in NEGATIVE_KINDS}


def flagged_samples(classifier: Classifier) -> dict[str, bool]:
    """Tell which of the sample pictures that come with other packages are flagged; none was fitted to."""
    pictures = dict(sample_pictures())
    said = [classifier.diagnose([pixels])[0] for pixels in pictures.values()]
    return {name: not each.caution.is_lesion_photograph for name, each in zip(pictures, said, strict=True)}


def sample_pictures() -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield what scikit-image, scikit-learn and matplotlib bring along: people, cats, texts, textures, ..."""
    import matplotlib as mpl
    import skimage.data
    import sklearn.datasets

    folders = (
        Path(skimage.data.__file__).parent,
        Path(sklearn.datasets.__file__).parent / "images",
        Path(mpl.get_data_path()) / "sample_data",
    )
    for folder in folders:
        for path in sorted([*folder.glob("*.png"), *folder.glob("*.jpg")]):
            with Image.open(path) as picture:
                opaque = "A" not in picture.getbands()  # the product refuses others
            if opaque:
                yield path.stem, read_picture(path)
