"""What viewers are told beside the mask, and in which forms."""

import json

import numpy as np
import pytest

from dermcheck.dicom.author import Algorithm
from dermcheck.errors import ArgumentError
from dermcheck.inference.report import LesionReport
from dermcheck.inference.rules import Caution
from dermcheck.label_app.answers import MODELS, make_answer, wanted_form
from dermcheck.lesions import CLASSES, LESION_CLASSES

MODEL = Algorithm("Test model", "1", "0" * 64)


@pytest.fixture
def answer_with():
    """Answer one photograph with a given caution."""

    def answer(caution: Caution) -> dict:
        report = LesionReport(
            mask=np.ones((4, 5), bool),
            probabilities=dict.fromkeys(CLASSES, 1 / 7),
            decision=LESION_CLASSES[4],
            uncertainty=1.0,
            classifier=MODEL,
            outliner=MODEL,
            caution=caution,
        )
        return make_answer(MODELS["dermcheck"], report, seconds=0.1).params

    return answer


def test_an_answer_says_how_far_it_may_be_relied_on(answer_with):
    params = answer_with(
        Caution(
            confidence=0.3,
            not_sure=True,
            possible_classes=(LESION_CLASSES[4], LESION_CLASSES[5]),
            melanoma_not_excluded=True,
            lesion_photograph_score=0.2,
            is_lesion_photograph=False,
        )
    )
    assert params["not_sure"] is True
    assert params["possible_classes"] == ["mel", "nv"]
    assert params["melanoma_not_excluded"] is True
    assert params["is_lesion_photograph"] is False
    assert params["lesion_photograph_score"] == 0.2
    assert json.loads(json.dumps(params)) == params


def test_a_model_without_rules_says_so_by_null(answer_with):
    params = answer_with(Caution())
    assert params["possible_classes"] is params["melanoma_not_excluded"] is params["confidence"] is None
    assert params["not_sure"] is False
    assert params["is_lesion_photograph"] is True


def test_only_files_that_viewers_read_can_be_asked_for():
    assert wanted_form({}) == ".nrrd"
    for wrong in ({"result_extension": "browser"}, {"result_extension": ".exe"}, {"result_dtype": "float32"}):
        with pytest.raises(ArgumentError):
            wanted_form(wrong)
