"""From a photograph's pixels to a `LesionReport`: outline, calibrated probabilities, decision."""

from dermcheck.inference.calibration import calibrated_probabilities, decide, normalised_entropy
from dermcheck.inference.postprocessing import mask_at_size, without_islands
from dermcheck.inference.predictor import Predictor
from dermcheck.inference.preprocessing import NetworkInput, prepare
from dermcheck.inference.report import Diagnosis, LesionReport

__all__ = [
    "Diagnosis",
    "LesionReport",
    "NetworkInput",
    "Predictor",
    "calibrated_probabilities",
    "decide",
    "mask_at_size",
    "normalised_entropy",
    "prepare",
    "without_islands",
]
