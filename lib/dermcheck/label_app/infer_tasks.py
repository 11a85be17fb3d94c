"""The three models that viewers see, as MONAI Label's inference tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from dermcheck.label_app.answers import DIAGNOSES, LESION, MODELS, NOTICE, SEGMENTATION_SUFFIX, Model

__all__ = ["DIAGNOSES", "LESION", "NOTICE", "SEGMENTATION_SUFFIX", "LesionTask", "make_infer_tasks"]


class LesionTask(InferTask):  # type: ignore[misc]  # monailabel has no types
    """One model as MONAI Label lists it; `DermCheckApp.infer` predicts.

    Parameters
    ----------
    name, model
        What it answers.
    infer
        Predicts on request.
    is_usable
        Tells whether MONAI Label shall list it.
    """

    def __init__(
        self,
        name: str,
        model: Model,
        infer: Callable[[dict[str, Any]], dict[str, Any]],
        is_usable: Callable[[], bool],
    ) -> None:
        super().__init__(
            type=InferType(model.kind),
            labels=dict(model.labels),
            dimension=2,
            description=f"{model.description} {NOTICE}",
        )
        self._name = name
        self._infer = infer
        self._is_usable = is_usable

    def is_valid(self) -> bool:
        """Return whether MONAI Label shall list the model."""
        return self._is_usable()

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Answer MONAI Label's request: file of the mask, and JSON."""
        answer = self._infer(request | {"model": self._name})
        return answer["file"], answer["params"]


def make_infer_tasks(
    infer: Callable[[dict[str, Any]], dict[str, Any]], is_usable: Callable[[], bool]
) -> dict[str, LesionTask]:
    """Make the models of `/info/`, the one that a viewer should run by itself first."""
    return {name: LesionTask(name, model, infer, is_usable) for name, model in MODELS.items()}
