"""Growing dendrites with perforatedai while a classifier trains.

The only room that imports perforatedai, and only when dendrites grow. `docs/dendrites.md`
explains the method, the loss and what it was worth.
"""

from dermcheck.training.dendrites.growth import DendriteGrowth, GrowthStep
from dermcheck.training.dendrites.perforated import dendrites_available
from dermcheck.training.dendrites.settings import DendriteError, DendriteSettings

__all__ = ["DendriteError", "DendriteGrowth", "DendriteSettings", "GrowthStep", "dendrites_available"]
