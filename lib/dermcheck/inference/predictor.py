"""Both models together: from one decoded photograph to a `LesionReport`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from dermcheck.dicom.pixels import RGBImage
from dermcheck.dicom.segmentation import LesionMask
from dermcheck.inference.classifier import Classifier
from dermcheck.inference.outliner import Outliner
from dermcheck.inference.report import Diagnosis, LesionReport
from dermcheck.inference.running import algorithm
from dermcheck.networks.cards import ModelCard
from dermcheck.networks.checkpoint import REFERENCE_MODELS, load_model

__all__ = ["Predictor"]


class Predictor:
    """A classifier and an outliner, ready to use.

    Any number of threads may call one predictor at the same time: the networks are only read.

    Parameters
    ----------
    classifier, outliner
        Network and card, as `load_model` gives them.
    natural_prior
        Shares of the seven classes among this clinic's patients, in the order of `CLASSES`; the classifier's
        card holds those that count otherwise (see `inference.priors`).

    Raises
    ------
    ModelError
        If a card is for the other task, or `natural_prior` is not seven shares that sum to 1.
    """

    def __init__(
        self,
        classifier: tuple[nn.Module, ModelCard],
        outliner: tuple[nn.Module, ModelCard],
        *,
        natural_prior: Sequence[float] | None = None,
    ) -> None:
        self._classifier = Classifier(*classifier, natural_prior)
        self._outliner = Outliner(*outliner)
        self.classifier_card, self.outliner_card = self._classifier.card, self._outliner.card

    @classmethod
    def load(
        cls, models: Path = REFERENCE_MODELS, *, natural_prior: Sequence[float] | None = None
    ) -> Predictor:
        """Load both models of a folder with the subfolders `classifier` and `outliner`.

        Raises
        ------
        ModelError
            If a file is missing, damaged or not what its card says, or `natural_prior` is wrong.
        """
        folder = Path(models)
        return cls(
            load_model(folder / "classifier"), load_model(folder / "outliner"), natural_prior=natural_prior
        )

    def predict(self, pixels: RGBImage) -> LesionReport:
        """Outline and diagnose one photograph, (rows, columns, 3) uint8 RGB of any size."""
        return self.predict_batch([pixels])[0]

    def predict_batch(self, photographs: Sequence[RGBImage]) -> list[LesionReport]:
        """Do the same for several photographs at once, which is quicker for each.

        They may differ in size. The answers equal those of `predict` up to rounding (1e-5 in
        probabilities); all photographs and masks of the batch are in memory together.
        """
        diagnoses, masks = self._classifier.diagnose(photographs), self._outliner.outline(photographs)
        made_by = algorithm(self.outliner_card)
        return [
            LesionReport(
                mask=mask,
                probabilities=known.probabilities,
                decision=known.decision,
                uncertainty=known.uncertainty,
                classifier=known.classifier,
                outliner=made_by,
                caution=known.caution,
            )
            for known, mask in zip(diagnoses, masks, strict=True)
        ]

    def outline(self, pixels: RGBImage) -> LesionMask:
        """Find the lesion only: (rows, columns) bool of the photograph's own size."""
        return self._outliner.outline([pixels])[0]

    def classify(self, pixels: RGBImage) -> Diagnosis:
        """Diagnose only."""
        return self._classifier.diagnose([pixels])[0]
