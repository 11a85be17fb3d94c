"""Honest figures: what a model answers to photographs it has not seen, measured with intervals by lesion."""

from dermcheck.training.evaluation.answers import (
    Answers,
    ClassificationAnswers,
    NothingToAnswerError,
    OutlineAnswers,
    answer_photographs,
    classify_photographs,
    outline_photographs,
)
from dermcheck.training.evaluation.bootstrap import Figure, bootstrap, bootstrap_all
from dermcheck.training.evaluation.figures import (
    classification_figures,
    expected_calibration_error,
    outline_figures,
    specificity_at_sensitivity,
)
from dermcheck.training.evaluation.masks import boundary_distance, dice_index, jaccard_index

__all__ = [
    "Answers",
    "ClassificationAnswers",
    "Figure",
    "NothingToAnswerError",
    "OutlineAnswers",
    "answer_photographs",
    "bootstrap",
    "bootstrap_all",
    "boundary_distance",
    "classification_figures",
    "classify_photographs",
    "dice_index",
    "expected_calibration_error",
    "jaccard_index",
    "outline_figures",
    "outline_photographs",
    "specificity_at_sensitivity",
]
