"""From a photograph's pixels to a `LesionReport`: outline, calibrated probabilities, decision."""

from dermcheck.inference.calibration import calibrated_probabilities, decide, normalised_entropy
from dermcheck.inference.classifier import Classifier
from dermcheck.inference.outliner import Outliner
from dermcheck.inference.postprocessing import mask_at_size, without_islands
from dermcheck.inference.predictor import Predictor
from dermcheck.inference.preprocessing import NetworkInput, prepare
from dermcheck.inference.report import Diagnosis, LesionReport
from dermcheck.inference.rules import Caution
from dermcheck.inference.steps import ComputedPhotograph, PreparedPhotograph

__all__ = [
    "Caution",
    "Classifier",
    "ComputedPhotograph",
    "Diagnosis",
    "LesionReport",
    "NetworkInput",
    "Outliner",
    "Predictor",
    "PreparedPhotograph",
    "calibrated_probabilities",
    "decide",
    "mask_at_size",
    "normalised_entropy",
    "prepare",
    "without_islands",
]
