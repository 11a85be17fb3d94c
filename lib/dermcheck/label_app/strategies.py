"""Which photograph to label next: MONAI Label's view of `active_learning.recommending`."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from monailabel.interfaces.tasks.strategy import Strategy

from dermcheck.active_learning.recommending import DESCRIPTIONS, Question

if TYPE_CHECKING:
    from monailabel.interfaces.datastore import Datastore

    from dermcheck.active_learning.recommending import Recommender
    from dermcheck.lesions import Language

__all__ = ["RecommendedStrategy", "make_strategies"]


class RecommendedStrategy(Strategy):  # type: ignore[misc]  # monailabel has no types
    """One of the recommender's strategies."""

    def __init__(self, name: str, recommender: Recommender) -> None:
        super().__init__(DESCRIPTIONS[name])
        self._name = name
        self._recommender = recommender

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Choose.

        Parameters
        ----------
        request
            `seed` (optional): the same seed and the same knowledge give the same choice.
            `label_tag` and `labels` (optional): which labels count, as MONAI Label defines them.
            `skip` (optional): image ids that are not to be chosen. `reader` (optional): who asks.
            `language` (optional): of the reason, "en" or "de".

        Returns
        -------
        dict
            `id` of the image, `reason` in words, and `second_reading`: True where the photograph has a label
            that must not be shown; empty if there is none to choose.
        """
        unlabelled = datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels"))
        left_out = frozenset(request.get("skip") or ())
        language: Language = "de" if request.get("language") == "de" else "en"
        question = Question(self._name, unlabelled, left_out, str(request.get("reader") or ""), language)
        chosen = self._recommender.choose(question, _generator(request.get("seed")))
        if chosen is None:
            return {}
        is_second = self._name == "second_reading"
        return {"id": chosen.image_id, "reason": chosen.reason, "second_reading": is_second}


def _generator(seed: object) -> np.random.Generator:
    return np.random.default_rng(None if seed in (None, "") else zlib.crc32(str(seed).encode()))


def make_strategies(recommender: Recommender) -> dict[str, Strategy]:
    """Make all strategies by name, the one to use first first."""
    return {name: RecommendedStrategy(name, recommender) for name in DESCRIPTIONS}
