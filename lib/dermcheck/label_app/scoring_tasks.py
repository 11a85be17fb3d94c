"""The scoring of photographs, as MONAI Label's scoring method and with what the app knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from monailabel.interfaces.tasks.scoring import ScoringMethod

from dermcheck.active_learning.score_keeper import ModelInUse, ScoreKeeper
from dermcheck.active_learning.scoring import model_key
from dermcheck.active_learning.scoring_worker import ScoringPlaces
from dermcheck.datastore.locations import is_url
from dermcheck.inference.priors import clinic_prior

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from monailabel.interfaces.datastore import Datastore

    from dermcheck.datastore import StudyStore
    from dermcheck.registry import Registry

__all__ = ["SCORING_METHOD", "ScoringTask", "make_score_keeper"]

SCORING_METHOD: Final = "dermcheck"


class ScoringTask(ScoringMethod):  # type: ignore[misc]  # monailabel has no types
    """Scores all photographs in the background."""

    def __init__(self, scores: ScoreKeeper) -> None:
        super().__init__(
            "What each photograph could teach the models: uncertainty, disagreement, likeness to others. "
            "Computed in the background, also by itself after a change of models and for new photographs"
        )
        self._scores = scores

    def info(self) -> dict[str, Any]:
        """Describe it for `/info/`, with how far it is."""
        return {**super().info(), **self._scores.progress()}

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Begin at once; returns at once how far it is."""
        self._scores.start()
        return self._scores.progress()


def make_score_keeper(
    store: StudyStore,
    studies: str,
    models: Path | Registry,
    versions: Callable[[], Mapping[str, Mapping[str, str]]],
    is_busy: Callable[[], bool],
) -> ScoreKeeper:
    """Make the keeper of the scores for one app.

    Parameters
    ----------
    versions
        Tells which models answer, by task; empty while they are loaded.
    is_busy
        Tells whether a clinician waits for a prediction.
    """
    places = ScoringPlaces(
        models=models if isinstance(models, Path) else None,
        registry=None if isinstance(models, Path) else models.folder,
        archive=str(studies) if is_url(studies) else None,
    )

    def model_in_use() -> ModelInUse | None:
        known = versions()
        if not {"classification", "segmentation"} <= set(known):
            return None
        classifier, outliner = known["classification"], known["segmentation"]
        key = model_key(classifier["sha256"], outliner["sha256"], clinic_prior())
        words = (f"{model['name']} {model['version']}" for model in (classifier, outliner))
        return ModelInUse(key, ", ".join(words))

    return ScoreKeeper(store, places, model_in_use, is_busy)
