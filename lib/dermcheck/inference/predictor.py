"""Both models together: from one decoded photograph to a `LesionReport`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from dermcheck.dicom.author import Algorithm
from dermcheck.dicom.pixels import RGBImage
from dermcheck.dicom.segmentation import LesionMask
from dermcheck.errors import ModelError
from dermcheck.inference.calibration import calibrated_probabilities, decide, normalised_entropy
from dermcheck.inference.postprocessing import mask_at_size, without_islands
from dermcheck.inference.preprocessing import NetworkInput, prepare
from dermcheck.inference.report import Diagnosis, LesionReport
from dermcheck.lesions import LESION_CLASSES
from dermcheck.networks.cards import ModelCard, Task
from dermcheck.networks.checkpoint import REFERENCE_MODELS, load_model

__all__ = ["Predictor"]

Model: TypeAlias = tuple[nn.Module, ModelCard]


class Predictor:
    """A classifier and an outliner, ready to use.

    Any number of threads may call one predictor at the same time: the networks are only read.

    Parameters
    ----------
    classifier, outliner
        Network and card, as `load_model` gives them.

    Raises
    ------
    ModelError
        If a card is for the other task.
    """

    def __init__(
        self, classifier: tuple[nn.Module, ModelCard], outliner: tuple[nn.Module, ModelCard]
    ) -> None:
        self._classifier, self.classifier_card = classifier
        self._outliner, self.outliner_card = outliner
        _check_task(self.classifier_card, "classification")
        _check_task(self.outliner_card, "segmentation")

    @classmethod
    def load(cls, models: Path = REFERENCE_MODELS) -> Predictor:
        """Load both models of a folder with the subfolders `classifier` and `outliner`.

        Raises
        ------
        ModelError
            If a file is missing, damaged or not what its card says.
        """
        return cls(load_model(Path(models) / "classifier"), load_model(Path(models) / "outliner"))

    def predict(self, pixels: RGBImage) -> LesionReport:
        """Outline and diagnose one photograph, (rows, columns, 3) uint8 RGB of any size."""
        return self.predict_batch([pixels])[0]

    def predict_batch(self, photographs: Sequence[RGBImage]) -> list[LesionReport]:
        """Do the same for several photographs at once, which is quicker for each.

        They may differ in size. The answers equal those of `predict` up to rounding (1e-5 in
        probabilities); all photographs and masks of the batch are in memory together.
        """
        diagnoses, masks = self._diagnose(photographs), self._outline(photographs)
        outliner = _algorithm(self.outliner_card)
        return [
            LesionReport(
                mask, known.probabilities, known.decision, known.uncertainty, known.classifier, outliner
            )
            for known, mask in zip(diagnoses, masks, strict=True)
        ]

    def outline(self, pixels: RGBImage) -> LesionMask:
        """Find the lesion only: (rows, columns) bool of the photograph's own size."""
        return self._outline([pixels])[0]

    def classify(self, pixels: RGBImage) -> Diagnosis:
        """Diagnose only."""
        return self._diagnose([pixels])[0]

    def _diagnose(self, photographs: Sequence[RGBImage]) -> list[Diagnosis]:
        card = self.classifier_card
        if card.calibration is None:  # a valid card of a classifier has one
            raise ModelError(f"The card of {card.name} {card.version} has no calibration.")
        inputs = [prepare(pixels, card.input) for pixels in photographs]
        classifier = _algorithm(card)
        diagnoses = []
        for logits in _run(self._classifier, inputs):
            probabilities = calibrated_probabilities(logits.numpy(), card.calibration)
            diagnoses.append(
                Diagnosis(
                    probabilities=dict(zip(card.classes, probabilities.tolist(), strict=True)),
                    decision=LESION_CLASSES[int(decide(probabilities, card.calibration))],
                    uncertainty=float(normalised_entropy(probabilities)),
                    classifier=classifier,
                )
            )
        return diagnoses

    def _outline(self, photographs: Sequence[RGBImage]) -> list[LesionMask]:
        inputs = [prepare(pixels, self.outliner_card.input) for pixels in photographs]
        return [
            mask_at_size(without_islands(logits[0, : seen.rows, : seen.columns]), *pixels.shape[:2])
            for pixels, seen, logits in zip(photographs, inputs, _run(self._outliner, inputs), strict=True)
        ]


def _check_task(card: ModelCard, task: Task) -> None:
    if card.task != task:
        raise ModelError(f"{card.name} {card.version} is a model for {card.task}, expected one for {task}.")


def _algorithm(card: ModelCard) -> Algorithm:
    return Algorithm(name=card.name, version=card.version, model_hash=card.sha256)


@torch.inference_mode()
def _run(network: nn.Module, inputs: Sequence[NetworkInput]) -> list[Tensor]:
    """Run the network on all inputs, those of equal size together, and give each its output."""
    by_size: dict[torch.Size, list[int]] = {}
    for index, seen in enumerate(inputs):
        by_size.setdefault(seen.pixels.shape, []).append(index)
    outputs: dict[int, Tensor] = {}
    for indices in by_size.values():
        batch = torch.cat([inputs[i].pixels for i in indices]).contiguous(memory_format=torch.channels_last)
        outputs.update(zip(indices, network(batch), strict=True))
    return [outputs[i] for i in range(len(inputs))]
