"""Which photograph to label next."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from monailabel.interfaces.tasks.strategy import Strategy

if TYPE_CHECKING:
    from monailabel.interfaces.datastore import Datastore

__all__ = ["RandomStrategy"]


class RandomStrategy(Strategy):  # type: ignore[misc]  # monailabel has no types
    """Any photograph that has no final label yet, each equally likely."""

    def __init__(self) -> None:
        super().__init__("A random photograph that nobody has labelled yet")

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Choose.

        Parameters
        ----------
        request
            `seed` (optional): the same seed and the same unlabelled photographs give the same choice.
            `label_tag` and `labels` (optional): which labels count, as MONAI Label defines them.

        Returns
        -------
        dict
            `id` of the image; empty if every photograph has a label.
        """
        unlabelled = sorted(datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels")))
        if not unlabelled:
            return {}
        seed = request.get("seed")
        generator = random.Random(None if seed in (None, "") else str(seed))  # noqa: S311  # not for secrets
        return {"id": generator.choice(unlabelled)}
