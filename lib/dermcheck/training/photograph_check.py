"""Fitting the check "not a lesion photograph" on what a classifier's head reads.

A logistic model (`networks.photograph_probe`) tells lesion photographs of the fit folds from drawn pictures
of other things (`training.negatives`) and from the same photographs blurred beyond use. Its threshold is set
on the select fold, so that few lesion photographs are flagged there.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize

from dermcheck.dicom.pixels import RGBImage
from dermcheck.inference.classifier import Classifier
from dermcheck.networks.architectures import ARCHITECTURES
from dermcheck.networks.cards import PhotographCheck
from dermcheck.networks.photograph_probe import PhotographProbe
from dermcheck.training.data.splits import FIT, REPORT, SELECT
from dermcheck.training.negatives import NEGATIVE_KINDS, blur, draw_negatives

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dermcheck.training.data.picture_cache import Photographs

__all__ = [
    "BLUR",
    "CheckFeatures",
    "enough_photographs",
    "fit_photograph_check",
    "fit_probe",
    "gather_features",
    "head_features",
    "measure_left_out",
]

logger = logging.getLogger(__name__)

Float32Array: TypeAlias = npt.NDArray[np.float32]

BLUR: Final = (0.03, 0.12)
"""Standard deviation, in parts of the short side, of a blur that leaves no structure to be seen."""

WRONGLY_FLAGGED: Final = 0.01
"""Share of the select fold's photographs that may be flagged; half of what is promised of new ones."""
LEAST_PHOTOGRAPHS: Final = 50
"""Photographs of the fit and of the select folds each; with fewer there is no check."""
_MOST: Final = 500
"""Photographs of the fit folds: more hardly change the fit but cost time."""
_PER_KIND: Final = 40
_BLURRED: Final = 80
_BATCH: Final = 32
_SEED: Final = 0
_LEAST_SPREAD: Final = 0.05
"""Part of the features' mean standard deviation that each one counts as having at least."""
_LEAST_FOUND: Final = 0.5
"""Share of the other pictures that it was fitted on which a check must flag to be of any use."""
_PENALTY: Final = 1e-3
"""Weight of the squared norm of the standardised weights, per photograph."""


def enough_photographs(photographs: Photographs) -> bool:
    """Tell whether the fit and the select folds hold enough photographs to fit the check on."""
    return min(len(photographs.rows(FIT)), len(photographs.rows(SELECT))) >= LEAST_PHOTOGRAPHS


@dataclass(frozen=True, eq=False)
class CheckFeatures:
    """What the head reads of everything that the check is fitted on; (pictures, features) each."""

    fitted: Float32Array
    """Of lesion photographs of the fit folds."""
    selected: Float32Array
    """Of those of the select fold."""
    others: dict[str, Float32Array]
    """Of other pictures, by kind."""
    selected_logits: npt.NDArray[np.float64]
    """What the network says of the select fold's photographs, (pictures, 7): it has been run anyhow."""

    def fit(self, without: str | None = None) -> tuple[PhotographProbe, PhotographCheck]:
        """Fit on all kinds but one."""
        kept = [features for kind, features in self.others.items() if kind != without]
        probe = fit_probe(self.fitted, np.concatenate(kept))
        scores = probe.score(torch.from_numpy(self.selected)).double().numpy()
        lesion_from = float(np.quantile(scores, WRONGLY_FLAGGED))
        flagged = round(float((scores < lesion_from).mean()), 4)
        return probe, PhotographCheck(lesion_from=lesion_from, wrongly_flagged=flagged)


def gather_features(classifier: Classifier, photographs: Photographs) -> CheckFeatures | None:
    """Run a classifier on lesion photographs of folds 0 to 8, and on other pictures.

    None where photographs are too few or the architecture names no head.
    """
    if ARCHITECTURES[classifier.card.architecture].head is None or not enough_photographs(photographs):
        return None
    fit, select = photographs.rows(FIT), photographs.rows(SELECT)
    chosen = np.random.default_rng(_SEED).permutation(fit)[:_MOST]
    selected, logits = head_features(classifier, _pictures(photographs, select))
    return CheckFeatures(
        fitted=head_features(classifier, _pictures(photographs, chosen))[0],
        selected=selected,
        others=_draw_others(classifier, photographs, chosen, _SEED),
        selected_logits=logits,
    )


def fit_photograph_check(seen: CheckFeatures) -> tuple[PhotographProbe | None, PhotographCheck | None]:
    """Fit the probe on folds 0 to 7 and its threshold on fold 8.

    None of either where the network's features do not tell lesion photographs from other pictures, which is
    logged.
    """
    probe, check = seen.fit()
    found = _share_below(probe, np.concatenate(list(seen.others.values())), check.lesion_from)
    if found < _LEAST_FOUND:
        logger.warning(
            "The network cannot tell lesion photographs from other pictures (it flags %.0f %% of them): the "
            'model gets no check "not a lesion photograph".',
            100 * found,
        )
        return None, None
    return probe, check


def measure_left_out(
    classifier: Classifier, photographs: Photographs, seen: CheckFeatures
) -> dict[str, dict[str, float]]:
    """Measure the check on kinds of pictures that it never saw in any form, and on fold 9.

    For each kind of `NEGATIVE_KINDS`, and for blurred photographs, the check is fitted without that kind.

    Returns
    -------
    dict
        By kind: ``flagged``, the share of its pictures that are found (of blurred ones: photographs of fold
        9), and ``wrongly_flagged``, the share of fold 9's photographs (500 at most) that the same check
        flags.
    """
    report = np.random.default_rng(_SEED).permutation(photographs.rows(REPORT))[:_MOST]
    reported, _ = head_features(classifier, _pictures(photographs, report))
    unseen = _draw_others(classifier, photographs, report, _SEED + 1)
    measured = {}
    for kind, features in unseen.items():
        probe, check = seen.fit(without=kind)
        measured[kind] = {
            "flagged": _share_below(probe, features, check.lesion_from),
            "wrongly_flagged": _share_below(probe, reported, check.lesion_from),
        }
    return measured


def _draw_others(
    classifier: Classifier, photographs: Photographs, rows: npt.NDArray[np.int64], seed: int
) -> dict[str, Float32Array]:
    """Draw pictures of each kind, blur some of the photographs, and give the features of all by kind."""
    kinds, pictures = draw_negatives(_PER_KIND, photographs.side, seed)
    others = {kind: head_features(classifier, pictures[kinds == kind])[0] for kind in NEGATIVE_KINDS}
    strength = np.random.default_rng(seed).uniform(*BLUR, _BLURRED)
    blurred = (
        blur(picture, part)
        for picture, part in zip(_pictures(photographs, rows[:_BLURRED]), strength.tolist(), strict=False)
    )
    return others | {"blurred": head_features(classifier, blurred)[0]}


def _pictures(photographs: Photographs, rows: npt.NDArray[np.int64]) -> Iterator[RGBImage]:
    return (np.asarray(photographs.images[row]) for row in rows.tolist())


def _share_below(probe: PhotographProbe, features: Float32Array, threshold: float) -> float:
    scores = probe.score(torch.from_numpy(features)).double()
    return round(float((scores < threshold).double().mean()), 4)


def fit_probe(lesions: Float32Array, others: Float32Array) -> PhotographProbe:
    """Fit the logistic model; both sides weigh the same, however many pictures they have.

    Parameters
    ----------
    lesions, others
        (N, F) and (M, F) features, as `head_features` gives them.
    """
    features = np.concatenate([lesions, others]).astype(np.float64)
    centre, deviation = features.mean(0), features.std(0)
    spread = (
        deviation + _LEAST_SPREAD * deviation.mean() + 1e-6
    )  # a dead feature must not count a millionfold
    standard = (features - centre) / spread
    sign = np.repeat([1.0, -1.0], [len(lesions), len(others)])
    share = np.repeat([0.5 / len(lesions), 0.5 / len(others)], [len(lesions), len(others)])

    def loss(parameters: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        weight, bias = parameters[:-1], parameters[-1]
        margin = sign * (standard @ weight + bias)
        pull = -sign * share / (1 + np.exp(np.clip(margin, -500, 500)))
        value = float((share * np.logaddexp(0, -margin)).sum() + _PENALTY / 2 * weight @ weight)
        return value, np.append(standard.T @ pull + _PENALTY * weight, pull.sum())

    best = minimize(loss, np.zeros(features.shape[1] + 1), jac=True, method="L-BFGS-B").x
    weight = best[:-1] / spread
    bias = best[-1] - centre @ weight
    return PhotographProbe(torch.tensor(weight, dtype=torch.float32), torch.tensor(bias, dtype=torch.float32))


def head_features(
    classifier: Classifier, pictures: Iterable[RGBImage]
) -> tuple[Float32Array, npt.NDArray[np.float64]]:
    """Run a classifier on pictures of any size.

    Returns
    -------
    features
        (N, features), what the head reads.
    logits
        (N, 7), what it says.

    Raises
    ------
    ValueError
        If the architecture names no head.
    """
    architecture = classifier.card.architecture
    if ARCHITECTURES[architecture].head is None:
        raise ValueError(f"{architecture} has no head to read features before")
    outputs = []
    for batch in _batches(pictures):
        outputs += classifier.answers(batch)
    logits, features = (torch.stack(parts) for parts in zip(*outputs, strict=True))
    return features.float().numpy(), logits.double().numpy()


def _batches(pictures: Iterable[RGBImage]) -> Iterator[list[RGBImage]]:
    batch: list[RGBImage] = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
