"""What the shipped models promise whatever their weights."""

import numpy as np
import pytest

from dermcheck.inference import Predictor


def test_a_turned_photograph_gets_nearly_the_same_diagnosis(draw_lesion):
    """All four quarter turns are asked, but which of them show the square around the outline differs."""
    predictor = Predictor.load()
    pixels = np.asarray(draw_lesion(4, 0)[0].resize((256, 256)))
    upright, *turned = (
        predictor.classify(np.ascontiguousarray(np.rot90(pixels, quarters))) for quarters in range(4)
    )
    for diagnosis in turned:
        assert diagnosis.probabilities == pytest.approx(upright.probabilities, abs=0.08)
