"""The photographs that a model got most wrong, for people to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from dermcheck.inference.outliner import Outliner
from dermcheck.lesions import CLASSES
from dermcheck.networks.checkpoint import LoadedModel
from dermcheck.training.data.data_set import DataSet, LabelledPhotograph
from dermcheck.training.evaluation.answers import Answers, ClassificationAnswers, OutlineAnswers
from dermcheck.training.evaluation.pictures import Picture, draw_case

__all__ = ["draw_worst_diagnoses", "draw_worst_outlines"]

MOST_CASES: Final = 12


def draw_worst_diagnoses(answers: ClassificationAnswers, data_set: DataSet) -> list[Picture]:
    """Draw those whose true class got the smallest probability."""
    own = answers.probability[np.arange(len(answers)), answers.truth]
    wrong = np.flatnonzero(answers.decision != answers.truth)
    rows = wrong[np.argsort(own[wrong], kind="stable")][:MOST_CASES]

    def draw(row: int, photograph: LabelledPhotograph) -> Picture:
        truth, decision = CLASSES[answers.truth[row]], CLASSES[answers.decision[row]]
        words = f"{photograph.image_id}: {truth} ({own[row]:.1%}), decided {decision}"
        if not answers.sure[row]:
            words += ", not sure"
        return draw_case(photograph.picture.read(), words)

    return _draw(answers, data_set, rows, draw)


def draw_worst_outlines(answers: OutlineAnswers, data_set: DataSet, model: LoadedModel) -> list[Picture]:
    """Draw those with the smallest Jaccard index, with the model's outline and the expert's."""
    outliner = Outliner(*model)

    def draw(row: int, photograph: LabelledPhotograph) -> Picture:
        pixels = photograph.picture.read()
        expert = photograph.mask.read() if photograph.mask else None
        words = (
            f"{photograph.image_id}: Jaccard index {answers.jaccard[row]:.2f} (orange: model, blue: expert)"
        )
        return draw_case(pixels, words, outliner.outline([pixels])[0], expert)

    rows = np.argsort(answers.jaccard, kind="stable")[:MOST_CASES]
    return _draw(answers, data_set, rows, draw)


def _draw(
    answers: Answers,
    data_set: DataSet,
    rows: npt.NDArray[np.intp],
    draw: Callable[[int, LabelledPhotograph], Picture],
) -> list[Picture]:
    photographs = {(p.source, p.image_id): p for p in data_set.photographs}
    return [
        draw(row, photographs[str(answers.source[row]), str(answers.image_id[row])]) for row in rows.tolist()
    ]
