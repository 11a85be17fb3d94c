import dataclasses

import numpy as np
import pytest

from dermcheck.dicom.author import Algorithm
from dermcheck.inference import LesionReport
from dermcheck.lesions import CLASSES, LESION_CLASSES


@pytest.mark.parametrize("lesion", LESION_CLASSES, ids=CLASSES)
def test_the_label_map_holds_the_decided_class_inside_the_mask(lesion):
    mask = np.zeros((3, 5), np.bool_)
    mask[1, 2:] = True
    report = LesionReport(
        mask=mask,
        probabilities=dict.fromkeys(CLASSES, 1 / 7),
        decision=lesion,
        uncertainty=1.0,
        classifier=Algorithm("classifier", "1", "0" * 64),
        outliner=Algorithm("outliner", "1", "1" * 64),
    )
    label_map = report.label_map()
    assert label_map.dtype == np.uint8
    np.testing.assert_array_equal(label_map, np.where(mask, lesion.index + 1, 0))
    assert not dataclasses.replace(report, mask=np.zeros_like(mask)).label_map().any()
