"""The neural networks, their cards and their files. Knows torch and MONAI, but no DICOM."""

from dermcheck.networks.architectures import (
    ARCHITECTURES,
    Architecture,
    build_densenet121,
    build_network,
    build_unet,
)
from dermcheck.networks.cards import Calibration, InputSpec, ModelCard
from dermcheck.networks.checkpoint import REFERENCE_MODELS, load_model, read_card, save_model
from dermcheck.networks.dendrites import DendriticLinear

__all__ = [
    "ARCHITECTURES",
    "REFERENCE_MODELS",
    "Architecture",
    "Calibration",
    "DendriticLinear",
    "InputSpec",
    "ModelCard",
    "build_densenet121",
    "build_network",
    "build_unet",
    "load_model",
    "read_card",
    "save_model",
]
