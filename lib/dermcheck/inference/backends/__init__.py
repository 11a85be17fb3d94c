"""What runs the networks: PyTorch, OpenVINO or onnxruntime."""

from dermcheck.inference.backends.base import BACKENDS, Answer, Collect, Picture, Runner
from dermcheck.inference.backends.cache import ExportCache
from dermcheck.inference.backends.choosing import BACKEND_VARIABLE, open_runner
from dermcheck.inference.backends.models import RunnableModel

__all__ = [
    "BACKENDS",
    "BACKEND_VARIABLE",
    "Answer",
    "Collect",
    "ExportCache",
    "Picture",
    "RunnableModel",
    "Runner",
    "open_runner",
]
