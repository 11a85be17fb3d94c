"""MONAI Label looks for a file of this name and for a subclass of `MONAILabelApp` in it."""

from dermcheck.label_app.application import DermCheckApp

__all__ = ["DermCheckApp"]
