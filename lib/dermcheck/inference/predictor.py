"""Both models together: from one decoded photograph to a `LesionReport`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from dermcheck.datastore.locations import cache_root
from dermcheck.dicom.pixels import RGBImage
from dermcheck.dicom.segmentation import LesionMask
from dermcheck.inference.backends import Answer, ExportCache, RunnableModel, open_runner
from dermcheck.inference.backends.base import Picture
from dermcheck.inference.closer_look import cut, square_around
from dermcheck.inference.diagnosing import Diagnostician
from dermcheck.inference.fitting import Fitter
from dermcheck.inference.postprocessing import mask_at_size, without_islands
from dermcheck.inference.report import Diagnosis, LesionReport
from dermcheck.inference.running import algorithm, check_task
from dermcheck.inference.steps import ComputedPhotograph, PreparedPhotograph
from dermcheck.networks.checkpoint import REFERENCE_MODELS, LoadedModel, StoredModel

__all__ = ["Model", "Predictor"]

Model: TypeAlias = "StoredModel | LoadedModel"

_EXPORTS: Final = "networks"
"""The folder of exported networks inside DermCheck's cache."""
_AT_ONCE: Final = 32
"""Photographs handed to a back end together: enough for every core, and bounded memory."""


class Predictor:
    """A classifier and an outliner, ready to use.

    A prediction has three steps: `prepare` makes the networks' inputs, `compute` runs the networks, `finish`
    says what their answers mean. `predict` and `predict_batch` take them in a row; who predicts many
    photographs lets them overlap. Any number of threads may call one predictor at the same time: the
    networks are only read.

    Parameters
    ----------
    classifier, outliner
        As `StoredModel` reads them; or network and card as `load_model` gives them.
    natural_prior
        Shares of the seven classes among this clinic's patients, in the order of `CLASSES`; the classifier's
        card holds those that count otherwise (see `inference.priors`).
    backend
        What runs the networks: "torch", "openvino" or "onnxruntime"; None for what the environment variable
        ``DERMCHECK_BACKEND`` names, else for the quickest (`inference.backends`). One that is missing or
        fails is a sentence in the log, and PyTorch computes instead.

    Raises
    ------
    ModelError
        If a card is for the other task, `natural_prior` is not seven shares that sum to 1, or there is no
        such back end.
    """

    batch_size: Final = 16
    """Photographs that `compute` is best given at once."""

    def __init__(
        self,
        classifier: Model,
        outliner: Model,
        *,
        natural_prior: Sequence[float] | None = None,
        backend: str | None = None,
    ) -> None:
        models = RunnableModel.of(classifier), RunnableModel.of(outliner)
        self.classifier_card, self.outliner_card = (model.card for model in models)
        self._diagnostician = Diagnostician(self.classifier_card, models[0].probe, natural_prior)
        check_task(self.outliner_card, "segmentation")
        exports = ExportCache(cache_root() / _EXPORTS)
        self._classifier, self._outliner = (open_runner(model, backend, exports) for model in models)

    @classmethod
    def load(
        cls,
        models: Path = REFERENCE_MODELS,
        *,
        natural_prior: Sequence[float] | None = None,
        backend: str | None = None,
    ) -> Predictor:
        """Load both models of a folder with the subfolders `classifier` and `outliner`.

        Raises
        ------
        ModelError
            If a file is missing, damaged or not what its card says, or an argument is wrong.
        """
        folder = Path(models)
        return cls(
            StoredModel(folder / "classifier"),
            StoredModel(folder / "outliner"),
            natural_prior=natural_prior,
            backend=backend,
        )

    @property
    def backend(self) -> str:
        """What runs the networks now, in words."""
        classifier, outliner = self._classifier.description, self._outliner.description
        return classifier if classifier == outliner else f"classifier: {classifier}; outliner: {outliner}"

    def prepare(self, pixels: RGBImage, size: tuple[int, int] | None = None) -> PreparedPhotograph:
        """Make both networks' inputs of one photograph.

        Parameters
        ----------
        pixels
            (rows, columns, 3) uint8 RGB of any size; not changed and not kept.
        size
            Rows and columns of the photograph itself where `pixels` were decoded at a reduced scale; its mask
            gets this size.

        Raises
        ------
        ValueError
            If `pixels` is not such an array, or empty.
        """
        fitter = Fitter(pixels, size)
        classifier, outliner = fitter.fit(self.classifier_card.input), fitter.fit(self.outliner_card.input)
        detail = None
        if self.classifier_card.input.closer_look:
            classifier = replace(classifier, picture=np.ascontiguousarray(np.rot90(classifier.picture)))
            detail = fitter.detail(self.outliner_card.input)
        rows, columns = size or pixels.shape[:2]
        return PreparedPhotograph(rows, columns, classifier, outliner, detail)

    def compute(self, photographs: Sequence[PreparedPhotograph]) -> list[ComputedPhotograph]:
        """Run both networks. `batch_size` photographs at once are quicker for each than one."""
        computed: list[ComputedPhotograph] = []
        for start in range(0, len(photographs), _AT_ONCE):
            part = photographs[start : start + _AT_ONCE]
            # Both networks' pictures wait together, so that no core is idle at the end of the first ones.
            outlining = self._outliner.start([each.outliner.picture for each in part])
            classifying = self._classifier.start([each.classifier.picture for each in part])
            outlines = [
                outline[: each.outliner.rows, : each.outliner.columns]
                for each, (outline,) in zip(part, outlining(), strict=True)
            ]
            if self.classifier_card.input.closer_look:
                looking_closer = self._classifier.start(list(map(self._square, part, outlines)))
                answers = list(map(_mean, classifying(), looking_closer()))
            else:
                answers = classifying()
            computed += map(_computed, part, answers, outlines)
        return computed

    def _square(self, photograph: PreparedPhotograph, outline: npt.NDArray[np.float32]) -> Picture:
        """Fit the square around the outline to the classifier's input."""
        assert photograph.detail is not None  # noqa: S101  # `prepare` keeps it for this
        part = cut(photograph.detail, square_around(outline))
        return Fitter(part).fit(self.classifier_card.input).picture

    def finish(self, computed: ComputedPhotograph) -> LesionReport:
        """Calibrate, apply the card's rules, and give the mask the photograph's own size."""
        diagnosis = self._diagnostician.diagnosis(computed.logits, computed.features)
        return LesionReport(
            mask=_mask(computed),
            probabilities=diagnosis.probabilities,
            decision=diagnosis.decision,
            uncertainty=diagnosis.uncertainty,
            classifier=diagnosis.classifier,
            outliner=algorithm(self.outliner_card),
            caution=diagnosis.caution,
        )

    def predict(self, pixels: RGBImage) -> LesionReport:
        """Outline and diagnose one photograph, (rows, columns, 3) uint8 RGB of any size."""
        return self.predict_batch([pixels])[0]

    def predict_batch(self, photographs: Sequence[RGBImage]) -> list[LesionReport]:
        """Do the same for several photographs at once, which is quicker for each.

        They may differ in size. The answers equal those of `predict` up to rounding (1e-5 in
        probabilities); all photographs and masks of the batch are in memory together.
        """
        return [self.finish(each) for each in self.compute([self.prepare(pixels) for pixels in photographs])]

    def outline(self, pixels: RGBImage) -> LesionMask:
        """Find the lesion only: (rows, columns) bool of the photograph's own size."""
        return _mask(self.compute([self.prepare(pixels)])[0])

    def classify(self, pixels: RGBImage) -> Diagnosis:
        """Diagnose only."""
        computed = self.compute([self.prepare(pixels)])[0]
        return self._diagnostician.diagnosis(computed.logits, computed.features)


def _mean(whole: Answer, square: Answer) -> Answer:
    return tuple((one + other) / 2 for one, other in zip(whole, square, strict=True))


def _computed(
    photograph: PreparedPhotograph, answer: Answer, outline: npt.NDArray[np.float32]
) -> ComputedPhotograph:
    return ComputedPhotograph(
        rows=photograph.rows,
        columns=photograph.columns,
        logits=answer[0],
        features=answer[1] if len(answer) > 1 else None,
        outline=outline,
    )


def _mask(computed: ComputedPhotograph) -> LesionMask:
    logits = without_islands(torch.from_numpy(computed.outline))
    return mask_at_size(logits, computed.rows, computed.columns)
