"""The sizes of network inputs."""

from __future__ import annotations

from typing import Final

from dermcheck.networks.cards import InputSpec

__all__ = ["usual_sizes"]

_ASPECTS: Final = (1.0, 4 / 3, 3 / 2, 16 / 9)
"""Of cameras' photographs, long side to short side."""


def usual_sizes(spec: InputSpec) -> list[tuple[int, int]]:
    """Return rows and columns of the inputs that photographs of usual shapes have, in both orientations.

    >>> usual_sizes(InputSpec(side=224, mean=(0, 0, 0), std=(1, 1, 1), geometry="short_side", multiple=32))
    [(224, 224), (224, 320), (320, 224), (224, 352), (352, 224), (224, 416), (416, 224)]
    """
    if spec.geometry == "centre_square":
        return [(spec.side, spec.side)]
    short = spec.side + -spec.side % spec.multiple
    sizes: list[tuple[int, int]] = []
    for aspect in _ASPECTS:
        long = round(spec.side * min(aspect, spec.max_aspect))
        long += -long % spec.multiple
        sizes += [(short, long), (long, short)]
    return list(dict.fromkeys(sizes))
