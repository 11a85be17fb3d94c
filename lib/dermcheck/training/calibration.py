"""Fitting what makes a classifier's answers honest, on the select fold only.

Temperature and training prior (`fit_calibration`), the rules for "not sure", the possible classes and
"melanoma not excluded" (`fit_rules`), the check "not a lesion photograph" (`training.photograph_check`).
`finish_card` does all of it for a model that was just trained.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from torch import nn

from dermcheck.inference.calibration import calibrated_probabilities, decide
from dermcheck.inference.classifier import Classifier
from dermcheck.inference.rules import confidence
from dermcheck.lesions import CLASSES
from dermcheck.networks.cards import AnswerRules, Calibration, ModelCard, UsedFolds
from dermcheck.networks.checkpoint import LoadedModel
from dermcheck.networks.photograph_probe import attach_probe, probe_of
from dermcheck.training.data.splits import FIT, LEFT_OUT, SELECT, stable_fold
from dermcheck.training.evaluation.answers import outline_photographs
from dermcheck.training.evaluation.bootstrap import Figure
from dermcheck.training.evaluation.figures import MELANOMA, classification_figures, outline_figures
from dermcheck.training.photograph_check import CheckFeatures, fit_photograph_check, gather_features

if TYPE_CHECKING:
    from dermcheck.training.data.picture_cache import Photographs

logger = logging.getLogger(__name__)

__all__ = ["finish_card", "fit_calibration", "fit_rules", "threshold_for"]

SURE_SHARE: Final = 0.8
"""Share of the select fold's photographs that the model shall be sure about."""
POSSIBLE_COVERAGE: Final = 0.9
"""Of each class's photographs, the share whose true class shall stay possible."""
MELANOMA_SENSITIVITY: Final = 0.95
LEAST_FOR_RULES: Final = 50
"""Diagnosed photographs of the select fold; with fewer, thresholds would be chance."""
_BATCH: Final = 32
_SHIFT_SPREAD: Final = 1.0
"""Standard deviation, in log units, by which the fitted prior may differ from its first guess before the
photographs must insist. It matters only for classes with a handful of photographs."""
_KEY_FIGURES: Final = (
    "balanced_accuracy",
    "accuracy",
    "macro_auc",
    "melanoma_auc",
    "melanoma_sensitivity",
    "expected_calibration_error",
)


def finish_card(
    network: nn.Module,
    card: ModelCard,
    photographs: Photographs,
    *,
    outliner: LoadedModel | None = None,
    source: str | None = None,
    features: CheckFeatures | None = None,
) -> ModelCard:
    """Calibrate a trained network on fold 8 and write into its card what follows from that.

    Parameters
    ----------
    network
        float32 on the processor, in evaluation mode. A classifier gets a new `PhotographProbe` attached,
        which `save_model` writes beside its weights.
    card
        Its calibration is the first guess: the shares in which the classes were drawn, and the clinic's. The
        latter stays.
    photographs
        Those it was trained on; folds 0 to 7 are named as used for fitting, fold 8 for selecting.
    outliner
        As `Classifier` takes it.
    source
        Calibrate on the photographs of this source only: the one that has the mix of classes, cameras and
        patients that the probabilities are meant for. All by default.
    features
        Of `gather_features`, where they are known already.

    Returns
    -------
    ModelCard
        With `calibration`, `rules`, `photograph_check`, `used_folds` and `figures` of fold 8. Where the
        select fold holds too few diagnoses, these stay as they came, which is logged.
    """
    network.eval()
    card = replace(card, used_folds=_used_folds(card, photographs), figures={})
    if card.task == "segmentation":
        return replace(card, figures=_figures_of_outlines(network, card, photographs))
    classifier = Classifier(network, card, outliner=outliner)
    features = features or gather_features(classifier, photographs)
    card = _with_photograph_check(network, card, features)
    rows = photographs.rows(SELECT, source)
    rows = rows[photographs.diagnosis[rows] >= 0]
    if card.calibration is None or len(rows) < LEAST_FOR_RULES:  # a valid card of a classifier has one
        logger.warning(
            "Fold 8 holds %d photographs with a diagnosis; %d are needed to calibrate. The calibration stays "
            "as it was before this training.",
            len(rows), LEAST_FOR_RULES,
        )  # fmt: skip
        return card
    if features is None:
        logits = _logits(classifier, photographs, rows)
    else:
        logits = features.selected_logits[np.searchsorted(photographs.rows(SELECT), rows)]
    truth = photographs.diagnosis[rows]
    calibration = _calibrate(logits, truth, card.calibration)
    probability = calibrated_probabilities(logits, calibration)
    decision = decide(probability, calibration).astype(np.int64)
    figures = classification_figures(probability, decision, truth, photographs.lesion_id[rows])
    return replace(
        card,
        calibration=calibration,
        rules=fit_rules(probability, truth, calibration),
        figures=_on_select_fold(len(rows), {name: figures[name] for name in _KEY_FIGURES}),
    )


def fit_calibration(
    logits: npt.NDArray[np.float64],
    truth: npt.NDArray[np.int64],
    natural_prior: npt.NDArray[np.float64],
    first_guess: Calibration | None = None,
) -> tuple[float, npt.NDArray[np.float64]]:
    """Temperature and effective training prior that maximise the likelihood of held-out diagnoses.

    The inference rule is ``logits / temperature - log(training_prior) + log(natural_prior)``. The
    shares in which the classes were drawn are only a first guess of the training prior: label
    smoothing, mixing and a teacher shift it. So it is fitted together with the temperature, which
    is vector scaling with one common slope (Guo et al. 2017, section 4.2).

    Parameters
    ----------
    logits
        (N, classes) outputs for images that were not trained on.
    truth
        (N,) class indices.
    natural_prior
        (classes,) shares of the classes among the patients these images come from.
    first_guess
        Where classes are rare or missing among the images, the fit stays near this one's training prior and
        temperature (a Gaussian prior on the shift); without it every class must occur.

    Returns
    -------
    temperature
        Above 1 where the network was too sure.
    training_prior
        (classes,) shares that sum to 1.
    """
    centre = np.zeros(1 + len(natural_prior))
    if first_guess is not None:
        shift = np.log(natural_prior) - np.log(first_guess.training_prior)
        centre = np.concatenate([[math.log(first_guess.temperature)], shift])

    def negative_log_likelihood(parameters: npt.NDArray[np.float64]) -> float:
        scaled = logits / np.exp(parameters[0]) + parameters[1:]
        log_probability = scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)
        fit = float(-log_probability[np.arange(len(truth)), truth].mean())
        if first_guess is None:
            return fit
        distance = parameters - centre
        distance[1:] -= distance[1:].mean()  # a common shift changes nothing
        return fit + float((distance**2).sum()) / (2 * _SHIFT_SPREAD**2 * len(truth))

    start = np.concatenate([[0.0], np.log(natural_prior)]) if first_guess is None else centre
    best = minimize(negative_log_likelihood, start).x
    effective = natural_prior * np.exp(-(best[1:] - best[1:].mean()))
    return float(np.exp(best[0])), np.asarray(effective / effective.sum())


def fit_rules(
    probability: npt.NDArray[np.float64], truth: npt.NDArray[np.int64], calibration: Calibration
) -> AnswerRules:
    """Choose the thresholds on held-out photographs.

    Parameters
    ----------
    probability
        (N, 7) calibrated under the calibration's own prior.
    truth
        (N,) class indices.
    """
    sureness = confidence(probability, calibration)
    sure_from = float(np.quantile(sureness, 1 - SURE_SHARE))
    sure = sureness >= sure_from
    wrong = decide(probability, calibration) != truth
    own = [probability[truth == c, c] for c in range(len(CLASSES))]
    melanoma_from = threshold_for(own[MELANOMA], MELANOMA_SENSITIVITY)
    return AnswerRules(
        sure_from=sure_from,
        sure_share=round(float(sure.mean()), 4),
        sure_error=round(float(wrong[sure].mean()), 4),
        possible_from=tuple(threshold_for(scores, POSSIBLE_COVERAGE) or 0.0 for scores in own),
        possible_coverage=POSSIBLE_COVERAGE,
        melanoma_from=melanoma_from,
        melanoma_sensitivity=MELANOMA_SENSITIVITY,
    )


def threshold_for(scores: npt.NDArray[np.float64], share: float) -> float | None:
    """Give the largest threshold that a further such score reaches with at least this probability.

    That of split conformal prediction (Vovk et al. 2005): of n exchangeable scores and one more, the next one
    is as likely to take any of n + 1 ranks. None if n is too small to say.

    >>> threshold_for(np.arange(1.0, 20.0), 0.95), threshold_for(np.arange(1.0, 19.0), 0.95)
    (1.0, None)
    """
    rank = math.floor((1 - share) * (len(scores) + 1) + 1e-9)
    return float(np.sort(scores)[rank - 1]) if rank else None


def _with_photograph_check(network: nn.Module, card: ModelCard, features: CheckFeatures | None) -> ModelCard:
    """Fit the check anew, or keep the one that came with the network where photographs are too few."""
    if features is None:
        return card if probe_of(network) is not None else replace(card, photograph_check=None)
    probe, check = fit_photograph_check(features)
    attach_probe(network, probe)  # None takes away one that belonged to the weights before the training
    return replace(card, photograph_check=check)


def _calibrate(
    logits: npt.NDArray[np.float64], truth: npt.NDArray[np.int64], guess: Calibration
) -> Calibration:
    """Fit on the select fold's own mix of classes; the clinic's mix is then one more change of prior."""
    natural = np.array(guess.natural_prior)
    counts = np.bincount(truth, minlength=len(CLASSES)) + natural
    temperature, prior = fit_calibration(logits, truth, counts / counts.sum(), guess)
    return replace(guess, temperature=temperature, training_prior=tuple(prior.tolist()))


def _logits(
    classifier: Classifier, photographs: Photographs, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    batches = (rows[i : i + _BATCH] for i in range(0, len(rows), _BATCH))
    return np.concatenate([classifier.logits(list(photographs.images[batch])) for batch in batches])


def _figures_of_outlines(network: nn.Module, card: ModelCard, photographs: Photographs) -> dict[str, Any]:
    if not photographs.has_mask[photographs.rows(SELECT)].any():
        return {}
    answers = outline_photographs((network, card), photographs, SELECT)
    return _on_select_fold(len(answers), outline_figures(answers.jaccard, answers.lesion_id))


def _on_select_fold(images: int, figures: dict[str, Figure]) -> dict[str, Any]:
    return {
        "fold_8": {
            "note": "selected and calibrated on these photographs: too good by an unknown amount",
            "images": images,
            **{name: figure.to_json() for name, figure in figures.items()},
        }
    }


def _used_folds(card: ModelCard, photographs: Photographs) -> dict[str, UsedFolds]:
    """Add these photographs' folds to what the model that was gone on from had seen."""
    used = dict(card.used_folds)
    for name in np.unique(photographs.source).tolist():
        mine = photographs.source == name
        present = set(photographs.fold[mine].tolist())
        before = used.get(name, UsedFolds())
        pairs = zip(photographs.group[mine].tolist(), photographs.fold[mine].tolist(), strict=True)
        chosen = all(fold in (stable_fold(group), LEFT_OUT) for group, fold in pairs)
        used[name] = UsedFolds(
            fit=tuple(sorted({*before.fit, *(present & set(FIT))})),
            select=tuple(sorted({*before.select, *(present & set(SELECT))})),
            own_folds=before.own_folds or not chosen,
        )
    return used
